#include "harness/run/properties.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "harness/operators/registry.hpp"
#include "harness/run/device.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/places.hpp"
#include "harness/run/run_case.hpp"
#include "harness/run/sample.hpp"
#include "harness/run/slices.hpp"

namespace groundstate::harness {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Index first_tokens = 16;
constexpr double half_subnormal_fp16 = 0x1p-25;

bool is_one_of(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Element by element: change(row-major index, value).
template <class Change>
Tensor changed(const Tensor& tensor, Change&& change) {
  Tensor own =
      Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), tensor.storage_order());
  for_each_pair(own, tensor, [&](Index i, Index to, Index from) {
    own.store(to, change(i, tensor.load(from)));
  });
  return own;
}

// Positions of an axis in the row-major order of a tensor.
struct Along {
  Index stride = 1, extent = 1;
  Along(const Tensor& tensor, std::string_view axis) {
    for (std::size_t k = tensor.axes().size(); k-- > 0;) {
      if (tensor.axes()[k].name == axis) {
        extent = tensor.axes()[k].extent;
        return;
      }
      stride *= tensor.axes()[k].extent;
    }
  }
  Index operator()(Index element) const { return element / stride % extent; }
};

// The worst of the elements of a tensor.
struct Worst {
  double ratio = 0;
  std::string detail;
};

class Properties {
 public:
  Properties(const Operator& op, const Case& c, const Tensors& inputs, const Candidate& candidate,
             const Tensors& outputs)
      : op_(op),
        case_(c),
        inputs_(inputs),
        candidate_(candidate),
        outputs_(outputs),
        specs_(op.judged_outputs(c)),
        pairs_(op.pairs(c, inputs)) {
    for (const Pair& pair : pairs_) tokens_ = std::max(tokens_, pair.length);
    for (const Tensor& tensor : outputs_) {
      verdicts_.emplace_back();
      verdicts_.back().tensor = tensor.name();
      verdicts_.back().elements = tensor.elements();
      verdicts_.back().pairs = static_cast<Index>(pairs_.size());
    }
  }

  void finite() {
    for (const Tensor& tensor : inputs_) {
      if (is_integer(tensor.type()) || is_one_of(op_.gate_inputs(), tensor.name())) continue;
      bool all = true;
      for_each_element(tensor,
                       [&](Index, Index at) { all = all && std::isfinite(tensor.load(at)); });
      if (!all) return leave_out("finite", fmt::format("{} has NaN or infinities", tensor.name()));
    }
    for (const Tensor& tensor : outputs_) {
      Index count = 0, first = 0;
      for_each_element(tensor, [&](Index i, Index at) {
        if (!std::isfinite(tensor.load(at)) && count++ == 0) first = i;
      });
      add(tensor.name(), "finite", static_cast<double>(count), 0,
          count == 0 ? ""
                     : fmt::format("{} elements are NaN or infinite, the first at {}", count,
                                   coordinate(tensor.axes(), first)));
    }
  }

  // The tokens that depend on no others: the first of a sequence, the last where gradients flow.
  void prefix() {
    if (!cuts_time()) return leave_out("prefix", "its tokens cannot be cut off here");
    const std::optional<Slice> part = slice(first_tokens);
    if (!part) return leave_out("prefix", "no sequence has a token");
    Tensors own;
    for (const Tensor& tensor : outputs_) {
      const bool follows = !is_adjoint() || is_one_of(op_.adjoint_outputs(), tensor.name());
      if (tensor.has_axis(Time::name) && follows) own.push_back(part->of(tensor));
    }
    judge_slice("prefix", *part, own);
  }

  // ---- runs of the path

  using Run = std::function<Tensors(const Case&, const Tensors&)>;

  void one_token(const Run& run) {
    if (!cuts_time()) return leave_out("one_token", "its tokens cannot be cut off here");
    const std::optional<Slice> part = slice(1);
    if (!part) return leave_out("one_token", "no sequence has a token");
    judge_slice("one_token", *part, run(part->value, part->inputs));
  }

