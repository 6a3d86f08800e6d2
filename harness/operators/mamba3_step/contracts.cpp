#include "harness/operators/mamba3_step/contracts.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <tuple>

#include "harness/operators/slot_contracts.hpp"
#include "harness/operators/tensor_edit.hpp"
#include "reference/mamba3_step/separate.hpp"

namespace groundstate::harness::mamba3_step_binding {
namespace {

bool is_kv(const Tensor& tensor) {
  return tensor.name() == "k_state" || tensor.name() == "x_state";
}
bool is_out(const Tensor& tensor) { return tensor.name() == "out" || tensor.name() == "rank_out"; }
Tensors only(Tensors tensors, bool (*wanted)(const Tensor&)) {
  std::erase_if(tensors, [&](const Tensor& tensor) { return !wanted(tensor); });
  return tensors;
}

// Quiet and signalling NaNs with payloads, -0, subnormals and numbers, in turn.
void fill_with_patterns(Tensor& tensor) {
  constexpr std::array<std::uint64_t, 6> payloads{1, 0x2b, 0x15, 7, 0x3c, 0x2a};
  const std::size_t size = size_of(tensor.type());
  const auto infinity = [&]() -> std::uint64_t {
    std::uint64_t bits = 0;
    store_element(tensor.type(), &bits, 0, std::numeric_limits<double>::infinity());
    return bits;
  }();
  const std::uint64_t sign = std::uint64_t{1} << (8 * size - 1);
  const std::uint64_t quiet = infinity & ~(infinity - 1) ? (infinity & ~(infinity - 1)) >> 1 : 0;
  for_each_element(tensor, [&](Index i, Index offset) {
    const std::uint64_t payload = payloads[static_cast<std::size_t>(i / 5) % payloads.size()];
    const std::uint64_t bits = i % 5 == 0   ? infinity | payload
                               : i % 5 == 1 ? infinity | quiet | payload | sign
                               : i % 5 == 2 ? sign
                               : i % 5 == 3 ? payload
                                            : (infinity >> 1) + payload;
    std::memcpy(static_cast<std::byte*>(tensor.data()) + offset * static_cast<Index>(size), &bits,
                size);
  });
}

SlotCall call(const Case& c, const Tensors& inputs) {
  const Lanes lanes(c, inputs);
  std::vector<Lane> own;
  for (Index i = 0; i < lanes.n.sequences; ++i) own.push_back(lanes.at(i));
  return {c.with("slots", "given"), inputs,  own,   lanes.options, lanes.n.slots, lanes.n.heads,
          lanes.n.groups,           is_pool, start, judged};
}

class Contracts final : public SlotContracts {
 public:
  Contracts(const Case& c, const PathVariant& variant, const Tensors& inputs)
      : SlotContracts(call(c, inputs)),
        lanes_(c, inputs),
        n_(lanes_.n),
        options_(lanes_.options),
        exact_(variant.exact()),
        path_(variant.path) {}

  // The contracts that say something of this call. They keep `own` alive.
  static std::vector<Contract> of(const std::shared_ptr<const Contracts>& own) {
    ContractList<Contracts> list(own);
    const auto& [c, n, options, x] = std::tie(own->call_.c, own->n_, own->options_, own->lanes_.x);
    const std::string& intermediate = c.get("intermediate");
    const bool parallel = !options.sequential, dense = !x.lanes.offsets,
               kv = options.update_kv_state;
    const bool moves = parallel && !own->stochastic() && x.lanes.source &&
                       intermediate != "slots";  // rows by slot
    const bool in_place = parallel && options.update_state && !x.lanes.destination &&
                          intermediate == "none" && !own->lanes_.state_out;
    const bool prologue = static_cast<bool>(x.theta);
    const bool wide_keys = own->exact_ || size_of(x.B.type()) >= 4;
    const bool lossless =
        own->exact_ || (size_of(own->lanes_.pools.state.type()) >= 4 && (!prologue || wide_keys));
    const bool prefixes = dense && in_place && n.time > 1 && !x.lanes.replayed;
    if (moves && own->lanes_.stores() <= 1 && intermediate == "none")
      list.add("gathered", "a slot is where a state lies, nothing else", &Contracts::rows_by_hand);
    if (moves) list.add_other_pool_order();
    if (parallel && dense && n.sequences > 1 && intermediate != "indexed" && !own->lanes_.state_out)
      list.add_lanes_alone(n.sequences);
    if (n.heads > 1 && !own->stochastic()) list.add_head_alone();
    if (!x.xproj)
      list.add("ones written out", "a projection that is absent is one", &Contracts::ones);
    constexpr Index most_calls = 64;
    const bool carried = lossless || options.carry == mamba3::Carry::storage;
    if (prefixes && kv && n.time <= most_calls && carried && !x.lanes.accepted &&
        own->path_ != "rotating")
      list.add("token by token", "what is carried is what is stored", &Contracts::by_token);
    if (in_place) list.add_other_destination();
    if (in_place && !prologue && !x.lanes.source && n.time > 0)
      list.add("out of place", "where a state is stored has no effect on it",
               &Contracts::out_of_place);
    if (parallel && options.update_state && kv && !prologue)
      list.add("scattered by hand", "what is stored of B and x is B and x",
               &Contracts::scattered_by_hand);
    if (parallel && options.update_state && kv && !prologue &&
        (!own->exact_ || c.get("dtype") == "fp64"))
      list.add("bits are copied", "what is stored of B and x is B and x",
               &Contracts::bits_are_copied);
    if (prefixes) {
      list.add("replayed", "tokens behind the last one that counts are not read",
               &Contracts::replayed);
      list.add("intermediate", "a state after a token is that of a call that ends there",
               &Contracts::intermediates);
    }
    const bool in_order = own->path_ == "recurrent" ||
                          (own->path_ == "gpu.recurrent" && !own->exact_);  // CUDA's sin in fp64
    if (prologue && wide_keys && intermediate == "none" && in_order)
      list.add("prologue apart", "what is stored without loss is the same",
               &Contracts::prologue_apart);
    if (own->any_padding()) list.add_padding_is_ignored();
    return list.take();
  }

