#include "harness/operators/selective_state_update/contracts.hpp"

#include <algorithm>
#include <memory>
#include <tuple>

#include "harness/operators/tensor_edit.hpp"

namespace groundstate::harness::selective_state_update_binding {
namespace {

using Sides = std::pair<Tensors, Tensors>;

bool is_pool(const Tensor& tensor) {
  return tensor.name() == "state" || tensor.name() == "state_scale";
}

class Contracts {
 public:
  Contracts(const Case& c, const PathVariant& variant, const Tensors& inputs)
      : case_(c.with("slots", "given")),
        inputs_(inputs),
        x_(bind_inputs(inputs)),
        n_(shape(x_, bind_pool(inputs))),
        options_(options(c)),
        exact_(variant.exact()),
        in_calls_(variant.path == "stepwise") {
    for (Index i = 0; i < n_.sequences; ++i) lanes_.push_back(lane(x_, options_, i, load_index));
  }

  // The contracts that say something of this call. They keep `own` alive.
  static std::vector<Contract> of(const std::shared_ptr<const Contracts>& own) {
    std::vector<Contract> list;
    const auto add = [&](std::string name, std::string reason, auto sides) {
      list.push_back({std::move(name), std::move(reason),
                      [own, sides](const Contract::Run& run) { return sides(*own, run); }});
    };
    const auto member = [](Sides (Contracts::*sides)(const Contract::Run&) const) {
      return
          [sides](const Contracts& self, const Contract::Run& run) { return (self.*sides)(run); };
    };
    const auto& [c, x, n, options] = std::tie(own->case_, own->x_, own->n_, own->options_);
    const std::string& intermediate = c.get("intermediate");
    const bool parallel = !options.sequential, dense = !x.offsets;
    const bool moves =
        parallel && !own->stochastic() && x.source && intermediate != "slots";  // rows by slot
    const bool in_place =
        parallel && options.update_state && !x.destination && intermediate == "none";
    const bool lossless = own->exact_ || size_of(type_of(c, ElementClass::state)) >= 4;
    if (moves && stores_of(x, options) <= 1 && intermediate == "none")
      add("gathered", "a slot is where a state lies, nothing else", member(&Contracts::gathered));
    if (moves)
      add("other pool order", "a slot is where a state lies, nothing else",
          member(&Contracts::reordered));
    if (parallel && dense && n.sequences > 1 && intermediate != "indexed")
      for (Index i = 0; i < std::min<Index>(n.sequences, 4); ++i)
        add(fmt::format("lane {} alone", i), "lanes share nothing",
            [i](const Contracts& self, const Contract::Run& run) {
              return self.lane_alone(run, i);
            });
    if (n.groups > 1 && !own->stochastic())
      add("head alone", "heads share nothing", member(&Contracts::heads_alone));
    if (c.get("tied") != "none" || c.get("D") == "head")
      add("materialised", "a stride of 0 is a number written out",
          member(&Contracts::materialised));
    constexpr Index most_calls = 64;
    if (dense && n.time > 1 && n.time <= most_calls && lossless && in_place && !x.accepted)
      add("token by token", "a state that is stored without loss is the same state",
          member(&Contracts::by_token));
    if (in_place && !own->in_calls_)
      add("other destination", "where a state is stored has no effect on it",
          member(&Contracts::elsewhere));
    if (std::any_of(own->lanes_.begin(), own->lanes_.end(),
                    [](const Lane& lane) { return lane.padding; }))
      add("padding is ignored", "nothing of a padded lane is read",
          member(&Contracts::quiet_padding));
    return list;
  }

 private:
  bool stochastic() const { return !exact_ && options_.stochastic.has_value(); }
  Case sized(const Case& c, std::string_view key, Index value) const {
    return c.with(key, std::to_string(value));
  }
  Case with_pool(Index slots) const { return sized(case_, "pool", slots); }
  // out with 0 in lanes that are padding, which need not be specified.
  Tensor real_lanes(const Tensor& out) const {
    Tensor result = copy_of(out);
    const auto view = result.view<Batch, Time, Head, Value>();
    for (const Lane& own : lanes_)
      for (Index k = 0; own.padding && k < own.length * n_.heads * n_.value; ++k)
        view.store(0, Batch{own.batch}, Time{own.begin + k / (n_.heads * n_.value)},
                   Head{k / n_.value % n_.heads}, Value{k % n_.value});
    return result;
  }
  Tensors run_as_it_is(const Contract::Run& run) const { return run(with_pool(n_.slots), inputs_); }