  void causal(const Run& run) {
    const Index time = extent(Time::name);
    const std::vector<std::string> values = op_.linear_inputs(case_);
    if (values.empty() || time < 2 || !op_.independent_sequences(case_))
      return leave_out("causal", "no values to change behind a token");
    const bool reverse = declares_key(case_, "reverse") && case_.get("reverse") == "yes";
    const bool late_changes = is_adjoint() == reverse;  // of the tokens as they are stored
    const Index turn = time / 2;
    Tensors other;
    for (const Tensor& tensor : inputs_) {
      if (!is_one_of(values, tensor.name()) || !tensor.has_axis(Time::name)) {
        other.push_back(tensor);
        continue;
      }
      const Along token(tensor, Time::name);
      other.push_back(changed(tensor, [&](Index i, double x) {
        return (token(i) >= turn) == late_changes ? -2 * x : x;
      }));
    }
    same_bits("causal", run(case_, other), [&](const Tensor& tensor, Index i) {
      return tensor.has_axis(Time::name) && (Along(tensor, Time::name)(i) >= turn) != late_changes;
    });
  }

  void independent(const Run& run) {
    const std::vector<std::string> values = op_.linear_inputs(case_);
    if (values.empty() || pairs_.size() < 2 || !op_.independent_sequences(case_))
      return leave_out("independent", "there is one sequence and head, or no values to change");
    const Pair& last = pairs_.back();
    std::vector<Pair> kept;  // those that share the last one's outputs
    for (const Pair& pair : pairs_)
      if (pair.sequence == last.sequence && pair.head == last.head) kept.push_back(pair);
    Tensors other;
    for (const Tensor& tensor : inputs_) {
      const bool placed = tensor.has_axis(Batch::name) || tensor.has_axis(Sequence::name);
      if (!is_one_of(values, tensor.name()) || !placed) {
        other.push_back(tensor);
        continue;
      }
      Tensor own = changed(tensor, [](Index, double x) { return -2 * x; });
      for (const Pair& pair : kept)
        update_output(gather_output(tensor, pair), pair, own, [](double, double x) { return x; });
      other.push_back(std::move(own));
    }
    const Tensors results = run(case_, other);
    for (const Tensor& tensor : outputs_) {
      if (!tensor.has_axis(Batch::name) && !tensor.has_axis(Sequence::name)) continue;
      const Tensor& result = *find(results, tensor.name());
      Index count = 0;
      std::string first;
      for (const Pair& pair : kept) {
        const Matrix<double> before = gather_output(tensor, pair),
                             after = gather_output(result, pair);
        for (Index i = 0; i < before.size(); ++i)
          if (!same(before.data()[i], after.data()[i]) && count++ == 0)
            first = fmt::format(
                "sequence {}, head {}, row {}, column {}: {:.9g} alone, {:.9g} "
                "where others have other values",
                pair.sequence, pair.value_head, i / before.cols(), i % before.cols(),
                before.data()[i], after.data()[i]);
      }
      add(tensor.name(), "independent", static_cast<double>(count), 0, first);
    }
  }

  void scaled(const Run& run) {
    const std::vector<std::string> values = op_.linear_inputs(case_);
    if (values.empty()) return leave_out("scaled", "it is linear in none of its inputs");
    if (candidate_.declaration.recipe.underflow_floor)
      return leave_out("scaled", "fp16 operands flush what doubled ones keep");
    Tensors twice;
    for (const Tensor& tensor : inputs_)
      twice.push_back(is_one_of(values, tensor.name())
                          ? changed(tensor, [](Index, double x) { return 2 * x; })
                          : tensor);
    const Tensors results = run(case_, twice);
    for (const Tensor& tensor : outputs_) {
      if (is_one_of(op_.nonlinear_outputs(), tensor.name())) continue;
      const Tensor& result = *find(results, tensor.name());
      // Sums that reach the smallest normal number lose bits that doubled ones keep.
      const double floor = 0x1p-100 * (tensor.type() == ElementType::float64 ? 0x1p-900 : 1) +
                           (tensor.type() == ElementType::float16 ? 0x1p-23 : 0);
      add_worst(
          "scaled", tensor,
          [&](Index, Index at, Index other) {
            const double expected = 2 * tensor.load(at), got = result.load(other);
            return std::isinf(got) ? 0 : std::abs(got - expected) / floor;
          },
          result, "is not twice that of half the values");
    }
  }

