#include "harness/operators/mamba3_step/contracts.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <tuple>

#include "harness/operators/tensor_edit.hpp"
#include "reference/mamba3_step/separate.hpp"

namespace groundstate::harness::mamba3_step_binding {
namespace {

using Sides = std::pair<Tensors, Tensors>;

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

class Contracts {
 public:
  Contracts(const Case& c, const PathVariant& variant, const Tensors& inputs)
      : case_(c.with("slots", "given")),
        inputs_(inputs),
        lanes_(c, inputs),
        n_(lanes_.n),
        options_(lanes_.options),
        exact_(variant.exact()),
        path_(variant.path) {}

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
    const auto& [c, n, options, x] = std::tie(own->case_, own->n_, own->options_, own->lanes_.x);
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
      add("gathered", "a slot is where a state lies, nothing else", member(&Contracts::gathered));
    if (moves)
      add("other pool order", "a slot is where a state lies, nothing else",
          member(&Contracts::reordered));
    if (parallel && dense && n.sequences > 1 && intermediate != "indexed" && !own->lanes_.state_out)
      for (Index i = 0; i < std::min<Index>(n.sequences, 4); ++i)
        add(fmt::format("lane {} alone", i), "lanes share nothing",
            [i](const Contracts& self, const Contract::Run& run) {
              return self.lane_alone(run, i);
            });
    if (n.heads > 1 && !own->stochastic())
      add("head alone", "heads share nothing", member(&Contracts::heads_alone));
    if (!x.xproj)
      add("ones written out", "a projection that is absent is one", member(&Contracts::ones));
    constexpr Index most_calls = 64;
    const bool carried = lossless || options.carry == mamba3::Carry::storage;
    if (prefixes && kv && n.time <= most_calls && carried && !x.lanes.accepted &&
        own->path_ != "rotating")
      add("token by token", "what is carried is what is stored", member(&Contracts::by_token));
    if (in_place)
      add("other destination", "where a state is stored has no effect on it",
          member(&Contracts::elsewhere));
    if (in_place && !prologue && !x.lanes.source && n.time > 0)
      add("out of place", "where a state is stored has no effect on it",
          member(&Contracts::out_of_place));
    if (parallel && options.update_state && kv && !prologue)
      add("scattered by hand", "what is stored of B and x is B and x",
          member(&Contracts::scattered_by_hand));
    if (parallel && options.update_state && kv && !prologue &&
        (!own->exact_ || c.get("dtype") == "fp64"))
      add("bits are copied", "what is stored of B and x is B and x",
          member(&Contracts::bits_are_copied));
    if (prefixes) {
      add("replayed", "tokens behind the last one that counts are not read",
          member(&Contracts::replayed));
      add("intermediate", "a state after a token is that of a call that ends there",
          member(&Contracts::intermediates));
    }
    const bool in_order = own->path_ == "recurrent" ||
                          (own->path_ == "gpu.recurrent" && !own->exact_);  // CUDA's sin in fp64
    if (prologue && wide_keys && intermediate == "none" && in_order)
      add("prologue apart", "what is stored without loss is the same",
          member(&Contracts::prologue_apart));
    if (own->any_padding())
      add("padding is ignored", "nothing of a padded lane is read",
          member(&Contracts::quiet_padding));
    return list;
  }

 private:
  bool stochastic() const { return !exact_ && options_.stochastic.has_value(); }
  bool any_padding() const {
    for (Index i = 0; i < n_.sequences; ++i)
      if (lanes_.at(i).padding) return true;
    return false;
  }
  Case sized(const Case& c, std::string_view key, Index value) const {
    return c.with(key, std::to_string(value));
  }
  Case with_pool(Index slots) const { return sized(case_, "pool", slots); }
  Tensors run_as_it_is(const Contract::Run& run) const { return run(with_pool(n_.slots), inputs_); }

  // The pools before a run, as a run of this variant would have them.
  Tensors before(const Tensors& outputs) const {
    Tensors pools;
    for (const Tensor& tensor : outputs)
      if (is_pool(tensor.name())) pools.push_back(empty_like(tensor));
    start(inputs_, pools);
    return pools;
  }
  // The last tokens that reach each slot: visit(slot, lane, its number, token).
  template <class Visit>
  void for_stores(Visit&& visit) const {
    for (const auto& [slot, last] : lanes_.last_stores(n_.sequences))
      visit(slot, lanes_.at(last.sequence), last.sequence, last.token);
  }

