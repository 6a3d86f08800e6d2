#include "harness/operators/selective_state_update/case.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace groundstate::harness::selective_state_update_binding {
namespace {

constexpr Index largest = Index{1} << 40;
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

// ---- regimes of dt and A

using Stream = RandomStream;
using At = ElementPlace;

double uniform(const Stream& s, const At& at, double low, double high) {
  return low + (high - low) * s.uniform(static_cast<std::uint64_t>(at.index), 0);
}

constexpr std::array edges{-200.0, -88.0, -17.0, -10.0, 0.0, 19.99, 20.0, 20.01, 88.0, 200.0};
constexpr std::array head_scale{-1e-4, -16.0, -0.1, -4.0, -1e-2, -1.0};

constexpr Regime dt_table[] = {
    {"normal", "uniform on (0.001, 0.5), positive with and without softplus",
     [](const Stream& s, const At& at) { return uniform(s, at, 0.001, 0.5); }},
    {"small", "uniform on (-7, -4): softplus makes 1e-3 .. 2e-2 of it, updates next to nothing",
     [](const Stream& s, const At& at) { return uniform(s, at, -7, -4); }},
    {"edges", "-200 .. 200: log(e^x + 1) is 0 from -17 down, and infinite from 88 up",
     [](const Stream&, const At& at) {
       return edges[static_cast<std::size_t>(at.index) % edges.size()];
     }},
    {"negative", "uniform on (-0.5, -0.001): without softplus it stays negative, the state grows",
     [](const Stream& s, const At& at) { return uniform(s, at, -0.5, -0.001); }},
    {"zero", "0: without softplus the state must keep its bits",
     [](const Stream&, const At&) { return 0.0; }},
};
constexpr Regime A_table[] = {
    {"normal", "uniform on (-1.5, -0.5)",
     [](const Stream& s, const At& at) { return uniform(s, at, -1.5, -0.5); }},
    {"slow", "uniform on (-0.02, -0.005): long memory",
     [](const Stream& s, const At& at) { return uniform(s, at, -0.02, -0.005); }},
    {"none", "-1e-6: as good as no decay", [](const Stream&, const At&) { return -1e-6; }},
    {"strong", "-1e4: the state is exactly 0 after a token",
     [](const Stream&, const At&) { return -1e4; }},
    {"underflow", "uniform on (-400, -150): factors at the lower end of fp32",
     [](const Stream& s, const At& at) { return uniform(s, at, -400, -150); }},
    {"mixed", "one scale a head, 1e-4 .. 16",
     [](const Stream& s, const At& at) {
       return head_scale[static_cast<std::size_t>(at.head) % head_scale.size()] *
              uniform(s, at, 0.5, 1.5);
     }},
    {"growth", "uniform on (0, 0.2): the state grows",
     [](const Stream& s, const At& at) { return uniform(s, at, 0, 0.2); }},
};

double code_limit(ElementType type) {
  return type == ElementType::int16    ? largest_code<std::int16_t>()
         : type == ElementType::int8   ? largest_code<std::int8_t>()
         : type == ElementType::float8 ? largest_code<fp8>()
                                       : 0;
}

// ---- slots

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

Index default_slots(const Case& c, const Plan& n, Index needed) {
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
  for (Index i = 0; i < sequences; ++i)
    if ((word == "interleaved" && i % 3 == 1) || (word == "first" && i == 0) ||
        (word == "trailing" && i >= (sequences + 1) / 2))
      padded[static_cast<std::size_t>(i)] = true;
  return padded;
}

// Slots are numbered as they are needed, first those read and then those written, and the numbers
// put in the order that the case wants.
void assign_slots(const Case& c, Plan& n) {
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

// The index tensors of a plan, without anything else, for the contract's own check.
void check_slots(const Case& c, const Plan& n) {
  const auto tensor = [](std::string name, std::vector<AxisExtent> axes,
                         const std::vector<Index>& values) {
    Tensor result = Tensor::allocate(std::move(name), ElementType::int64, std::move(axes));
    for (std::size_t i = 0; i < values.size(); ++i)
      result.store(static_cast<Index>(i), static_cast<double>(values[i]));
    return result;
  };
  const AxisExtent lanes{Sequence::name, n.sequences, 0};
  const Tensor source = tensor("state_batch_indices", {lanes, {Time::name, n.source_columns, 0}},
                               n.source),
               accepted = tensor("num_accepted_tokens", {lanes}, n.accepted),
               destination = tensor("dst_state_batch_indices",
                                    {lanes, {Time::name, n.destination_columns, 0}}, n.destination),
               offsets = tensor("cu_seqlens", {{Offset::name, n.sequences + 1, 0}}, n.offsets),
               row = tensor("intermediate_state_indices", {lanes}, n.row);
  ssu::HostInputs x;
  ssu::HostOutputs y;
  x.x = {ElementType::float64, nullptr, {n.batch, n.time, n.heads, n.value}, {}};
  x.B = {ElementType::float64, nullptr, {n.batch, n.time, n.groups, n.state}, {}};
  y.state = {ElementType::float64, nullptr, {n.slots, n.heads, n.value, n.state}, {}};
  if (n.rows > 0)
    y.intermediate = {
        ElementType::float64, nullptr, {n.rows, n.longest, n.heads, n.value, n.state}, {}};
  if (given(c, "state_batch_indices")) bind(&source, x.source);
  if (given(c, "num_accepted_tokens")) bind(&accepted, x.accepted);
  if (given(c, "dst_state_batch_indices")) bind(&destination, x.destination);
  if (given(c, "cu_seqlens")) bind(&offsets, x.offsets);
  if (given(c, "intermediate_state_indices")) bind(&row, x.intermediate_rows);
  try {
    if (!x.source && n.slots < n.sequences)
      ssu::require(false, fmt::format("without state_batch_indices the pool needs a slot per lane, "
                                      "{}; it has {}",
                                      n.sequences, n.slots));
    validate_indices(x, y, options(c));
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
}

void refuse_contradictions(const Case& c) {
  const auto needs = [&](std::string_view key, std::string_view other, std::string_view what) {
    if (c.get(key) != "none" && c.get(other) == "none")
      throw UsageError(
          fmt::format("{}={} is not accepted without {} ({})", key, c.get(key), other, what));
  };
  needs("padding", "indices", "lanes without indices have a slot each");
  needs("accepted", "indices", "the tokens accepted choose one of a lane's slots");
  const bool generated = c.get("slots") == "generated";
  if (generated && c.get("dst") != "none" && c.get("intermediate") != "none")
    throw UsageError(
        fmt::format("dst={} is not accepted with intermediate={}: they exclude each "
                    "other",
                    c.get("dst"), c.get("intermediate")));
  const ElementType state = type_of(c, ElementClass::state);
  if (c.get("rounding") == "stochastic" && size_of(state) > 2)
    throw UsageError(
        fmt::format("rounding=stochastic is not accepted with a state of {}; a state of "
                    "16 or 8 bits is",
                    name_of(state)));
}

// ---- elements

// NaN in the tokens of padded lanes.
std::function<double(Index)> with_padding(std::shared_ptr<const Plan> plan, Index of_token,
                                          std::function<double(Index)> value) {
  if (std::find(plan->padded.begin(), plan->padded.end(), true) == plan->padded.end()) return value;
  return [plan = std::move(plan), of_token, value = std::move(value)](Index i) {
    const auto next = std::upper_bound(plan->offsets.begin(), plan->offsets.end(), i / of_token);
    const auto lane = static_cast<std::size_t>(next - plan->offsets.begin() - 1);
    return plan->padded[lane] ? not_a_number : value(i);
  };
}

double state_size(std::string_view word) {
  return word == "huge" ? 1e4 : word == "zero" ? 0.0 : word == "tiny" ? 1e-38 : 1.0;
}

// The elements of a pool: numbers, or codes. What no lane reads is NaN, or a code that none has.
std::function<double(Index)> pool_element(const Case& c, std::shared_ptr<const Plan> plan,
                                          const RandomStream& stream) {
  const std::string word = c.get("state");
  const ElementType type = type_of(c, ElementClass::state);
  const double code = code_limit(type);
  const double guard = is_integer(type) ? -code : not_a_number;
  const Index columns = plan->state, slot = plan->heads * plan->value * columns;
  return [=, plan = std::move(plan)](Index i) {
    if (!plan->is_read(i / slot)) return guard;
    const double x = stream.normal(static_cast<std::uint64_t>(i));
    if (word == "zero_rows" && i / columns % 2 == 1) return 0.0;
    const bool outlier = word == "outlier" && i % columns == columns / 3;
    if (code == 0) return x * (outlier ? 1e3 : state_size(word));
    if (word == "zero") return 0.0;
    if (word == "outlier") return outlier ? code : std::round(x);
    return is_integer(type) ? std::round(x * code / 3.5) : x * code / 3.5;
  };
}

// ---- files

std::string presence(const Case& c, std::string_view key, const Tensor* tensor,
                     std::string_view when_given) {
  const std::string& word = c.get(key);
  if (tensor == nullptr) return "none";
  return word == "none" ? std::string(when_given) : word;
}

// The case with the sizes and the contents of the index tensors at hand, where they are not those
// that it would generate.
Case with_contents(Case c, const Tensors& inputs) {
  const auto sized = [&](std::string_view key, Index own, Index wanted) {
    if (own != wanted) c = c.with(key, std::to_string(wanted));
  };
  const Plan sizes = *make_plan(c.with("slots", "given"));
  sized("pool", sizes.slots, find(inputs, "state")->extent(Slot::name));
  if (const Tensor* const source = find(inputs, "state_batch_indices"))
    sized("columns", sizes.source_columns, source->extent(Time::name));
  try {
    const std::shared_ptr<const Plan> plan = make_plan(c);
    for (const std::string_view name : {"state_batch_indices", "num_accepted_tokens",
                                        "dst_state_batch_indices", "intermediate_state_indices"}) {
      const Tensor* const tensor = find(inputs, name);
      if (tensor == nullptr) continue;
      const auto value = element(c, plan, name);
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

}  // namespace

Grammar make_grammar(std::vector<std::string> path_keys) {
  const Key::Integer size{1, largest};
  const Key::Word floats{{"fp64", "fp32", "bf16", "fp16"}};
  const Key::Word optional{{"none", "random"}}, no_yes{{"no", "yes"}}, yes_no{{"yes", "no"}};
  return {
      "selective_state_update",
      {
          {"B", "4", size, "lanes"},
          {"T", "1", Key::Integer{0, largest}, "tokens of a lane"},
          {"H", "4", size, "heads"},
          {"G", "1", size, "groups of B and C; H is a multiple"},
          {"P", "64", size, "head dimension"},
          {"N", "128", size, "state dimension"},
          {"lengths", "", Key::IntegerList{0, largest},
           "tokens of each lane, packed; then B = 1 and T is their sum"},
          {"pool", "", Key::Integer{0, largest}, "slots; default: some more than are used"},
          {"dtype", "bf16", floats, "x, B, C, z and out"},
          {"gate_dtype", "", floats, "dt, A, D, dt_bias; default fp32, fp64 with dtype=fp64"},
          {"state_dtype", "", Key::Word{{"fp64", "fp32", "bf16", "fp16", "int16", "int8", "fp8"}},
           "stored states; default fp32, fp64 with dtype=fp64"},
          {"index_dtype", "int32", Key::Word{{"int32", "int64"}}, "index tensors"},
          {"tied", "all", Key::Word{{"all", "A", "none"}},
           "one number a head: A, dt and dt_bias, or A alone"},
          {"D", "head", Key::Word{{"none", "head", "channel"}}, "skip connection"},
          {"z", "none", optional, "gate of the output"},
          {"dt_bias", "random", optional, "added to dt"},
          {"softplus", "yes", yes_no, "dt passes through softplus"},
          {"dt", "normal", Key::Word{names(dt_table)}, "regime of dt"},
          {"A", "normal", Key::Word{names(A_table)}, "regime of A"},
          {"values", "normal", Key::Word{names(value_regimes())}, "regime of x and z"},
          {"keys", "normal", Key::Word{names(key_regimes())}, "regime of B and C"},
          {"state", "random", Key::Word{{"zero", "random", "huge", "tiny", "outlier", "zero_rows"}},
           "what is in the slots that are read; all others hold NaN"},
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
          {"seed", "1", Key::Integer{0}, "of every random number"},
      },
      std::move(path_keys)};
}

std::vector<KeyValueHelp> regimes() {
  std::vector<KeyValueHelp> result;
  append_regimes(result, "dt", dt_table);
  append_regimes(result, "A", A_table);
  append_regimes(result, "values", value_regimes());
  append_regimes(result, "keys", key_regimes());
  const auto add = [&](const char* key, const char* value, const char* shows) {
    result.push_back({key, value, shows});
  };
  add("state", "huge", "1e4: what comes from the state hides the token");
  add("state", "tiny", "1e-38: row scales underflow, 448 / amax is infinite");
  add("state", "outlier", "one element of a row 1e3 times the others: it sets the scale for all");
  add("state", "zero_rows", "every second row is 0: amax = 0");
  add("indices", "none", "slot i for lane i: the dense form");
  add("indices", "reversed", "the last slot first: lane numbers taken for slots");
  add("indices", "permuted", "slots in random order, with others between them");
  add("indices", "shared", "all lanes read one slot, which needs a destination for each");
  add("padding", "first", "lane 0 is padding, and slot 0 may belong to another");
  add("padding", "interleaved", "padding in the middle: -1, -2 and INT_MIN");
  add("padding", "trailing", "what a batch of a fixed size has");
  add("padding", "all", "no lane has a slot, the pool may be empty");
  add("dst", "separate", "read here, written there");
  add("dst", "tokens", "a state for every token: the accepted one is chosen later");
  add("dst", "partial", "padding among the destinations: such a state is not stored");
  add("accepted", "random", "0 counts as 1; the lane's other slots hold NaN");
  return result;
}

std::shared_ptr<const Plan> make_plan(const Case& c) {
  refuse_contradictions(c);
  auto plan = std::make_shared<Plan>();
  Plan& n = *plan;
  n.batch = n.sequences = c.integer("B");
  n.time = n.longest = c.integer("T");
  n.heads = c.integer("H");
  n.groups = c.integer("G");
  n.value = c.integer("P");
  n.state = c.integer("N");
  if (n.heads % n.groups != 0)
    throw UsageError(
        fmt::format("G={} is not accepted with H={}; a divisor of it is", n.groups, n.heads));
  checked_elements({n.sequences, std::max<Index>(n.time, 1)}, "T");
  if (given(c, "cu_seqlens")) {
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
  if (c.get("slots") == "generated") check_slots(c, n);
  return plan;
}

ssu::Options options(const Case& c) {
  ssu::Options result;
  result.softplus = c.get("softplus") == "yes";
  if (!c.get("pad_slot_id").empty()) result.pad_slot_id = c.integer("pad_slot_id");
  result.update_state = c.get("update") == "yes";
  result.sequential = c.get("duplicates") == "sequential";
  if (c.get("rounding") == "stochastic")
    result.stochastic = {c.integer("rand_seed"), static_cast<int>(c.integer("philox_rounds"))};
  return result;
}

bool given(const Case& c, std::string_view name) {
  const auto present = [&](std::string_view key) { return c.get(key) != "none"; };
  if (name == "D" || name == "z" || name == "dt_bias") return present(name);
  if (name == "state_batch_indices") return present("indices");
  if (name == "num_accepted_tokens") return present("accepted");
  if (name == "dst_state_batch_indices") return present("dst");
  if (name == "cu_seqlens") return !c.get("lengths").empty();
  if (name == "intermediate_state_indices") return c.get("intermediate") == "indexed";
  if (name == "intermediate_states") return present("intermediate");
  const bool codes = ssu::has_codes(type_of(c, ElementClass::state));
  if (name == "state_scale") return codes;
  if (name == "intermediate_state_scales") return codes && present("intermediate");
  return true;
}

ElementType type_of(const Case& c, ElementClass kind) {
  switch (kind) {
    case ElementClass::activation:
      return element_type(c.get("dtype"));
    case ElementClass::gate:
      return keyed_type(c, "gate_dtype");
    case ElementClass::state:
      return keyed_type(c, "state_dtype");
    case ElementClass::index:
      return element_type(c.get("index_dtype"));
    case ElementClass::scale:
      return ElementType::float32;
  }
  return ElementType::float64;
}

std::string domain(std::string_view name) {
  if (name == "cu_seqlens") return "starts at 0, does not decrease, ends at T";
  if (name == "num_accepted_tokens") return "0 to the columns of state_batch_indices";
  if (name == "state_batch_indices" || name == "dst_state_batch_indices")
    return "a slot, or padding";
  if (name == "intermediate_state_indices") return "a row of intermediate_states";
  if (name == "state" || name == "state_scale") return "finite where a lane reads it";
  return "finite";
}

bool may_be_not_finite(const Case& c, std::string_view name) {
  return name == "state" || name == "state_scale" || c.get("padding") != "none" ||
         c.get("slots") == "given";
}

std::vector<AxisExtent> axes(const Case& c, const Plan& plan, std::string_view name,
                             std::vector<AxisExtent> full) {
  const std::string& tied = c.get("tied");
  const bool compact = name == "A"         ? tied != "none"
                       : name == "D"       ? c.get("D") == "head"
                       : name == "dt"      ? tied == "all"
                       : name == "dt_bias" ? tied == "all"
                                           : false;
  for (AxisExtent& axis : full) {
    if (compact && (axis.name == Value::name || axis.name == State::name)) axis.extent = 1;
    if (axis.name == Time::name && name == "state_batch_indices") axis.extent = plan.source_columns;
    if (axis.name == Time::name && name == "dst_state_batch_indices")
      axis.extent = plan.destination_columns;
    if (axis.name == Time::name && name.starts_with("intermediate")) axis.extent = plan.longest;
    if (axis.name == Slot::name && name.starts_with("intermediate")) axis.extent = plan.rows;
  }
  return full;
}

Extents extents(const Plan& n) {
  return {{Batch::name, n.batch},        {Time::name, n.time},   {Head::name, n.heads},
          {Group::name, n.groups},       {Value::name, n.value}, {State::name, n.state},
          {Sequence::name, n.sequences}, {Slot::name, n.slots},  {Offset::name, n.sequences + 1}};
}

std::function<double(Index)> element(const Case& c, std::shared_ptr<const Plan> plan,
                                     std::string_view name) {
  const Plan& n = *plan;
  const RandomStream stream(static_cast<std::uint64_t>(c.integer("seed")), name);
  const auto rows = [&](const Regime& r, Index heads, Index channels) {
    return with_padding(plan, heads * channels,
                        regime_element(r, stream, std::max<Index>(n.time, 1), heads, channels));
  };
  const bool tied = c.get("tied") == "all";
  if (name == "x" || name == "z")
    return rows(regime(value_regimes(), c.get("values")), n.heads, n.value);
  if (name == "B" || name == "C")
    return rows(regime(key_regimes(), c.get("keys")), n.groups, n.state);
  if (name == "dt") return rows(regime(dt_table, c.get("dt")), n.heads, tied ? 1 : n.value);
  if (name == "A")
    return regime_element(regime(A_table, c.get("A")), stream, 1, n.heads,
                          c.get("tied") == "none" ? n.value * n.state : 1);
  if (name == "dt_bias")
    return [stream, exact = c.get("dt") == "edges"](Index i) {
      return exact ? 0.0 : 0.1 * stream.normal(static_cast<std::uint64_t>(i));
    };
  if (name == "D") return state_element("random", stream);
  if (name == "state") return pool_element(c, plan, stream);
  if (name == "state_scale") {
    const double size = state_size(c.get("state")) / code_limit(type_of(c, ElementClass::state));
    return [=, slot = n.heads * n.value](Index i) {
      return plan->is_read(i / slot)
                 ? size * (0.5 + stream.uniform(static_cast<std::uint64_t>(i), 0))
                 : not_a_number;
    };
  }
  const std::vector<Index>& numbers = name == "state_batch_indices"       ? n.source
                                      : name == "dst_state_batch_indices" ? n.destination
                                      : name == "num_accepted_tokens"     ? n.accepted
                                      : name == "cu_seqlens"              ? n.offsets
                                                                          : n.row;
  if (c.get("slots") == "given")
    return [name = std::string(name)](Index) -> double {
      throw UsageError(fmt::format("slots=given: {} must be in a file", name));
    };
  return [plan, &numbers](Index i) {
    return static_cast<double>(numbers[static_cast<std::size_t>(i)]);
  };
}

Case infer(const Case& c, const Tensors& inputs) {
  const std::string name = c.operator_name();
  Inference inference(c);
  const auto require = [&](std::string_view tensor) -> const Tensor& {
    return require_input(inputs, tensor, name);
  };
  const Tensor &x = require("x"), &dt = require("dt"), &A = require("A"), &B = require("B"),
               &state = require("state");
  require("C");
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
  inference.set("H", x.extent(Head::name), "inputs/x");
  inference.set("P", x.extent(Value::name), "inputs/x");
  inference.set("G", B.extent(Group::name), "inputs/B");
  inference.set("N", B.extent(State::name), "inputs/B");
  inference.set("dtype", std::string(name_of(x.type())), "inputs/x");
  inference.set_type("gate_dtype", dt);
  inference.set_type("state_dtype", state);
  const bool one = x.extent(Value::name) == 1;
  const bool tied_dt = dt.extent(Value::name) == 1, tied_A = A.extent(Value::name) == 1;
  const std::string& tied = c.get("tied");
  const std::string seen = tied_dt && tied_A ? "all" : tied_A ? "A" : "none";
  inference.set("tied", one ? tied : seen, "the shapes of inputs/A and inputs/dt");
  const Tensor *const D = find(inputs, "D"), *const source = find(inputs, "state_batch_indices"),
                      *const destination = find(inputs, "dst_state_batch_indices"),
                      *const accepted = find(inputs, "num_accepted_tokens"),
                      *const rows = find(inputs, "intermediate_state_indices");
  const auto set = [&](std::string_view key, const Tensor* tensor, std::string_view tensor_name,
                       std::string_view word) {
    inference.set(key, presence(c, key, tensor, word),
                  fmt::format("the presence of inputs/{}", tensor_name));
  };
  inference.set("D",
                D == nullptr ? "none"
                : one        ? c.get("D")
                             : (D->extent(Value::name) == 1 ? "head" : "channel"),
                "inputs/D");
  set("z", find(inputs, "z"), "z", "random");
  set("dt_bias", find(inputs, "dt_bias"), "dt_bias", "random");
  set("indices", source, "state_batch_indices", "permuted");
  set("accepted", accepted, "num_accepted_tokens", "random");
  set("dst", destination, "dst_state_batch_indices",
      destination != nullptr && destination->extent(Time::name) > 1 ? "tokens" : "separate");
  if (rows != nullptr || c.get("intermediate") == "indexed")
    set("intermediate", rows, "intermediate_state_indices", "indexed");
  for (const Tensor* const index : {source, destination, accepted, rows})
    if (index != nullptr)
      inference.set("index_dtype", index->type() == ElementType::int32 ? "int32" : "int64",
                    "inputs/" + index->name());
  return with_contents(inference.result(), inputs);
}

}  // namespace groundstate::harness::selective_state_update_binding