  void additive(const Run& run) {
    const std::vector<std::string> values = op_.linear_inputs(case_);
    if (values.empty()) return leave_out("additive", "it is linear in none of its inputs");
    if (!has_sizes(run)) return leave_out("additive", "no bound on its terms is known");
    const RandomStream stream(static_cast<std::uint64_t>(case_.integer("seed")), "additive");
    std::array<Tensors, 2> halves;
    for (const Tensor& tensor : inputs_)
      for (std::size_t half = 0; half < 2; ++half) {
        if (!is_one_of(values, tensor.name())) {
          halves[half].push_back(tensor);
          continue;
        }
        const bool tokens = tensor.has_axis(Time::name);
        const Along token(tensor, Time::name);
        halves[half].push_back(changed(tensor, [&](Index i, double x) {
          const bool first =
              !tokens || stream.uniform(static_cast<std::uint64_t>(token(i)), 0) < 0.5;
          return first == (half == 0) ? x : 0.0;
        }));
      }
    const Tensors first = run(case_, halves[0]), second = run(case_, halves[1]);
    const double bound = 2 * coefficient(&Triple::maximum);
    for (const Tensor& tensor : outputs_) {
      const Tensor &one = *find(first, tensor.name()), &two = *find(second, tensor.name()),
                   &sizes = *find(sizes_, tensor.name());
      const double stored = unit_roundoff(tensor.type());
      add_worst(
          "additive", tensor,
          [&](Index, Index at, Index other) {
            // All three have the shape and the order of storage of the specification.
            const double y = tensor.load(at), a = one.load(other), b = two.load(other);
            const double allowed = bound * sizes.load(other) + floor_ +
                                   stored * (std::abs(y) + std::abs(a) + std::abs(b));
            return std::abs(y - (a + b)) / allowed;
          },
          one, "is not the sum of those of both halves of the values");
    }
  }

  void split(const Run& run) {
    const std::vector<Operator::CarriedState> states = op_.carried_states();
    const Index time = extent(Time::name), turn = time / 2 + (time > 4 ? 1 : 0);
    if (states.empty() || find(inputs_, "cu_seqlens") != nullptr || time < 2)
      return leave_out("split", "its time cannot be cut here");
    if (!has_sizes(run)) return leave_out("split", "no bound on its terms is known");
    const bool reverse = declares_key(case_, "reverse") && case_.get("reverse") == "yes";
    const Index first_begin = reverse ? time - turn : 0, rest_begin = reverse ? 0 : turn;
    const Tensors before_inputs = cut_axis(inputs_, Time::name, first_begin, turn);
    const Tensors before = run(sliced_case(op_, case_, inputs_, before_inputs), before_inputs);
    Tensors rest = cut_axis(inputs_, Time::name, rest_begin, time - turn);
    double carried_roundoff = 0;
    for (const Operator::CarriedState& state : states) {
      const Tensor* const carried = find(before, state.output);
      rest = without_tensor(rest, state.input);
      rest.push_back(Tensor::borrow(state.input, carried->type(), carried->axes(),
                                    const_cast<void*>(carried->data()),
                                    std::make_shared<Tensor>(*carried), carried->storage_order()));
      carried_roundoff = std::max(carried_roundoff, unit_roundoff(carried->type()));
    }
    const Tensors after = run(sliced_case(op_, case_, inputs_, rest), rest);
    const double bound = 2 * coefficient(&Triple::maximum) + carried_roundoff;
    for (const Tensor& tensor : outputs_) {
      const bool in_time = tensor.has_axis(Time::name);
      const double stored = 2 * unit_roundoff(tensor.type());
      Worst worst;
      const auto compare = [&](const Tensor& whole, const Tensor& sizes, const Tensor& part,
                               std::string_view where) {
        std::map<Index, double> allowed;
        std::vector<double> bounds(static_cast<std::size_t>(whole.elements()));
        for_each_element(sizes, [&](Index i, Index at) {
          bounds[static_cast<std::size_t>(i)] = bound * sizes.load(at) + floor_;
        });
        for_each_pair(whole, part, [&](Index i, Index at, Index other) {
          const double y = whole.load(at), got = part.load(other);
          consider(worst,
                   std::abs(y - got) / (bounds[static_cast<std::size_t>(i)] + stored * std::abs(y)),
                   [&] {
                     return fmt::format("{} at {}: {:.9g} in two calls, {:.9g} in one", where,
                                        coordinate(whole.axes(), i), got, y);
                   });
        });
      };
      const Tensor& sizes = *find(sizes_, tensor.name());
      if (in_time) {
        compare(tensor.slice(Time::name, first_begin, turn),
                sizes.slice(Time::name, first_begin, turn), *find(before, tensor.name()),
                "before the cut");
        compare(tensor.slice(Time::name, rest_begin, time - turn),
                sizes.slice(Time::name, rest_begin, time - turn), *find(after, tensor.name()),
                "behind the cut");
      } else {
        compare(tensor, sizes, *find(after, tensor.name()), "behind the cut");
      }
      add(tensor.name(), "split", worst.ratio, 1, worst.detail);
    }
  }