  Sides gathered(const Contract::Run& run) const {
    Tensors dense =
        without(inputs_, {"state_batch_indices", "num_accepted_tokens", "dst_state_batch_indices"});
    for (const Tensor& pool : inputs_) {
      if (!is_pool(pool)) continue;
      Tensor rows = empty_like(pool, Slot::name, n_.sequences);
      for (Index i = 0; i < n_.sequences; ++i)
        if (const Lane& own = lanes_[static_cast<std::size_t>(i)]; !own.padding)
          copy_bytes(pool.slice(Slot::name, own.source, 1), rows.slice(Slot::name, i, 1));
      dense = with(std::move(dense), rows);
    }
    Case own = with_pool(n_.sequences).with("indices", "none").with("dst", "none");
    own = own.with("accepted", "none").with("padding", "none").without("padded");
    const Tensors whole = run_as_it_is(run), rows = run(own, dense);
    Tensors scattered{real_lanes(*find(rows, "out"))};
    Tensors before = whole;
    for (Tensor& tensor : before)
      if (is_pool(tensor)) tensor = empty_like(tensor);
    start(inputs_, before);
    for (const Tensor& pool : before) {
      if (!is_pool(pool)) continue;
      const bool written = pool.name() == "state" || !exact_;  // scales are those of codes
      for (Index i = 0; written && i < n_.sequences; ++i) {
        const Lane& at = lanes_[static_cast<std::size_t>(i)];
        for (Index t = 0; !at.padding && t < at.length; ++t)
          if (const Index slot = destination(x_, options_, i, at, t, load_index); slot != nowhere)
            copy_bytes(find(rows, pool.name())->slice(Slot::name, i, 1),
                       pool.slice(Slot::name, slot, 1));
      }
      scattered.push_back(pool);
    }
    Tensors left = whole;
    return {with(std::move(left), real_lanes(*find(whole, "out"))), scattered};
  }

  Sides reordered(const Contract::Run& run) const {
    Tensors other;
    for (const Tensor& tensor : inputs_) {
      if (is_pool(tensor)) {
        other.push_back(reversed(tensor, Slot::name));
      } else if (tensor.name() == "state_batch_indices" ||
                 tensor.name() == "dst_state_batch_indices") {
        Tensor indices = copy_of(tensor);
        for (Index i = 0; i < indices.elements(); ++i) {
          const auto slot = static_cast<Index>(indices.load(i));
          if (!is_padding(options_, slot))
            indices.store(i, static_cast<double>(n_.slots - 1 - slot));
        }
        other.push_back(indices);
      } else {
        other.push_back(tensor);
      }
    }
    Tensors right = run(with_pool(n_.slots), other);
    for (Tensor& tensor : right)
      if (is_pool(tensor)) tensor = reversed(tensor, Slot::name);
    return {run_as_it_is(run), right};
  }

