#include "harness/operators/selective_state_update/case.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

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

// The index tensors of a plan, without anything else, for the contract's own check.
void check_slots(const Case& c, const Plan& n) {
  const Tensors tensors = index_tensors(n);
  ssu::HostInputs x;
  ssu::HostOutputs y;
  x.x = {ElementType::float64, nullptr, {n.batch, n.time, n.heads, n.value}, {}};
  x.B = {ElementType::float64, nullptr, {n.batch, n.time, n.groups, n.state}, {}};
  y.state = {ElementType::float64, nullptr, {n.slots, n.heads, n.value, n.state}, {}};
  if (n.rows > 0)
    y.intermediate = {
        ElementType::float64, nullptr, {n.rows, n.longest, n.heads, n.value, n.state}, {}};
  const auto bind_given = [&](std::string_view name, auto& view) {
    if (given(c, name)) bind(find(tensors, name), view);
  };
  bind_given("state_batch_indices", x.source);
  bind_given("num_accepted_tokens", x.accepted);
  bind_given("dst_state_batch_indices", x.destination);
  bind_given("cu_seqlens", x.offsets);
  bind_given("intermediate_state_indices", x.intermediate_rows);
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

// ---- elements

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

}  // namespace

Grammar make_grammar(std::vector<std::string> path_keys) {
  const Key::Integer size{1, largest};
  const Key::Word floats{{"fp64", "fp32", "bf16", "fp16"}};
  const Key::Word optional{{"none", "random"}}, no_yes{{"no", "yes"}}, yes_no{{"yes", "no"}};
  std::vector<Key> keys{
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
  };
  for (Key& key : slot_keys()) keys.push_back(std::move(key));
  keys.push_back({"seed", "1", Key::Integer{0}, "of every random number"});
  return {"selective_state_update", std::move(keys), std::move(path_keys)};
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
  for (KeyValueHelp& own : slot_help()) result.push_back(std::move(own));
  return result;
}

std::shared_ptr<const Plan> make_plan(const Case& c) {
  refuse_slot_contradictions(c);
  const ElementType state = type_of(c, ElementClass::state);
  if (c.get("rounding") == "stochastic" && size_of(state) > 2)
    throw UsageError(
        fmt::format("rounding=stochastic is not accepted with a state of {}; a state of "
                    "16 or 8 bits is",
                    name_of(state)));
  auto plan = std::make_shared<Plan>();
  Plan& n = *plan;
  n.heads = c.integer("H");
  n.groups = c.integer("G");
  n.value = c.integer("P");
  n.state = c.integer("N");
  if (n.heads % n.groups != 0)
    throw UsageError(
        fmt::format("G={} is not accepted with H={}; a divisor of it is", n.groups, n.heads));
  plan_lanes(c, n);
  plan_slots(c, n);
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
  if (is_index_tensor(name)) return index_given(c, name);
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

bool is_pool(std::string_view name) { return name == "state" || name == "state_scale"; }

std::string domain(std::string_view name) {
  if (is_index_tensor(name)) return index_domain(name);
  if (is_pool(name)) return "finite where a lane reads it";
  return "finite";
}

bool may_be_not_finite(const Case& c, std::string_view name) {
  return is_pool(name) || c.get("padding") != "none" || c.get("slots") == "given";
}

std::vector<AxisExtent> axes(const Case& c, const Plan& plan, std::string_view name,
                             std::vector<AxisExtent> full) {
  const std::string& tied = c.get("tied");
  const bool compact = name == "A"         ? tied != "none"
                       : name == "D"       ? c.get("D") == "head"
                       : name == "dt"      ? tied == "all"
                       : name == "dt_bias" ? tied == "all"
                                           : false;
  for (AxisExtent& axis : full)
    if (compact && (axis.name == Value::name || axis.name == State::name)) axis.extent = 1;
  return slot_axes(plan, name, std::move(full));
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
  return index_element(c, plan, name);
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
  infer_lanes(inference, c, inputs, x);
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
  const Tensor* const D = find(inputs, "D");
  inference.set("D",
                D == nullptr ? "none"
                : one        ? c.get("D")
                             : (D->extent(Value::name) == 1 ? "head" : "channel"),
                "inputs/D");
  infer_presence(inference, c, "z", inputs, "z", "random");
  infer_presence(inference, c, "dt_bias", inputs, "dt_bias", "random");
  infer_slots(inference, c, inputs);
  return with_slots(inference.result(), inputs, make_plan);
}

}  // namespace groundstate::harness::selective_state_update_binding