  void closed(const Run& run) {
    const std::vector<Operator::ClosedForm> forms = op_.closed_forms(case_, inputs_);
    if (forms.empty()) return leave_out("closed", "no closed form of these shapes is known");
    const double bound = coefficient(&Triple::maximum);
    for (const Operator::ClosedForm& form : forms) {
      const Tensors results = run(case_, form.inputs);
      for (const Tensor& expected : form.outputs) {
        const Tensor& result = *find(results, expected.name());
        const Tensor& sizes = *find(form.sizes, expected.name());
        const double stored = unit_roundoff(result.type());
        add_worst(
            "closed", expected,
            [&](Index, Index at, Index other) {
              const double exact = expected.load(at);
              return std::abs(result.load(other) - exact) /
                     (bound * sizes.load(at) + stored * std::abs(exact) + floor_);
            },
            result, fmt::format("is not what {} gives", form.name));
      }
    }
  }

  // ---- identities of gradients

  // `forward`: the outputs of the forward on the same inputs, where they are known.
  void adjoint(const Tensors& forward, const Run& run) {
    const std::vector<Operator::Euler> identities = op_.euler_identities();
    if (identities.empty()) return leave_out("adjoint", "its outputs are no gradients");
    if (!has_sizes(run)) return leave_out("adjoint", "no bound on its terms is known");
    const double error = coefficient(&Triple::p999) + largest_roundoff();
    std::map<std::pair<Index, Index>, std::vector<Pair>> groups;  // by sequence and key head
    for (const Pair& pair : pairs_) groups[{pair.sequence, pair.head}].push_back(pair);
    std::map<std::string, Worst> worst;
    bool tested = false;
    for (const auto& [key, group] : groups) {
      struct Side {
        std::string name, tensor;
        Sum sum;
      };
      std::map<bool, std::vector<Side>> sides;  // by Euler::reaches_state
      for (const Operator::Euler& identity : identities) {
        Sum sum;
        bool complete = true;
        for (const std::string& name : identity.inputs) {
          if (find(inputs_, name) == nullptr) continue;
          const Tensor* const gradient = find(outputs_, "d" + name);
          complete = complete && gradient != nullptr;
          if (gradient != nullptr)
            sum.add(product(*find(inputs_, name), *gradient, *find(sizes_, "d" + name), group));
        }
        if (complete)
          sides[identity.reaches_state].push_back(
              {identity.name, "d" + identity.inputs.front(), sum});
      }
      for (const bool state : {false, true}) {
        Sum sum;
        bool complete = !forward.empty();
        for (const Tensor& output : forward) {
          const bool is_state = !output.has_axis(Time::name);
          const Tensor* const gradient = find(inputs_, "d" + output.name());
          if (gradient == nullptr || (is_state && !state)) continue;
          sum.add(product(*gradient, output, *find(forward_sizes_, output.name()), group));
        }
        if (complete) sides[state].push_back({"the outputs", "", sum});
      }
      // Without a gradient of the state both kinds have the same sum.
      if (find(inputs_, "dht") == nullptr) {
        for (Side& side : sides[false]) sides[true].push_back(std::move(side));
        sides[false].clear();
      }
      for (const auto& [state, list] : sides)
        for (std::size_t i = 1; i < list.size(); ++i)
          for (std::size_t j = 0; j < i; ++j) {
            const Side &a = list[j], &b = list[i];
            const double apart = std::abs(a.sum.value - b.sum.value),
                         allowed = error * (a.sum.size + b.sum.size) + floor_;
            tested = true;
            for (const std::string& tensor : {a.tensor, b.tensor})
              if (!tensor.empty())
                consider(worst[tensor], apart / allowed, [&] {
                  return fmt::format(
                      "sequence {}, head {}: the sum over {} is {:.9g}, over {} {:.9g}", key.first,
                      key.second, a.name, a.sum.value, b.name, b.sum.value);
                });
          }
    }
    if (!tested) return leave_out("adjoint", "one sum alone says nothing");
    for (const auto& [tensor, own] : worst) add(tensor, "adjoint", own.ratio, 1, own.detail);
  }

