#include "harness/operators/slots.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

namespace groundstate::harness {
namespace {

constexpr Index largest = Index{1} << 40;
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr std::array<std::string_view, 6> index_names{
    "state_batch_indices", "num_accepted_tokens", "dst_state_batch_indices",
    "cu_seqlens",          "replayed_tokens",     "intermediate_state_indices"};

// A permutation of 0 .. size - 1, drawn from the seed.
std::vector<Index> permutation(Index size, std::uint64_t seed) {
  std::vector<Index> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), Index{0});
  const RandomStream stream(seed, "order of slots");
  for (Index i = size - 1; i > 0; --i)
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(static_cast<double>(i + 1) *
                                             stream.uniform(static_cast<std::uint64_t>(i), 0))]);
  return order;
}

Index default_slots(const Case& c, const SlotPlan& n, Index needed) {
  const bool plain = c.get("indices") == "none" && n.destination_columns == 0;
  return plain ? n.sequences : needed + needed / 2 + 1;
}

// The number that stands for no slot, in lane i.
Index padding_of(const Case& c, Index i) {
  constexpr std::array<Index, 3> negative{-1, -2, std::numeric_limits<std::int32_t>::min()};
  return c.get("pad_slot_id").empty() ? negative[static_cast<std::size_t>(i) % negative.size()]
                                      : c.integer("pad_slot_id");
}

std::vector<bool> padded_lanes(const Case& c, Index sequences) {
  const std::string& word = c.get("padding");
  std::vector<bool> padded(static_cast<std::size_t>(sequences), word == "all");
  const Index trailing = c.get("padded").empty() ? sequences / 2 : c.integer("padded");
  for (Index i = 0; i < sequences; ++i)
    if ((word == "interleaved" && i % 3 == 1) || (word == "first" && i == 0) ||
        (word == "trailing" && i >= sequences - trailing))
      padded[static_cast<std::size_t>(i)] = true;
  return padded;
}

// Slots are numbered as they are needed, first those read and then those written, and the numbers
// put in the order that the case wants.
void assign_slots(const Case& c, SlotPlan& n) {
  const std::string &word = c.get("indices"), &written = c.get("dst");
  const bool shared = word == "shared";
  const Index read = shared ? n.source_columns : n.sequences * n.source_columns;
  const Index needed = read + n.sequences * n.destination_columns;
  n.slots = c.get("pool").empty() ? default_slots(c, n, needed) : c.integer("pool");
  if (c.get("slots") == "given") return;
  const auto seed = static_cast<std::uint64_t>(c.integer("seed"));
  const std::vector<Index> order = word == "none" || word == "identity" || word == "reversed"
                                       ? std::vector<Index>()
                                       : permutation(n.slots, seed);
  const auto slot = [&](Index number) {
    if (number >= n.slots) return number;
    if (word == "reversed") return n.slots - 1 - number;
    return order.empty() ? number : order[static_cast<std::size_t>(number)];
  };
  const RandomStream stream(seed, "num_accepted_tokens");
  n.read.assign(static_cast<std::size_t>(n.slots), false);
  for (Index i = 0; i < n.sequences; ++i) {
    const bool padding = n.padded[static_cast<std::size_t>(i)];
    const Index reads_like = shared || (word == "duplicate" && i == 1) ? 0 : i;
    for (Index column = 0; column < n.source_columns; ++column)
      n.source.push_back(padding ? padding_of(c, i) : slot(reads_like * n.source_columns + column));
    if (word == "out_of_range" && i == n.sequences - 1) n.source.back() = n.slots + 7;
    for (Index column = 0; column < n.destination_columns; ++column)
      n.destination.push_back(padding || (written == "partial" && column % 2 == 1)
                                  ? padding_of(c, i)
                                  : slot(read + i * n.destination_columns + column));
    n.accepted.push_back(static_cast<Index>(static_cast<double>(n.source_columns + 1) *
                                            stream.uniform(static_cast<std::uint64_t>(i), 0)));
    n.row.push_back(padding ? -1 : n.sequences + 1 - i);
    const Index accepted = c.get("accepted") == "none" ? 1 : n.accepted.back();
    const Index own =
        n.source[static_cast<std::size_t>(i * n.source_columns + std::max<Index>(accepted - 1, 0))];
    if (!padding && own >= 0 && own < n.slots) n.read[static_cast<std::size_t>(own)] = true;
  }
}

const std::vector<Index>& numbers_of(const SlotPlan& n, std::string_view name) {
  return name == "state_batch_indices"       ? n.source
         : name == "dst_state_batch_indices" ? n.destination
         : name == "num_accepted_tokens"     ? n.accepted
         : name == "cu_seqlens"              ? n.offsets
         : name == "replayed_tokens"         ? n.replayed
                                             : n.row;
}

}  // namespace