  Sides lane_alone(const Contract::Run& run, Index i) const {
    const Case one = sized(with_pool(n_.slots), "B", 1);
    Tensors own;
    for (const Tensor& tensor : inputs_)
      own.push_back(tensor.has_axis(Batch::name)      ? tensor.slice(Batch::name, i, 1)
                    : tensor.has_axis(Sequence::name) ? tensor.slice(Sequence::name, i, 1)
                                                      : tensor);
    if (!x_.source) {
      own.push_back(Tensor::allocate("state_batch_indices", type_of(case_, ElementClass::index),
                                     {{Sequence::name, 1, 0}, {Time::name, 1, 0}}));
      own.back().store(0, static_cast<double>(i));
    }
    const Case indexed = x_.source ? one : one.with("indices", "permuted");
    Tensors whole;
    for (const Tensor& tensor : judged(case_, inputs_, run_as_it_is(run)))
      whole.push_back(
          tensor.slice(tensor.has_axis(Batch::name) ? Batch::name : Sequence::name, i, 1));
    return {whole, judged(indexed, own, run(indexed, own))};
  }
  Sides heads_alone(const Contract::Run& run) const {
    const Index group = n_.heads / n_.groups, first = n_.heads - group;
    const auto last = [&](const Tensors& tensors) {
      return cut(cut(tensors, Head::name, first, group), Group::name, n_.groups - 1, 1);
    };
    const Case own = sized(sized(with_pool(n_.slots), "H", group), "G", 1);
    return {last(run_as_it_is(run)), run(own, last(inputs_))};
  }
  Sides materialised(const Contract::Run& run) const {
    Tensors full;
    Case own = with_pool(n_.slots).with("tied", "none");
    if (x_.D) own = own.with("D", "channel");
    for (const Tensor& tensor : inputs_) {
      const bool parameter = tensor.name() == "A" || tensor.name() == "D" ||
                             tensor.name() == "dt" || tensor.name() == "dt_bias";
      if (!parameter) {
        full.push_back(tensor);
        continue;
      }
      Tensor wide = empty_like(tensor, Value::name, n_.value);
      if (tensor.has_axis(State::name)) wide = empty_like(wide, State::name, n_.state);
      const auto& axes = tensor.axes();
      for_each_element(wide, [&](Index i, Index to) {
        Index from = 0;
        for (std::size_t a = axes.size(); a-- > 0;) {
          const Index at = i % wide.axes()[a].extent;
          i /= wide.axes()[a].extent;
          if (axes[a].extent > 1) from += at * axes[a].stride;
        }
        wide.store(to, tensor.load(from));
      });
      full.push_back(wide);
    }
    return {run_as_it_is(run), run(own, full)};
  }
  Sides by_token(const Contract::Run& run) const {
    const Tensors whole = run_as_it_is(run);
    const Case one = sized(with_pool(n_.slots), "T", 1);
    Tensors given = inputs_, last;
    Tensor out = empty_like(*find(whole, "out"));
    for (Index t = 0; t < n_.time; ++t) {
      const std::string type(name_of(find(given, "state")->type()));
      Tensors token;
      for (const Tensor& tensor : given)
        token.push_back(tensor.has_axis(Batch::name) ? tensor.slice(Time::name, t, 1) : tensor);
      last = run(one.with("state_dtype", type), token);
      copy_bytes(*find(last, "out"), out.slice(Time::name, t, 1));
      given = with(without(std::move(given), {"state_scale"}), *find(last, "state"));
    }
    return {whole, with(without(std::move(last), {"state_scale"}), out)};
  }
  Sides elsewhere(const Contract::Run& run) const {
    Tensors moved;
    for (const Tensor& tensor : inputs_) {
      if (!is_pool(tensor)) {
        moved.push_back(tensor);
        continue;
      }
      Tensor larger = empty_like(tensor, Slot::name, n_.slots + n_.sequences);
      copy_bytes(tensor, larger.slice(Slot::name, 0, n_.slots));
      moved.push_back(larger);
    }
    Tensor destination =
        Tensor::allocate("dst_state_batch_indices", type_of(case_, ElementClass::index),
                         {{Sequence::name, n_.sequences, 0}, {Time::name, 1, 0}});
    for (Index i = 0; i < n_.sequences; ++i)
      destination.store(i, static_cast<double>(n_.slots + i));
    moved.push_back(destination);
    const Case own = with_pool(n_.slots + n_.sequences).with("dst", "separate");
    return {judged(case_, inputs_, run_as_it_is(run)), judged(own, moved, run(own, moved))};
  }
  Sides quiet_padding(const Contract::Run& run) const {
    Tensors quiet;
    for (const Tensor& tensor : inputs_) {
      quiet.push_back(tensor.has_axis(Batch::name) ? copy_of(tensor) : tensor);
      if (!tensor.has_axis(Batch::name)) continue;
      for (const Lane& own : lanes_) {
        if (!own.padding) continue;
        fill(quiet.back().slice(Batch::name, own.batch, 1).slice(Time::name, own.begin, own.length),
             0);
      }
    }
    return {run_as_it_is(run), run(with_pool(n_.slots), quiet)};
  }

  Case case_;
  Tensors inputs_;
  ssu::HostInputs x_;
  ssu::Shape n_;
  ssu::Options options_;
  bool exact_;
  bool in_calls_;  // that read what they write
  std::vector<Lane> lanes_;
};

}  // namespace

std::vector<Contract> contracts(const Case& c, const PathVariant& variant, const Tensors& inputs) {
  return Contracts::of(std::make_shared<const Contracts>(c, variant, inputs));
}

}  // namespace groundstate::harness::selective_state_update_binding