  void residual(const Run& run) {
    if (!is_adjoint()) return;
    if (!has_sizes(run)) return leave_out("residual", "no bound on its terms is known");
    const double error = coefficient(&Triple::maximum) + largest_roundoff();
    for (const Operator::Residual& own : op_.residuals(case_, inputs_, outputs_, sizes_)) {
      const double ratio = std::abs(own.value) / (error * own.size + floor_);
      add(own.tensor, "residual." + own.name, std::isnan(ratio) ? infinity : ratio, 1,
          fmt::format("{} at {}: off by {:.4g}", own.name, own.at, own.value));
    }
  }

  void forward_sizes(Tensors sizes) { forward_sizes_ = std::move(sizes); }

  PathVerdict finish() {
    for (TensorVerdict& verdict : verdicts_) {
      for (const Clause& clause : verdict.clauses) {
        if (clause.passed) continue;
        verdict.status = Status::failed;
        if (verdict.finding.empty())
          verdict.finding = fmt::format("{}: {}", clause.name, clause.detail);
      }
    }
    return combine(std::move(verdicts_));
  }

 private:
  struct Sum {
    double value = 0, size = 0;
    void add(const Sum& other) {
      value += other.value;
      size += other.size;
    }
  };

  // Tokens of one sequence, or of all where none are packed.
  struct Slice {
    Case value;
    Tensors inputs;
    std::function<Tensor(const Tensor&)> of;  // the same part of an output
  };

  bool is_adjoint() const { return !op_.adjoint_outputs().empty(); }
  bool cuts_time() const { return is_adjoint() || !op_.carried_states().empty(); }
  static bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

  Index extent(std::string_view axis) const {
    for (const Tensor& tensor : inputs_)
      if (tensor.has_axis(axis)) return tensor.extent(axis);
    return 0;
  }

  // The tokens that are processed first, or last where gradients flow.
  std::optional<Slice> slice(Index tokens) const {
    const Tensor* const offsets = find(inputs_, "cu_seqlens");
    Index begin = 0, length = extent(Time::name);
    std::optional<Index> sequence;
    if (offsets != nullptr) {
      length = 0;
      for (Index n = 0; n + 1 < offsets->elements() && length == 0; ++n) {
        begin = static_cast<Index>(offsets->load(n));
        length = static_cast<Index>(offsets->load(n + 1)) - begin;
        sequence = n;
      }
    }
    if (length == 0) return std::nullopt;
    const bool reverse = declares_key(case_, "reverse") && case_.get("reverse") == "yes";
    const Index count = std::min(tokens, length);
    if (is_adjoint() != reverse) begin += length - count;
    const auto part = [=](const Tensor& tensor) {
      Tensor own = tensor;
      if (own.has_axis(Time::name)) own = own.slice(Time::name, begin, count);
      if (sequence && own.has_axis(Sequence::name)) own = own.slice(Sequence::name, *sequence, 1);
      return own;
    };
    Tensors own;
    for (const Tensor& tensor : inputs_) {
      // What was carried into the last tokens is not known, and gradients there need it not.
      const bool state = is_adjoint() && tensor.name() == "h0";
      if (tensor.name() != "cu_seqlens" && !state) own.push_back(part(tensor));
    }
    return Slice{sliced_case(op_, case_, inputs_, own), own, part};
  }