std::vector<Key> slot_keys() {
  const Key::Word optional{{"none", "random"}}, yes_no{{"yes", "no"}};
  return {
      {"indices", "permuted",
       Key::Word{
           {"none", "identity", "reversed", "permuted", "shared", "duplicate", "out_of_range"}},
       "slots that lanes read: none is slot i for lane i"},
      {"columns", "", Key::Integer{1, largest},
       "slots of a lane to choose from; default 1, with accepted one a token"},
      {"slots", "generated", Key::Word{{"generated", "given"}},
       "index tensors: as the keys say, or those of a file"},
      {"padding", "none", Key::Word{{"none", "first", "interleaved", "trailing", "all"}},
       "lanes that are padding; their inputs are NaN"},
      {"padded", "", Key::Integer{0, largest},
       "how many lanes padding=trailing has; default: half of them"},
      {"pad_slot_id", "", Key::Integer{std::numeric_limits<std::int32_t>::min(), largest},
       "the only number that is padding; default: every negative one"},
      {"dst", "none", Key::Word{{"none", "separate", "tokens", "partial"}},
       "slots that lanes write: their own, another, one a token, one every second token"},
      {"accepted", "none", optional, "num_accepted_tokens, and a slot for each number"},
      {"intermediate", "none", Key::Word{{"none", "slots", "indexed"}},
       "states after each token, in rows by slot or by index"},
      {"update", "yes", yes_no, "the slots are written"},
      {"duplicates", "refuse", Key::Word{{"refuse", "sequential"}},
       "slots of two lanes: refused, or lanes one after the other"},
      {"rounding", "nearest", Key::Word{{"nearest", "stochastic"}}, "of stored states"},
      {"rand_seed", "0", Key::Integer{std::numeric_limits<std::int64_t>::min()},
       "of stochastic rounding"},
      {"philox_rounds", "10", Key::Integer{1, 64}, "of stochastic rounding"},
  };
}

std::vector<KeyValueHelp> slot_help() {
  return {
      {"indices", "none", "slot i for lane i: the dense form"},
      {"indices", "reversed", "the last slot first: lane numbers taken for slots"},
      {"indices", "permuted", "slots in random order, with others between them"},
      {"indices", "shared", "all lanes read one slot, which needs a destination for each"},
      {"padding", "first", "lane 0 is padding, and slot 0 may belong to another"},
      {"padding", "interleaved", "padding in the middle: -1, -2 and INT_MIN"},
      {"padding", "trailing", "what a batch of a fixed size has"},
      {"padding", "all", "no lane has a slot, the pool may be empty"},
      {"dst", "separate", "read here, written there"},
      {"dst", "tokens", "a state for every token: the accepted one is chosen later"},
      {"dst", "partial", "padding among the destinations: such a state is not stored"},
      {"accepted", "random", "0 counts as 1; the lane's other slots hold NaN"},
  };
}

void refuse_slot_contradictions(const Case& c) {
  const auto needs = [&](std::string_view key, std::string_view other, std::string_view what) {
    if (c.get(key) != "none" && c.get(other) == "none")
      throw UsageError(
          fmt::format("{}={} is not accepted without {} ({})", key, c.get(key), other, what));
  };
  needs("padding", "indices", "lanes without indices have a slot each");
  needs("accepted", "indices", "the tokens accepted choose one of a lane's slots");
  if (!c.get("padded").empty() && c.get("padding") != "trailing")
    throw UsageError(fmt::format("padded={} is not accepted with padding={}; padding=trailing is",
                                 c.get("padded"), c.get("padding")));
  const bool generated = c.get("slots") == "generated";
  if (generated && c.get("dst") != "none" && c.get("intermediate") != "none")
    throw UsageError(
        fmt::format("dst={} is not accepted with intermediate={}: they exclude each "
                    "other",
                    c.get("dst"), c.get("intermediate")));
}

