#include "harness/operators/selective_state_update/contracts.hpp"

#include <memory>
#include <tuple>

#include "harness/operators/slot_contracts.hpp"
#include "harness/operators/tensor_edit.hpp"

namespace groundstate::harness::selective_state_update_binding {
namespace {

SlotCall call(const Case& c, const Tensors& inputs) {
  const ssu::HostInputs x = bind_inputs(inputs);
  const ssu::Shape n = shape(x, bind_pool(inputs));
  const ssu::Options rules = options(c);
  std::vector<Lane> lanes;
  for (Index i = 0; i < n.sequences; ++i) lanes.push_back(lane(x, rules, i, load_index));
  return {c.with("slots", "given"),
          inputs,
          lanes,
          rules,
          n.slots,
          n.heads,
          n.groups,
          is_pool,
          start,
          judged};
}

class Contracts final : public SlotContracts {
 public:
  Contracts(const Case& c, const PathVariant& variant, const Tensors& inputs)
      : SlotContracts(call(c, inputs)),
        x_(bind_inputs(inputs)),
        n_(shape(x_, bind_pool(inputs))),
        options_(options(c)),
        exact_(variant.exact()),
        in_calls_(variant.path == "stepwise") {}

  // The contracts that say something of this call. They keep `own` alive.
  static std::vector<Contract> of(const std::shared_ptr<const Contracts>& own) {
    ContractList<Contracts> list(own);
    const auto& [c, x, n, options] = std::tie(own->call_.c, own->x_, own->n_, own->options_);
    const std::string& intermediate = c.get("intermediate");
    const bool parallel = !options.sequential, dense = !x.offsets;
    const bool moves =
        parallel && !own->stochastic() && x.source && intermediate != "slots";  // rows by slot
    const bool in_place =
        parallel && options.update_state && !x.destination && intermediate == "none";
    const bool lossless = own->exact_ || size_of(type_of(c, ElementClass::state)) >= 4;
    if (moves && stores_of(x, options) <= 1 && intermediate == "none")
      list.add("gathered", "a slot is where a state lies, nothing else", &Contracts::rows_by_hand);
    if (moves) list.add_other_pool_order();
    if (parallel && dense && n.sequences > 1 && intermediate != "indexed")
      list.add_lanes_alone(n.sequences);
    if (n.groups > 1 && !own->stochastic()) list.add_head_alone();
    if (c.get("tied") != "none" || c.get("D") == "head")
      list.add("materialised", "a stride of 0 is a number written out", &Contracts::materialised);
    constexpr Index most_calls = 64;
    if (dense && n.time > 1 && n.time <= most_calls && lossless && in_place && !x.accepted)
      list.add("token by token", "a state that is stored without loss is the same state",
               &Contracts::by_token);
    if (in_place && !own->in_calls_) list.add_other_destination();
    if (own->any_padding()) list.add_padding_is_ignored();
    return list.take();
  }

 private:
  bool stochastic() const { return !exact_ && options_.stochastic.has_value(); }

  Sides rows_by_hand(const Run& run) const {
    const auto [own, dense] = gathered();
    const Tensors whole = run_as_it_is(run), rows = run(own, dense);
    // What padded lanes have of out need not be specified.
    Tensors scattered{with_quiet_padding(*find(rows, "out"))};
    for (const Tensor& pool : before(whole)) {
      const bool written = pool.name() == "state" || !exact_;  // scales are those of codes
      for (Index i = 0; written && i < n_.sequences; ++i) {
        const Lane& at = lane(i);
        for (Index t = 0; !at.padding && t < at.length; ++t)
          if (const Index slot = destination(x_, options_, i, at, t, load_index); slot != nowhere)
            copy_bytes(find(rows, pool.name())->slice(Slot::name, i, 1),
                       pool.slice(Slot::name, slot, 1));
      }
      scattered.push_back(pool);
    }
    Tensors left = whole;
    return {with(std::move(left), with_quiet_padding(*find(whole, "out"))), scattered};
  }

  Sides materialised(const Run& run) const {
    Tensors full;
    Case own = with_pool(n_.slots).with("tied", "none");
    if (x_.D) own = own.with("D", "channel");
    for (const Tensor& tensor : call_.inputs) {
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
  Sides by_token(const Run& run) const {
    const Tensors whole = run_as_it_is(run);
    const Case one = sized(with_pool(n_.slots), "T", 1);
    Tensors given = call_.inputs, last;
    Tensor out = empty_like(*find(whole, "out"));
    for (Index t = 0; t < n_.time; ++t) {
      const std::string type(name_of(find(given, "state")->type()));
      last = run(one.with("state_dtype", type), tokens(given, t, 1));
      copy_bytes(*find(last, "out"), out.slice(Time::name, t, 1));
      given = with(without(std::move(given), {"state_scale"}), *find(last, "state"));
    }
    return {whole, with(without(std::move(last), {"state_scale"}), out)};
  }

  ssu::HostInputs x_;
  ssu::Shape n_;
  ssu::Options options_;
  bool exact_;
  bool in_calls_;  // that read what they write
};

}  // namespace

std::vector<Contract> contracts(const Case& c, const PathVariant& variant, const Tensors& inputs) {
  return Contracts::of(std::make_shared<const Contracts>(c, variant, inputs));
}

}  // namespace groundstate::harness::selective_state_update_binding