  void judge_slice(const std::string& name, const Slice& part, const Tensors& results) {
    Candidate candidate = candidate_;
    candidate.emulations.clear();
    candidate.measured = nullptr;
    Tensors own;
    candidate.types.clear();
    for (const TensorSpec& spec : op_.judged_outputs(part.value)) {
      const Tensor* const known = find(outputs_, spec.name);
      candidate.types.push_back(known != nullptr ? known->type() : spec.type);
      if (const Tensor* const result = find(results, spec.name); result != nullptr && known)
        own.push_back(*result);
    }
    candidate.outputs = &own;
    const std::vector<Pair> pairs = op_.pairs(part.value, part.inputs);
    const std::vector<bool> sampled = choose_pairs(
        pairs, std::nullopt, op_.cost(part.value).flops * oracle_runs(wanted_fields({candidate})),
        static_cast<std::uint64_t>(case_.integer("seed")));
    const CaseJudgement judgement =
        judge_case(op_, part.value, part.inputs, pairs, sampled, {candidate});
    for (const TensorVerdict& verdict : judgement.paths.front().tensors) {
      const bool follows =
          name != "prefix" || !is_adjoint() || is_one_of(op_.adjoint_outputs(), verdict.tensor);
      const Clause* const worst = verdict.worst();
      if (!follows || worst == nullptr) continue;
      add(verdict.tensor, name, worst->ratio(), 1, verdict.finding);
    }
  }

  template <class Wanted>
  void same_bits(const std::string& name, const Tensors& results, Wanted&& wanted) {
    for (const Tensor& tensor : outputs_) {
      const Tensor& result = *find(results, tensor.name());
      Index count = 0, first = 0, compared = 0;
      for_each_pair(tensor, result, [&](Index i, Index at, Index other) {
        if (!wanted(tensor, i)) return;
        ++compared;
        if (!same(tensor.load(at), result.load(other)) && count++ == 0) first = i;
      });
      if (compared == 0) continue;
      add(tensor.name(), name, static_cast<double>(count), 0,
          count == 0 ? ""
                     : fmt::format("{} elements change, the first at {}", count,
                                   coordinate(tensor.axes(), first)));
    }
  }

  template <class Detail>
  static void consider(Worst& worst, double ratio, Detail&& detail) {
    if (std::isnan(ratio)) ratio = infinity;
    if (!(ratio > worst.ratio)) return;
    worst = {ratio, detail()};
  }

  template <class Ratio>
  void add_worst(const std::string& name, const Tensor& tensor, Ratio&& ratio, const Tensor& other,
                 std::string_view what) {
    Worst worst;
    for_each_pair(tensor, other, [&](Index i, Index at, Index offset) {
      consider(worst, ratio(i, at, offset),
               [&] { return fmt::format("{} {}", coordinate(tensor.axes(), i), what); });
    });
    add(tensor.name(), name, worst.ratio, 1, worst.detail);
  }

  void add(const std::string& tensor, const std::string& name, double value, double limit,
           std::string detail) {
    for (TensorVerdict& verdict : verdicts_)
      if (verdict.tensor == tensor)
        verdict.clauses.push_back(make_clause(name, value, limit, std::move(detail)));
  }
  void leave_out(const std::string& name, const std::string& reason) {
    for (TensorVerdict& verdict : verdicts_)
      verdict.clauses.push_back(not_applicable(name, reason));
  }

  // ---- tolerance