void plan_lanes(const Case& c, SlotPlan& n) {
  n.batch = n.sequences = c.integer("B");
  n.time = n.longest = c.integer("T");
  checked_elements({n.sequences, std::max<Index>(n.time, 1)}, "T");
  if (!c.get("lengths").empty()) {
    const std::vector<std::int64_t> lengths = c.integers("lengths");
    Index sum = 0;
    n.offsets = {0};
    for (const Index length : lengths) {
      if (__builtin_add_overflow(sum, length, &sum)) throw UsageError("lengths: the sum overflows");
      n.offsets.push_back(sum);
    }
    if (c.is_explicit("B"))
      throw UsageError(
          fmt::format("B={} is not accepted with lengths; packed lanes have B=1", c.integer("B")));
    if (c.is_explicit("T") && n.time != sum)
      throw UsageError(fmt::format("T={} is not accepted with lengths={}, whose sum is {}", n.time,
                                   shown(c.get("lengths")), sum));
    n.batch = 1;
    n.time = sum;
    n.sequences = static_cast<Index>(lengths.size());
    n.longest = *std::max_element(lengths.begin(), lengths.end());
  } else {
    for (Index i = 0; i <= n.sequences; ++i) n.offsets.push_back(i * n.time);
  }
}

void plan_slots(const Case& c, SlotPlan& n) {
  if (!c.get("columns").empty())
    n.source_columns = c.integer("columns");
  else if (c.get("accepted") != "none")
    n.source_columns = std::max<Index>(2, n.longest);
  if (c.get("dst") != "none")
    n.destination_columns = c.get("dst") == "separate" ? 1 : std::max<Index>(1, n.longest);
  n.padded = padded_lanes(c, n.sequences);
  assign_slots(c, n);
  if (c.get("intermediate") != "none")
    n.rows = c.get("intermediate") == "slots" ? n.slots : n.sequences + 2;
}

// ---- index tensors

bool is_index_tensor(std::string_view name) {
  return std::find(index_names.begin(), index_names.end(), name) != index_names.end();
}

bool index_given(const Case& c, std::string_view name) {
  if (name == "state_batch_indices") return c.get("indices") != "none";
  if (name == "num_accepted_tokens") return c.get("accepted") != "none";
  if (name == "dst_state_batch_indices") return c.get("dst") != "none";
  if (name == "cu_seqlens") return !c.get("lengths").empty();
  if (name == "replayed_tokens") return c.get("replay") != "none";
  return c.get("intermediate") == "indexed";
}

std::string index_domain(std::string_view name) {
  if (name == "cu_seqlens") return "starts at 0, does not decrease, ends at T";
  if (name == "num_accepted_tokens") return "0 to the columns of state_batch_indices";
  if (name == "replayed_tokens") return "0 to the tokens of the lane";
  if (name == "intermediate_state_indices") return "a row of intermediate_states";
  return "a slot, or padding";
}

Tensors index_tensors(const SlotPlan& n) {
  Tensors result;
  const auto add = [&](std::string name, std::vector<AxisExtent> axes) {
    const std::vector<Index>& values = numbers_of(n, name);
    Tensor own = Tensor::allocate(std::move(name), ElementType::int64, std::move(axes));
    for (std::size_t i = 0; i < values.size(); ++i)
      own.store(static_cast<Index>(i), static_cast<double>(values[i]));
    result.push_back(std::move(own));
  };
  const AxisExtent lanes{Sequence::name, n.sequences, 0};
  add("state_batch_indices", {lanes, {Time::name, n.source_columns, 0}});
  add("num_accepted_tokens", {lanes});
  add("dst_state_batch_indices", {lanes, {Time::name, n.destination_columns, 0}});
  add("cu_seqlens", {{Offset::name, n.sequences + 1, 0}});
  add("replayed_tokens", {lanes});
  add("intermediate_state_indices", {lanes});
  return result;
}

std::function<double(Index)> index_element(const Case& c, std::shared_ptr<const SlotPlan> plan,
                                           std::string_view name) {
  if (c.get("slots") == "given")
    return [name = std::string(name)](Index) -> double {
      throw UsageError(fmt::format("slots=given: {} must be in a file", name));
    };
  const std::vector<Index>& numbers = numbers_of(*plan, name);
  return [plan, &numbers](Index i) {
    return static_cast<double>(numbers[static_cast<std::size_t>(i)]);
  };
}

std::vector<AxisExtent> slot_axes(const SlotPlan& plan, std::string_view name,
                                  std::vector<AxisExtent> full) {
  for (AxisExtent& axis : full) {
    if (axis.name == Time::name && name == "state_batch_indices") axis.extent = plan.source_columns;
    if (axis.name == Time::name && name == "dst_state_batch_indices")
      axis.extent = plan.destination_columns;
    if (axis.name == Time::name && name.starts_with("intermediate")) axis.extent = plan.longest;
    if (axis.name == Slot::name && name.starts_with("intermediate")) axis.extent = plan.rows;
  }
  return full;
}