 private:
  bool stochastic() const { return !exact_ && options_.stochastic.has_value(); }

  // The last tokens that reach each slot: visit(slot, lane, its number, token).
  template <class Visit>
  void for_stores(Visit&& visit) const {
    for (const auto& [slot, last] : lanes_.slot_stores().last())
      visit(slot, lane(last.sequence), last.sequence, last.token);
  }

  Sides rows_by_hand(const Run& run) const {
    const auto [own, dense] = gathered();
    const Tensors whole = run_as_it_is(run), rows = run(own, dense);
    Tensors scattered = before(whole);
    for (const Tensor& pool : scattered)
      for_stores([&](Index slot, const Lane&, Index i, Index) {
        if (!is_kv(pool) || options_.update_kv_state)
          copy_bytes(find(rows, pool.name())->slice(Slot::name, i, 1),
                     pool.slice(Slot::name, slot, 1));
      });
    // What a padded lane computed there is nobody's.
    for (const Tensor& tensor : rows)
      if (is_out(tensor)) scattered.push_back(with_quiet_padding(tensor));
    return {whole, scattered};
  }

  Sides ones(const Run& run) const {
    Tensors full = call_.inputs;
    full.push_back(Tensor::allocate(
        "xproj", type_of(call_.c, ElementClass::gate),
        {{Rank::name, n_.ranks, 0}, {Head::name, n_.heads, 0}, {Value::name, n_.value, 0}}));
    fill(full.back(), 1);
    return {run_as_it_is(run), run(with_pool(n_.slots).with("xproj", "random"), full)};
  }
  Sides by_token(const Run& run) const {
    const Tensors whole = run_as_it_is(run);
    Tensors given = call_.inputs, last;
    Tensor out;
    for (const Tensor& tensor : whole)
      if (is_out(tensor)) out = empty_like(tensor);
    for (Index t = 0; t < n_.time; ++t) {
      Case one = sized(with_pool(n_.slots), "T", 1);
      if (options_.stochastic) one = sized(one, "rand_seed", options_.stochastic->seed + t);
      last = run(one, tokens(given, t, 1));
      copy_bytes(*find(last, out.name()), out.slice(Time::name, t, 1));
      for (const Tensor& tensor : last)
        if (is_pool(tensor.name())) given = with(std::move(given), tensor);
    }
    return {whole, with(std::move(last), out)};
  }
  Sides out_of_place(const Run& run) const {
    const Case apart = with_pool(n_.slots).with("state_out", "yes").with("update_kv", "no");
    const auto outputs = [&](const Case& c) {
      Tensors all = judged(c, call_.inputs, run(c, call_.inputs));
      return without(std::move(all), {"k_state", "x_state"});
    };
    return {outputs(with_pool(n_.slots)), outputs(apart)};
  }
  // K and X of these inputs in the pools, by hand.
  void scatter(const Tensors& inputs, const Tensors& pools) const {
    const auto B = find(inputs, "B")->const_view<Batch, Time, Rank, Group, State>();
    const auto x = find(inputs, "x")->const_view<Batch, Time, Head, Value>();
    Tensor k_state = *find(pools, "k_state"), x_state = *find(pools, "x_state");
    const auto K = k_state.view<Slot, Rank, Head, State>();
    const auto X = x_state.view<Slot, Head, Value>();
    const auto copy = [](const auto& from, Index own, const auto& to, Index other) {
      const auto size = static_cast<Index>(size_of(to.type()));
      if (from.type() == to.type())
        std::memcpy(static_cast<std::byte*>(to.data()) + other * size,
                    static_cast<const std::byte*>(from.data()) + own * size,
                    static_cast<std::size_t>(size));
      else
        store_element(to.type(), to.data(), other, load_element(from.type(), from.data(), own));
    };
    for_stores([&](Index slot, const Lane& at, Index, Index t) {
      const Batch b{at.batch};
      const Time time{at.begin + t};
      for (Index h = 0; h < n_.heads; ++h) {
        const Group group{h / (n_.heads / n_.groups)};
        for (Index r = 0; r < n_.ranks; ++r)
          for (Index n = 0; n < n_.state; ++n)
            copy(B, B.offset(b, time, Rank{r}, group, State{n}), K,
                 K.offset(Slot{slot}, Rank{r}, Head{h}, State{n}));
        for (Index p = 0; p < n_.value; ++p)
          copy(x, x.offset(b, time, Head{h}, Value{p}), X, X.offset(Slot{slot}, Head{h}, Value{p}));
      }
    });
  }
  Sides scattered_by_hand(const Run& run) const {
    Tensors right = run(with_pool(n_.slots).with("update_kv", "no"), call_.inputs);
    scatter(call_.inputs, right);
    return {run_as_it_is(run), right};
  }
  Sides bits_are_copied(const Run& run) const {
    Tensors hard = call_.inputs;
    for (const char* const name : {"B", "x"}) {
      Tensor patterns = empty_like(*find(call_.inputs, name));
      fill_with_patterns(patterns);
      hard = with(std::move(hard), patterns);
    }
    const Tensors left = run(with_pool(n_.slots), hard);
    Tensors right = before(left);
    scatter(hard, right);
    return {only(left, is_kv), right};
  }