  bool has_sizes(const Run& run) {
    if (!sizes_.empty()) return true;
    const Tensors own = op_.size_inputs(case_, inputs_);
    if (own.empty()) return false;
    sizes_ = op_.term_sizes(case_, candidate_.form, inputs_, absolute(run(case_, own)));
    if (candidate_.declaration.recipe.underflow_floor) {
      // What flushing operands to fp16's subnormal numbers loses, whatever the gates are.
      Tensors open;
      for (const Tensor& tensor : own) {
        const bool gate = is_one_of(op_.gate_inputs(), tensor.name());
        open.push_back(is_integer(tensor.type()) ? tensor : changed(tensor, [&](Index, double x) {
          return gate ? 0.0 : x + 1;
        }));
      }
      const Tensors flushed =
          op_.term_sizes(case_, candidate_.form, inputs_, absolute(run(case_, open)));
      // In units of the coefficient, so that one bound serves both.
      const double share =
          limit(&Triple::maximum) * half_subnormal_fp16 / coefficient(&Triple::maximum);
      for (Tensor& tensor : sizes_) {
        const Tensor& other = *find(flushed, tensor.name());
        for_each_pair(tensor, other, [&](Index, Index at, Index offset) {
          tensor.store(at, tensor.load(at) + share * other.load(offset));
        });
      }
    }
    return true;
  }
  static Tensors absolute(const Tensors& tensors) {
    Tensors result;
    for (const Tensor& tensor : tensors) {
      Tensor own = Tensor::allocate(tensor.name(), ElementType::float64, tensor.axes(),
                                    tensor.storage_order());
      for_each_pair(own, tensor, [&](Index, Index to, Index from) {
        own.store(to, std::abs(tensor.load(from)));
      });
      result.push_back(std::move(own));
    }
    return result;
  }

  double limit(double Triple::*point) const {
    return recipe_limits(candidate_.declaration.recipe.limit_row, Family::diagonal).*point;
  }
  double largest_roundoff() const {
    double largest = 0;
    for (const Tensor& tensor : outputs_) largest = std::max(largest, unit_roundoff(tensor.type()));
    return largest;
  }
  double coefficient(double Triple::*point) const {
    const RecipeUnits& recipe = candidate_.declaration.recipe;
    const auto n = static_cast<double>(std::max<Index>(tokens_, 1));
    return limit(point) * (2 * recipe.operand + std::sqrt(n) * std::max(recipe.carry, storage())) +
           recipe.gate * (n + limit(point) * cumulative_gate());
  }
  // A state that lives in a pool may be stored there between tokens.
  double storage() const {
    double roundoff = 0;
    if (is_adjoint() || !op_.carried_states().empty()) return roundoff;
    for (const Tensor& tensor : inputs_)
      if (!tensor.has_axis(Time::name) && is_one_of(op_.linear_inputs(case_), tensor.name()))
        roundoff = std::max(roundoff, unit_roundoff(tensor.type()));
    return roundoff;
  }
  // The largest running sum of log decays in a chunk, where the path may cancel it.
  double cumulative_gate() const {
    if (candidate_.gate_interval <= 1) return 0;
    double largest = 0;
    for (const std::string& name : op_.gate_inputs()) {
      const Tensor* const gate = find(inputs_, name);
      if (gate == nullptr) continue;
      double most = 0;
      for_each_element(*gate, [&](Index, Index at) {
        most = std::max(most, std::min(std::abs(gate->load(at)), 745.2));
      });
      largest += most * static_cast<double>(candidate_.gate_interval);
    }
    return largest;
  }

  // The sum of x y over a group of pairs, and that of |x| M.
  Sum product(const Tensor& x, const Tensor& y, const Tensor& sizes,
              const std::vector<Pair>& group) const {
    Sum sum;
    std::set<std::pair<Index, Index>> seen;  // value heads may share a place
    for (const Pair& pair : group) {
      const PairAt place = PairSlice(x.axes(), pair).place;
      if (!seen.insert({place.sequence, place.head}).second) continue;
      const Matrix<double> a = gather_output(x, pair), b = gather_output(y, pair),
                           m = gather_output(sizes, pair);
      sum.value += a.cwiseProduct(b).sum();
      sum.size += a.cwiseAbs().cwiseProduct(m).sum();
    }
    return sum;
  }