std::function<double(Index)> with_padding(std::shared_ptr<const SlotPlan> plan, Index of_token,
                                          std::function<double(Index)> value) {
  const bool padding =
      std::find(plan->padded.begin(), plan->padded.end(), true) != plan->padded.end();
  if (!padding && plan->replayed.empty()) return value;
  return [plan = std::move(plan), of_token, value = std::move(value)](Index i) {
    const Index token = i / of_token;
    const auto next = std::upper_bound(plan->offsets.begin(), plan->offsets.end(), token);
    const auto lane = static_cast<std::size_t>(next - plan->offsets.begin() - 1);
    const bool unread = plan->padded[lane] || (!plan->replayed.empty() &&
                                               token - plan->offsets[lane] >= plan->replayed[lane]);
    return unread ? not_a_number : value(i);
  };
}

// ---- files

void infer_presence(Inference& inference, const Case& c, std::string_view key,
                    const Tensors& inputs, std::string_view name, std::string_view when_given) {
  const std::string& word = c.get(key);
  const std::string value = find(inputs, name) == nullptr ? "none"
                            : word == "none"              ? std::string(when_given)
                                                          : word;
  inference.set(key, value, fmt::format("the presence of inputs/{}", name));
}

void infer_lanes(Inference& inference, const Case& c, const Tensors& inputs, const Tensor& x) {
  if (const Tensor* const offsets = find(inputs, "cu_seqlens")) {
    std::vector<Index> lengths;
    const auto at = [&](Index i) {
      return static_cast<Index>(offsets->load(i * offsets->axes()[0].stride));
    };
    for (Index i = 0; i + 1 < offsets->elements(); ++i) {
      lengths.push_back(at(i + 1) - at(i));
      if (lengths.back() < 0)
        throw UsageError(fmt::format("inputs/cu_seqlens must not decrease: entry {} is {} after {}",
                                     i + 1, at(i + 1), at(i)));
    }
    if (lengths.empty()) throw UsageError("inputs/cu_seqlens needs at least two entries");
    inference.set("lengths", fmt::format("{}", fmt::join(lengths, "+")), "inputs/cu_seqlens");
  } else if (c.get("lengths").empty()) {
    inference.set("B", x.extent(Batch::name), "inputs/x");
    inference.set("T", x.extent(Time::name), "inputs/x");
  }
}

void infer_slots(Inference& inference, const Case& c, const Tensors& inputs) {
  const Tensor *const source = find(inputs, "state_batch_indices"),
                      *const destination = find(inputs, "dst_state_batch_indices"),
                      *const accepted = find(inputs, "num_accepted_tokens"),
                      *const rows = find(inputs, "intermediate_state_indices"),
                      *const replayed = find(inputs, "replayed_tokens");
  infer_presence(inference, c, "indices", inputs, "state_batch_indices", "permuted");
  infer_presence(inference, c, "accepted", inputs, "num_accepted_tokens", "random");
  infer_presence(
      inference, c, "dst", inputs, "dst_state_batch_indices",
      destination != nullptr && destination->extent(Time::name) > 1 ? "tokens" : "separate");
  if (rows != nullptr || c.get("intermediate") == "indexed")
    infer_presence(inference, c, "intermediate", inputs, "intermediate_state_indices", "indexed");
  for (const Tensor* const index : {source, destination, accepted, rows, replayed})
    if (index != nullptr)
      inference.set("index_dtype", index->type() == ElementType::int32 ? "int32" : "int64",
                    "inputs/" + index->name());
}

Case with_slots(Case c, const Tensors& inputs, const MakePlan& make_plan) {
  const auto sized = [&](std::string_view key, Index own, Index wanted) {
    if (own != wanted) c = c.with(key, std::to_string(wanted));
  };
  const std::shared_ptr<const SlotPlan> sizes = make_plan(c.with("slots", "given"));
  sized("pool", sizes->slots, find(inputs, "state")->extent(Slot::name));
  if (const Tensor* const source = find(inputs, "state_batch_indices"))
    sized("columns", sizes->source_columns, source->extent(Time::name));
  try {
    const std::shared_ptr<const SlotPlan> plan = make_plan(c);
    for (const std::string_view name : index_names) {
      const Tensor* const tensor = find(inputs, name);
      if (tensor == nullptr || name == "cu_seqlens") continue;
      const auto value = index_element(c, plan, name);
      bool same = true;
      for_each_element(
          *tensor, [&](Index i, Index offset) { same = same && tensor->load(offset) == value(i); });
      if (!same) return c.with("slots", "given");
    }
    return c;
  } catch (const UsageError&) {  // those that it would generate are refused
    return c.with("slots", "given");
  }
}

}  // namespace groundstate::harness
