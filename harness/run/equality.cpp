#include "harness/run/equality.hpp"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "harness/generate/tensor_bytes.hpp"
#include "harness/run/device.hpp"
#include "harness/run/fresh_process.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/slices.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

// Fills every fresh allocation of the process with a byte while it lives: a workspace that is read
// before it is written then changes the result.
class PoisonedHeap {
 public:
  explicit PoisonedHeap(int byte) { mallopt(M_PERTURB, ~byte & 0xff); }  // fills the complement
  ~PoisonedHeap() { mallopt(M_PERTURB, 0); }
  PoisonedHeap(const PoisonedHeap&) = delete;
  PoisonedHeap& operator=(const PoisonedHeap&) = delete;
};

class Threads {
 public:
  explicit Threads(int count) : before_(threads()) { set_threads(count); }
  ~Threads() { set_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

Tensors only(Tensors tensors, const std::vector<std::string>& names) {
  std::erase_if(tensors, [&](const Tensor& tensor) {
    return !names.empty() && std::find(names.begin(), names.end(), tensor.name()) == names.end();
  });
  return tensors;
}

// Of outputs: those that every sequence has for itself.
Tensors of_one_sequence(Tensors tensors) {
  std::erase_if(tensors, [](const Tensor& tensor) {
    return !tensor.has_axis(Batch::name) && !tensor.has_axis(Sequence::name);
  });
  return tensors;
}

class Equalities {
 public:
  Equalities(const Operator& op, const Case& c, const Tensors& inputs, const AtContract& at,
             const EqualityOptions& options)
      : op_(op), case_(c), inputs_(inputs), at_(at), options_(options) {}

  void variants(const std::vector<PathVariant>& given) {
    for (const EqualVariants& equal : op_.equal_variants()) {
      const PathVariant left = parse(equal.left), right = parse(equal.right);
      const auto has_path = [&](const PathVariant& wanted) {
        return std::any_of(given.begin(), given.end(),
                           [&](const PathVariant& v) { return v.path == wanted.path; });
      };
      if (!has_path(left) || !has_path(right)) continue;
      std::set<std::string> recipes;
      for (const PathVariant& v : given)
        if (left.recipe.empty() || v.recipe == left.recipe) recipes.insert(v.recipe);
      for (const std::string& recipe : recipes) {
        PathVariant a = left, b = right;
        a.recipe = b.recipe = recipe;
        if (!takes(a) || !takes(b)) continue;
        const std::string name = fmt::format("{} = {}", text(a), text(b));
        at(a, name);
        const Tensors one = only(outputs(a, inputs_), equal.tensors);
        at(b, name);
        record(name, equal.reason, one, outputs(b, inputs_));
      }
    }
  }

  void transforms(const PathVariant& v) {
    const auto named = [&](std::string_view what) {
      std::string name = fmt::format("{}: {}", text(v), what);
      at(v, name);
      return name;
    };
    std::string name = named("rerun");
    const Tensors whole = outputs(v, inputs_);
    record(std::move(name), "no path depends on anything but its inputs", whole,
           outputs(v, inputs_));
    if (!op_.path(v.path)->needs_device)
      for (const int count : {1, 2, 3, 7}) {
        const Threads set(count);
        name = named(fmt::format("{} threads", count));
        record(std::move(name), "threads share nothing", whole, outputs(v, inputs_));
      }
    // In fp32 bytes of 0x7f are 3.4e38, of 0xfe -1.7e38. (The allocator cannot fill with 0xff, NaN;
    // outputs are that in every other run.)
    for (const int byte : {0x00, 0x7f, 0xfe}) {
      name = named(fmt::format("poison {:#04x}", byte));
      const PoisonedHeap heap(byte);
      const PoisonedDevice device(static_cast<unsigned char>(byte));
      GuardedTensors poisoned(stored_outputs(op_, case_, v), static_cast<unsigned char>(byte));
      run_variant(op_, case_, v, inputs_, poisoned.tensors());
      record(std::move(name), "nothing is read before it is written", whole, poisoned.tensors());
    }
    if (op_.same_alone(v)) alone(v, whole);
    declared(v);
    if (const Index interval = op_.resume_interval(v); interval > 0) {
      resume(v, whole, extent(Time::name) / 2 / interval * interval, true);
      // A chunked path promises nothing of a cut inside of a chunk.
      if (options_.observe && interval > 1) resume(v, whole, extent(Time::name) / 2 | 1, false);
    }
    layout(v, whole);
    if (options_.observe) observe(v, whole);
  }

  std::vector<EqualityResult> results;

 private:
  void at(const PathVariant& v, const std::string& name) const {
    if (at_) at_(v, name);
  }
  PathVariant parse(const std::string& s) const { return parse_path_variant(s, op_.path_keys()); }
  std::string text(const PathVariant& v) const { return v.text(op_.path_keys()); }
  bool takes(const PathVariant& v) const {
    return recipe_exists(op_, v) && !op_.unsupported(case_, v);
  }

  // Runs on the given inputs; the outputs have the shapes that follow from them.
  Tensors outputs(const PathVariant& v, const Tensors& inputs) const {
    const Case own = sliced_case(op_, case_, inputs_, inputs);
    GuardedTensors result(stored_outputs(op_, own, v));
    run_variant(op_, case_, v, inputs, result.tensors());
    return result.tensors();
  }

  void record(std::string name, std::string reason, const Tensors& left, const Tensors& right,
              bool declared = true) {
    std::optional<std::string> violation;
    for (const Tensor& tensor : left) {
      const Tensor* const other = find(right, tensor.name());
      if (!violation && other != nullptr) violation = first_difference(tensor, *other);
    }
    results.push_back({std::move(name), std::move(reason), std::move(violation), declared});
  }

  Index extent(std::string_view axis) const {
    for (const Tensor& tensor : inputs_)
      if (tensor.has_axis(axis)) return tensor.extent(axis);
    return 0;
  }

  void alone(const PathVariant& v, const Tensors& whole, bool declared = true) {
    const auto part = [&](std::string_view what, const Tensors& own, const Tensors& expected) {
      std::string name = fmt::format("{}: {}", text(v), what);
      at(v, name);
      record(std::move(name), "independent problems share nothing", expected, outputs(v, own),
             declared);
    };
    const Tensor* const offsets = find(inputs_, "cu_seqlens");
    if (const Index batch = extent(Batch::name); batch > 1)
      part("batch alone",
           cut_axis(cut_axis(inputs_, Batch::name, batch - 1, 1), Sequence::name, batch - 1, 1),
           of_one_sequence(
               cut_axis(cut_axis(whole, Batch::name, batch - 1, 1), Sequence::name, batch - 1, 1)));
    if (const Index heads = extent(Head::name); heads > 1) {
      const Index group = std::max<Index>(extent(ValueHead::name) / heads, 1);
      const auto last = [&](const Tensors& x) {
        return cut_axis(cut_axis(x, Head::name, heads - 1, 1), ValueHead::name, (heads - 1) * group,
                        group);
      };
      part("head alone", last(inputs_), last(whole));
    }
    if (offsets == nullptr) return;
    const Index sequences = offsets->elements() - 1;
    for (Index n = 0; n < std::min<Index>(sequences, 4); ++n) {
      const auto at = [&](Index i) { return static_cast<Index>(offsets->load(i)); };
      const auto own = [&](const Tensors& x) {
        return cut_axis(
            cut_axis(without_tensor(x, "cu_seqlens"), Time::name, at(n), at(n + 1) - at(n)),
            Sequence::name, n, 1);
      };
      part(fmt::format("sequence {} alone", n), own(inputs_), of_one_sequence(own(whole)));
    }
  }

  void declared(const PathVariant& v) {
    for (const Contract& contract : op_.contracts(case_, v, inputs_)) {
      const std::string name = fmt::format("{}: {}", text(v), contract.name);
      at(v, name);
      const auto [left, right] = contract.sides([&](const Case& c, const Tensors& inputs) {
        GuardedTensors result(stored_outputs(op_, c, v));
        run_variant(op_, c, v, inputs, result.tensors());
        return result.tensors();
      });
      record(name, contract.reason, left, right);
    }
  }

  void resume(const PathVariant& v, const Tensors& whole, Index turn, bool declared) {
    const Index time = extent(Time::name);
    if (op_.carried_states().empty() || find(inputs_, "cu_seqlens") != nullptr) return;
    if (turn <= 0 || turn >= time) return;
    for (const Operator::CarriedState& state : op_.carried_states())
      if (size_of(find(whole, state.output)->type()) < 4)
        return;  // a 16-bit state is rounded on the way
    const bool reverse = declares_key(case_, "reverse") && case_.get("reverse") == "yes";
    const Index first_begin = reverse ? time - turn : 0, rest_begin = reverse ? 0 : turn;
    std::string name =
        fmt::format("{}: resumed {}after {} tokens", text(v), declared ? "" : "anywhere, ", turn);
    at(v, name);
    const Tensors before = outputs(v, cut_axis(inputs_, Time::name, first_begin, turn));
    Tensors rest = cut_axis(inputs_, Time::name, rest_begin, time - turn);
    for (const Operator::CarriedState& state : op_.carried_states()) {
      const Tensor* const carried = find(before, state.output);
      rest = without_tensor(rest, state.input);
      rest.push_back(Tensor::borrow(state.input, carried->type(), carried->axes(),
                                    const_cast<void*>(carried->data()),
                                    std::make_shared<Tensor>(*carried), carried->storage_order()));
    }
    const Tensors after = outputs(v, rest);
    std::string_view reason = "a state carried in full precision is the same state";
    Tensors expected = cut_axis(whole, Time::name, rest_begin, time - turn);
    record(std::move(name), std::string(reason), expected, after, declared);
    if (std::optional<std::string>& difference = results.back().violation;
        difference && rest_begin > 0)
      *difference += fmt::format(" (time counts from token {})", rest_begin);
    expected = cut_axis(whole, Time::name, first_begin, turn);
    for (const Operator::CarriedState& state : op_.carried_states())
      expected = without_tensor(expected, state.output);
    record(fmt::format("{}: {}first {} tokens", text(v), declared ? "" : "any ", turn),
           "what comes later changes nothing earlier", expected, before, declared);
  }

  void layout(const PathVariant& v, const Tensors& whole) {
    if (!declares_key(case_, "state_layout")) return;
    const Case other = case_.with("state_layout", case_.get("state_layout") == "kv" ? "vk" : "kv");
    Tensors turned;
    for (const Tensor& tensor : inputs_) {
      const auto specs = op_.inputs(other);
      const auto spec = std::find_if(specs.begin(), specs.end(),
                                     [&](const TensorSpec& s) { return s.name == tensor.name(); });
      if (spec == specs.end() || spec->storage_order == tensor.storage_order() ||
          tensor.axes().size() != 4 || !tensor.has_axis(Sequence::name)) {
        turned.push_back(tensor);
        continue;
      }
      Tensor copy = Tensor::allocate(tensor.name(), tensor.type(), tensor.axes(), {0, 1, 3, 2});
      if (case_.get("state_layout") == "vk")
        copy = Tensor::allocate(tensor.name(), tensor.type(), tensor.axes());
      for_each_pair(copy, tensor,
                    [&](Index, Index to, Index from) { copy.store(to, tensor.load(from)); });
      turned.push_back(copy);
    }
    std::string name = fmt::format("{}: other state layout", text(v));
    at(v, name);
    GuardedTensors result(stored_outputs(op_, other, v));
    run_variant(op_, other, v, turned, result.tensors());
    record(std::move(name), "only the storage differs", whole, result.tensors());
  }

  // What nobody promises.
  void observe(const PathVariant& v, const Tensors& whole) {
    const auto differs = [&](std::string name, std::string reason, const Tensors& other) {
      record(std::move(name), std::move(reason), whole, other, false);
    };
    // Operators on pools have contracts of their own for it, and no axis that could be cut.
    if (!op_.same_alone(v) && op_.independent_sequences(case_) &&
        op_.contracts(case_, v, inputs_).empty())
      alone(v, whole, false);
    if (op_.resume_interval(v) == 0) resume(v, whole, extent(Time::name) / 2, false);
    for (const std::string& key : op_.path(v.path)->keys) {
      const PathVariant other = with_another(v, key);
      if (other == v || !takes(other) || is_declared(v, other)) continue;
      std::string name = fmt::format("{}: {}={}", text(v), key, other.get(key, op_.path_keys()));
      at(other, name);
      differs(std::move(name), "the key changes how it is computed", outputs(other, inputs_));
    }
    if (op_.path(v.path)->needs_device) {
      std::string name = fmt::format("{}: graph replay", text(v));
      at(v, name);
      differs(std::move(name), "a launch is what it was when it was captured", graph_replay(v));
    }
    if (!options_.program.empty()) {
      std::string name = fmt::format("{}: fresh process", text(v));
      at(v, name);
      differs(std::move(name), "no process leaves anything behind",
              in_fresh_process(options_.program, case_.canonical(), text(v), whole));
    }
  }

  // The variant with another value of one key: another word, or a number that is not the default.
  PathVariant with_another(const PathVariant& v, const std::string& name) const {
    const std::span<const Key> keys = op_.path_keys();
    const Key& key =
        *std::find_if(keys.begin(), keys.end(), [&](const Key& own) { return own.name == name; });
    const std::string now = v.get(name, keys);
    PathVariant other = v;
    if (const auto* const words = std::get_if<Key::Word>(&key.domain)) {
      for (const std::string& word : words->words)
        if (word != now && other == v) other.keys[name] = word;
    } else if (std::holds_alternative<Key::Integer>(key.domain)) {
      const Index number = v.integer(name, keys);
      other.keys[name] = std::to_string(number == 0 ? 64 : number == 1 ? 2 : number / 2);
    }
    return parse(text(other));
  }
  // The two are a pair that is declared equal, and so recorded as a contract.
  bool is_declared(const PathVariant& v, const PathVariant& other) const {
    for (const EqualVariants& pair : op_.equal_variants()) {
      PathVariant left = parse(pair.left), right = parse(pair.right);
      left.recipe = right.recipe = v.recipe;
      if ((left == v && right == other) || (left == other && right == v)) return true;
    }
    return false;
  }
  Tensors graph_replay(const PathVariant& v) const {
    GuardedTensors result(stored_outputs(op_, case_, v));
    op_.start(case_, inputs_, result.tensors());
    op_.prepare(case_, v, inputs_, result.tensors())->read_replayed(result.tensors());
    return result.tensors();
  }

  const Operator& op_;
  const Case& case_;
  const Tensors& inputs_;
  const AtContract& at_;
  const EqualityOptions& options_;
};

}  // namespace

std::optional<std::string> first_difference(const Tensor& left, const Tensor& right) {
  if (same_bytes(left, right)) return {};
  std::optional<std::string> difference;
  const std::size_t size = size_of(left.type());
  for_each_pair(left, right, [&](Index i, Index left_offset, Index right_offset) {
    if (difference) return;
    const auto* const a = static_cast<const unsigned char*>(left.data()) +
                          static_cast<std::size_t>(left_offset) * size;
    const auto* const b = static_cast<const unsigned char*>(right.data()) +
                          static_cast<std::size_t>(right_offset) * size;
    if (std::memcmp(a, b, size) == 0) return;
    const std::string at = coordinate(left.axes(), i);
    difference = fmt::format("{}{}{}: {:a} ({:.9g}) against {:a} ({:.9g})", left.name(),
                             at.empty() ? "" : " ", at, load_element(left.type(), a, 0),
                             load_element(left.type(), a, 0), load_element(right.type(), b, 0),
                             load_element(right.type(), b, 0));
  });
  return difference;
}

std::vector<EqualityResult> check_equalities(const Operator& op, const Case& c,
                                             const Tensors& inputs,
                                             const std::vector<PathVariant>& variants,
                                             const AtContract& at, const EqualityOptions& options) {
  Equalities equalities(op, c, inputs, at, options);
  equalities.variants(variants);
  for (const PathVariant& v : variants) equalities.transforms(v);
  return std::move(equalities.results);
}

}  // namespace groundstate::harness