  Sides gathered(const Contract::Run& run) const {
    Tensors dense =
        without(inputs_, {"state_batch_indices", "num_accepted_tokens", "dst_state_batch_indices"});
    for (const Tensor& pool : inputs_) {
      if (!is_pool(pool.name())) continue;
      Tensor rows = empty_like(pool, Slot::name, n_.sequences);
      for (Index i = 0; i < n_.sequences; ++i)
        if (const Lane own = lanes_.at(i); !own.padding)
          copy_bytes(pool.slice(Slot::name, own.source, 1), rows.slice(Slot::name, i, 1));
      dense = with(std::move(dense), rows);
    }
    Case own = with_pool(n_.sequences).with("indices", "none").with("dst", "none");
    own = own.with("accepted", "none").with("padding", "none").without("padded");
    const Tensors whole = run_as_it_is(run), rows = run(own, dense);
    Tensors scattered = before(whole);
    for (const Tensor& pool : scattered)
      for_stores([&](Index slot, const Lane&, Index i, Index) {
        if (!is_kv(pool) || options_.update_kv_state)
          copy_bytes(find(rows, pool.name())->slice(Slot::name, i, 1),
                     pool.slice(Slot::name, slot, 1));
      });
    for (const Tensor& tensor : rows) {
      if (!is_out(tensor)) continue;
      scattered.push_back(copy_of(tensor));  // what a padded lane computed there is nobody's
      for (Index i = 0; i < n_.sequences; ++i)
        if (const Lane at = lanes_.at(i); at.padding)
          fill(scattered.back()
                   .slice(Batch::name, at.batch, 1)
                   .slice(Time::name, at.begin, at.given),
               0);
    }
    return {whole, scattered};
  }