  const Operator& op_;
  const Case& case_;
  const Tensors& inputs_;
  const Candidate& candidate_;
  const Tensors& outputs_;
  std::vector<TensorSpec> specs_;
  std::vector<Pair> pairs_;
  std::vector<TensorVerdict> verdicts_;
  Tensors sizes_, forward_sizes_;
  Index tokens_ = 0;
  double floor_ = 0x1p-100;
};

Tensors outputs_of(const Operator& op, const Case& c, const PathVariant& variant,
                   const Tensors& inputs) {
  GuardedTensors result(stored_outputs(op, c, variant));
  run_variant(op, c, variant, inputs, result.tensors());
  return op.judged(c, inputs, result.tensors());
}

// The forward of a backward, on the same inputs.
struct Forward {
  Tensors outputs, sizes;
};
Forward forward_of(const Operator& op, const Case& c, const Tensors& inputs,
                   const PathVariant& variant) {
  const std::string name = op.grammar().operator_name;
  const auto all = std::span(operators());
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& own) {
    return own->grammar().operator_name == name.substr(0, name.find('.'));
  });
  if (found == all.end() || (*found)->grammar().operator_name == name) return {};
  const Operator& forward = **found;
  // All but the gradients of its outputs.
  Tensors own = inputs;
  for (const TensorSpec& output : forward.outputs(Case(forward.grammar())))
    own = without_tensor(std::move(own), "d" + output.name);
  const Case value = sliced_case(forward, c, inputs, own);
  // The same path, where the forward has it on this case; else its recurrence.
  PathVariant path{variant.path, {}, variant.recipe};
  if (const Path* const known = forward.path(variant.path))
    for (const auto& [key, word] : variant.keys)
      if (known->takes(key)) path.keys[key] = word;
  if (!recipe_exists(forward, path) || forward.unsupported(value, path))
    path = {forward.paths().front().name, {}, variant.exact() ? "" : "single"};
  return {outputs_of(forward, value, path, own),
          outputs_of(forward, value, path, forward.size_inputs(value, own))};
}

}  // namespace

PathVerdict check_properties(const Operator& op, const Case& c, const Tensors& inputs,
                             const PathVariant& variant, const Tensors& outputs,
                             const std::function<void(const std::string&)>& at) {
  std::vector<ElementType> types;
  for (const Tensor& tensor : outputs) types.push_back(tensor.type());
  const Candidate candidate = candidate_of(op, variant, std::move(types));
  Properties properties(op, c, inputs, candidate, outputs);
  const auto doing = [&](const char* what) {
    if (at) at(fmt::format("while checking the property {}", what));
  };
  const Properties::Run run = [&](const Case& own, const Tensors& tensors) {
    return outputs_of(op, own, variant, tensors);
  };
  properties.finite();
  doing("prefix");
  properties.prefix();
  doing("one token");
  properties.one_token(run);
  doing("causal");
  properties.causal(run);
  doing("independent");
  properties.independent(run);
  doing("scaled");
  properties.scaled(run);
  doing("additive");
  properties.additive(run);
  doing("split");
  properties.split(run);
  doing("closed");
  properties.closed(run);
  if (!op.euler_identities().empty()) {
    doing("adjoint");
    Forward forward = forward_of(op, c, inputs, variant);
    properties.forward_sizes(std::move(forward.sizes));
    properties.adjoint(forward.outputs, run);
    properties.residual(run);
  }
  return properties.finish();
}

PathVerdict check_given(const Operator& op, const Case& c, const Tensors& inputs,
                        const Candidate& candidate) {
  Properties properties(op, c, inputs, candidate, *candidate.outputs);
  const PathVariant recurrence{op.paths().front().name, {}, "single"};
  const PathVariant exact{op.paths().front().name, {}, ""};
  const Properties::Run run = [&](const Case& own, const Tensors& tensors) {
    const bool in_fp32 = recipe_exists(op, recurrence) && !op.unsupported(own, recurrence);
    return outputs_of(op, own, in_fp32 ? recurrence : exact, tensors);
  };
  properties.finite();
  properties.prefix();
  if (!op.euler_identities().empty()) {
    properties.adjoint({}, run);
    properties.residual(run);
  }
  return properties.finish();
}

}  // namespace groundstate::harness
