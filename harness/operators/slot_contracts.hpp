// Sides of those contracts that hold of every operator on pools, whatever its recurrence. The
// operator derives from them, adds its own, and says which say something of a call.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "harness/operators/operator.hpp"
#include "reference/core/lane.hpp"

namespace groundstate::harness {

// A call as contracts need it, and what they need of its operator.
struct SlotCall {
  Case c;  // with slots=given
  Tensors inputs;
  std::vector<Lane> lanes;  // of the inputs
  LaneRules rules;
  Index slots, heads, groups;
  bool (*is_pool)(std::string_view tensor);
  // What pools have of the inputs before a run.
  void (*start)(const Tensors& inputs, Tensors& outputs);
  // What the judge sees of the outputs.
  Tensors (*judged)(const Case& c, const Tensors& inputs, const Tensors& outputs);
};

class SlotContracts {
 public:
  using Run = Contract::Run;
  using Sides = std::pair<Tensors, Tensors>;

  explicit SlotContracts(SlotCall call) : call_(std::move(call)) {}

  // The slots of the pools in reverse, and the indices with them.
  Sides other_pool_order(const Run& run) const;
  // That lane by itself, on the whole pools.
  Sides lane_alone(const Run& run, Index lane) const;
  // The last group of heads by itself; of one group the last head.
  Sides head_alone(const Run& run) const;
  // What is written in place, written to slots of its own.
  Sides other_destination(const Run& run) const;
  // 0 instead of NaN in the tokens of padded lanes.
  Sides padding_is_ignored(const Run& run) const;

  bool any_padding() const;

 protected:
  Index sequences() const { return static_cast<Index>(call_.lanes.size()); }
  const Lane& lane(Index i) const { return call_.lanes[static_cast<std::size_t>(i)]; }
  static Case sized(const Case& c, std::string_view key, Index value);
  Case with_pool(Index slots) const { return sized(call_.c, "pool", slots); }
  Tensors run_as_it_is(const Run& run) const { return run(with_pool(call_.slots), call_.inputs); }
  // The pools before a run, as a run of this variant would have them.
  Tensors before(const Tensors& outputs) const;
  // A copy with 0 in the tokens of padded lanes.
  Tensor with_quiet_padding(const Tensor& tensor) const;
  // The tensors with fewer tokens, where they have any.
  static Tensors tokens(const Tensors& tensors, Index begin, Index count);
  // An index tensor of this call's type, [sequence, 1] or [sequence].
  Tensor indices(std::string name, bool has_columns, Index sequences) const;
  // The dense call on gathered rows: slot i is what lane i reads, anything where it is padding.
  std::pair<Case, Tensors> gathered() const;

  SlotCall call_;
};

// Contracts whose sides are members of `own`, which they keep alive.
template <class Own>
class ContractList {
 public:
  explicit ContractList(std::shared_ptr<const Own> own) : own_(std::move(own)) {}

  // sides(own, run); a member function of Own will do.
  template <class Sides>
  void add(std::string name, std::string reason, Sides sides) {
    list_.push_back({std::move(name), std::move(reason), [own = own_, sides](const auto& run) {
                       return std::invoke(sides, *own, run);
                     }});
  }
  void add_other_pool_order() {
    add("other pool order", "a slot is where a state lies, nothing else", &Own::other_pool_order);
  }
  // The first lanes, up to four.
  void add_lanes_alone(Index sequences) {
    constexpr Index most = 4;
    for (Index i = 0; i < std::min(sequences, most); ++i)
      add(fmt::format("lane {} alone", i), "lanes share nothing",
          [i](const Own& own, const auto& run) { return own.lane_alone(run, i); });
  }
  void add_head_alone() { add("head alone", "heads share nothing", &Own::head_alone); }
  void add_other_destination() {
    add("other destination", "where a state is stored has no effect on it",
        &Own::other_destination);
  }
  void add_padding_is_ignored() {
    add("padding is ignored", "nothing of a padded lane is read", &Own::padding_is_ignored);
  }
  std::vector<Contract> take() { return std::move(list_); }

 private:
  std::shared_ptr<const Own> own_;
  std::vector<Contract> list_;
};

}  // namespace groundstate::harness