  Sides reordered(const Contract::Run& run) const {
    Tensors other;
    for (const Tensor& tensor : inputs_) {
      if (is_pool(tensor.name())) {
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
      if (is_pool(tensor.name())) tensor = reversed(tensor, Slot::name);
    return {run_as_it_is(run), right};
  }

  Sides lane_alone(const Contract::Run& run, Index i) const {
    const Case one = sized(with_pool(n_.slots), "B", 1);
    Tensors own;
    for (const Tensor& tensor : inputs_)
      own.push_back(tensor.has_axis(Batch::name)      ? tensor.slice(Batch::name, i, 1)
                    : tensor.has_axis(Sequence::name) ? tensor.slice(Sequence::name, i, 1)
                                                      : tensor);
    if (!lanes_.x.lanes.source) {
      own.push_back(Tensor::allocate("state_batch_indices", type_of(case_, ElementClass::index),
                                     {{Sequence::name, 1, 0}, {Time::name, 1, 0}}));
      own.back().store(0, static_cast<double>(i));
    }
    const Case indexed = lanes_.x.lanes.source ? one : one.with("indices", "permuted");
    Tensors whole;
    for (const Tensor& tensor : judged(case_, inputs_, run_as_it_is(run)))
      whole.push_back(
          tensor.slice(tensor.has_axis(Batch::name) ? Batch::name : Sequence::name, i, 1));
    return {whole, judged(indexed, own, run(indexed, own))};
  }
  Sides heads_alone(const Contract::Run& run) const {
    const Index extent = n_.groups > 1 ? n_.heads / n_.groups : 1, first = n_.heads - extent;
    const auto last = [&](const Tensors& tensors) {
      return cut(cut(tensors, Head::name, first, extent), Group::name, n_.groups - 1, 1);
    };
    const Case own = sized(sized(with_pool(n_.slots), "H", extent), "G", 1);
    return {last(run_as_it_is(run)), run(own, last(inputs_))};
  }
  Sides ones(const Contract::Run& run) const {
    Tensors full = inputs_;
    full.push_back(Tensor::allocate(
        "xproj", type_of(case_, ElementClass::gate),
        {{Rank::name, n_.ranks, 0}, {Head::name, n_.heads, 0}, {Value::name, n_.value, 0}}));
    fill(full.back(), 1);
    return {run_as_it_is(run), run(with_pool(n_.slots).with("xproj", "random"), full)};
  }
  Sides by_token(const Contract::Run& run) const {
    const Tensors whole = run_as_it_is(run);
    Tensors given = inputs_, last;
    Tensor out;
    for (const Tensor& tensor : whole)
      if (is_out(tensor)) out = empty_like(tensor);
    for (Index t = 0; t < n_.time; ++t) {
      Tensors token;
      for (const Tensor& tensor : given)
        token.push_back(tensor.has_axis(Batch::name) ? tensor.slice(Time::name, t, 1) : tensor);
      Case one = sized(with_pool(n_.slots), "T", 1);
      if (options_.stochastic) one = sized(one, "rand_seed", options_.stochastic->seed + t);
      last = run(one, token);
      copy_bytes(*find(last, out.name()), out.slice(Time::name, t, 1));
      for (const Tensor& tensor : last)
        if (is_pool(tensor.name())) given = with(std::move(given), tensor);
    }
    return {whole, with(std::move(last), out)};
  }
  // The pools with more slots behind the others.
  Tensors with_more_slots(Index slots) const {
    Tensors result;
    for (const Tensor& tensor : inputs_) {
      result.push_back(is_pool(tensor.name()) ? empty_like(tensor, Slot::name, slots) : tensor);
      if (is_pool(tensor.name())) copy_bytes(tensor, result.back().slice(Slot::name, 0, n_.slots));
    }
    return result;
  }
  Sides elsewhere(const Contract::Run& run) const {
    const Index slots = n_.slots + n_.sequences;
    Tensors moved = with_more_slots(slots);
    Tensor destination =
        Tensor::allocate("dst_state_batch_indices", type_of(case_, ElementClass::index),
                         {{Sequence::name, n_.sequences, 0}, {Time::name, 1, 0}});
    for (Index i = 0; i < n_.sequences; ++i)
      destination.store(i, static_cast<double>(n_.slots + i));
    moved.push_back(destination);
    const Case own = with_pool(slots).with("dst", "separate");
    return {judged(case_, inputs_, run_as_it_is(run)), judged(own, moved, run(own, moved))};
  }
  Sides out_of_place(const Contract::Run& run) const {
    const Case apart = with_pool(n_.slots).with("state_out", "yes").with("update_kv", "no");
    const auto outputs = [&](const Case& c) {
      Tensors all = judged(c, inputs_, run(c, inputs_));
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
  Sides scattered_by_hand(const Contract::Run& run) const {
    Tensors right = run(with_pool(n_.slots).with("update_kv", "no"), inputs_);
    scatter(inputs_, right);
    return {run_as_it_is(run), right};
  }
  Sides bits_are_copied(const Contract::Run& run) const {
    Tensors hard = inputs_;
    for (const char* const name : {"B", "x"}) {
      Tensor patterns = empty_like(*find(inputs_, name));
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
    return {sized(with_pool(n_.slots), "T", prefix()), cut_tokens(inputs_, prefix())};
  }
  static Tensors cut_tokens(const Tensors& tensors, Index tokens) {
    Tensors result;
    for (const Tensor& tensor : tensors)
      result.push_back(tensor.has_axis(Batch::name) ? tensor.slice(Time::name, 0, tokens) : tensor);
    return result;
  }
  Sides replayed(const Contract::Run& run) const {
    const auto [own, inputs] = shorter();
    Tensors replay = inputs_;
    replay.push_back(Tensor::allocate("replayed_tokens", type_of(case_, ElementClass::index),
                                      {{Sequence::name, n_.sequences, 0}}));
    fill(replay.back(), static_cast<double>(prefix()));
    return {run(own, inputs),
            cut_tokens(run(with_pool(n_.slots).with("replay", "random"), replay), prefix())};
  }
  Sides intermediates(const Contract::Run& run) const {
    const auto [own, inputs] = shorter();
    Tensors buffered = inputs_;
    buffered.push_back(Tensor::allocate("intermediate_state_indices",
                                        type_of(case_, ElementClass::index),
                                        {{Sequence::name, n_.sequences, 0}}));
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
  Sides prologue_apart(const Contract::Run& run) const {
    Tensors pools;  // whose angles the prologue advances
    for (const Tensor& tensor : inputs_) {
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
    mamba3::HostOutputs y = bind_outputs(case_, pools);
    if (lanes_.x.outproj)  // not written
      y.out = {type, nullptr, lanes_.x.x.extents(), {}};
    else
      y.rank_out = {type, nullptr, {n_.batch, n_.time, n_.ranks, n_.heads, n_.value}, {}};
    if (exact_)
      mamba3::prologue<Exact>(lanes_.x, options_for(case_, ElementType::float64), y, rotated);
    else
      mamba3::prologue<Single>(lanes_.x, options_, y, rotated);
    Tensors plain = without(
        inputs_, {"B", "C", "theta", "B_bias", "C_bias", "B_norm", "C_norm", "angle_state"});
    plain.insert(plain.end(), {b, c});
    const Case own = sized(with_pool(n_.slots).with("prologue", "none"), "G", n_.heads);
    return {run_as_it_is(run), run(own, plain)};
  }
  Sides quiet_padding(const Contract::Run& run) const {
    Tensors quiet;
    for (const Tensor& tensor : inputs_) {
      quiet.push_back(tensor.has_axis(Batch::name) ? copy_of(tensor) : tensor);
      for (Index i = 0; tensor.has_axis(Batch::name) && i < n_.sequences; ++i)
        if (const Lane own = lanes_.at(i); own.padding)
          fill(
              quiet.back().slice(Batch::name, own.batch, 1).slice(Time::name, own.begin, own.given),
              0);
    }
    return {run_as_it_is(run), run(with_pool(n_.slots), quiet)};
  }

  Case case_;
  Tensors inputs_;
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