  Index prefix() const { return std::max<Index>(1, n_.time / 2); }
  // A call that ends after that many tokens.
  std::pair<Case, Tensors> shorter() const {
    return {sized(with_pool(n_.slots), "T", prefix()), tokens(call_.inputs, 0, prefix())};
  }
  Sides replayed(const Run& run) const {
    const auto [own, inputs] = shorter();
    Tensors replay = call_.inputs;
    replay.push_back(indices("replayed_tokens", false, n_.sequences));
    fill(replay.back(), static_cast<double>(prefix()));
    return {run(own, inputs),
            tokens(run(with_pool(n_.slots).with("replay", "random"), replay), 0, prefix())};
  }
  Sides intermediates(const Run& run) const {
    const auto [own, inputs] = shorter();
    Tensors buffered = call_.inputs;
    buffered.push_back(indices("intermediate_state_indices", false, n_.sequences));
    for (Index i = 0; i < n_.sequences; ++i) buffered.back().store(i, static_cast<double>(i));
    const Case whole = with_pool(n_.slots).with("intermediate", "indexed").with("update", "no");
    const Tensors left = judged(own, inputs, run(own, inputs)),
                  right = judged(whole, buffered, run(whole, buffered));
    const Tensor after =
        find(right, "intermediate_states")->slice(Value::name, (prefix() - 1) * n_.value, n_.value);
    const Tensor state = Tensor::allocate("state", after.type(), after.axes());
    copy_bytes(after, state);
    return {{*find(left, "state")}, {state}};
  }
  Sides prologue_apart(const Run& run) const {
    Tensors pools;  // whose angles the prologue advances
    for (const Tensor& tensor : call_.inputs) {
      if (!is_pool(tensor.name())) continue;
      const bool wide = exact_ && tensor.name() == "angle_state";
      pools.push_back(Tensor::allocate(tensor.name(), wide ? ElementType::float64 : tensor.type(),
                                       tensor.axes()));
      copy_elements(tensor, pools.back());
    }
    const ElementType type = exact_ ? ElementType::float64 : lanes_.x.B.type();
    const auto keys = [&](const char* name) {
      return Tensor::allocate(name, type,
                              {{Batch::name, n_.batch, 0},
                               {Time::name, n_.time, 0},
                               {Rank::name, n_.ranks, 0},
                               {Group::name, n_.heads, 0},
                               {State::name, n_.state, 0}});
    };
    Tensor b = keys("B"), c = keys("C");
    const mamba3::RotatedKeys rotated{b.view<Batch, Time, Rank, Group, State>(),
                                      c.view<Batch, Time, Rank, Group, State>()};
    mamba3::HostOutputs y = bind_outputs(call_.c, pools);
    if (lanes_.x.outproj)  // not written
      y.out = {type, nullptr, lanes_.x.x.extents(), {}};
    else
      y.rank_out = {type, nullptr, {n_.batch, n_.time, n_.ranks, n_.heads, n_.value}, {}};
    if (exact_)
      mamba3::prologue<Exact>(lanes_.x, options_for(call_.c, ElementType::float64), y, rotated);
    else
      mamba3::prologue<Single>(lanes_.x, options_, y, rotated);
    Tensors plain = without(
        call_.inputs, {"B", "C", "theta", "B_bias", "C_bias", "B_norm", "C_norm", "angle_state"});
    plain.insert(plain.end(), {b, c});
    const Case own = sized(with_pool(n_.slots).with("prologue", "none"), "G", n_.heads);
    return {run_as_it_is(run), run(own, plain)};
  }

  Lanes lanes_;
  mamba3::Shape n_;
  mamba3::Options options_;
  bool exact_;
  std::string path_;
};

}  // namespace

std::vector<Contract> contracts(const Case& c, const PathVariant& variant, const Tensors& inputs) {
  if (variant.form() == "gathered") return {};  // what it computes is another path's
  return Contracts::of(std::make_shared<const Contracts>(c, variant, inputs));
}

}  // namespace groundstate::harness::mamba3_step_binding
