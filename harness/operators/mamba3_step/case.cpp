#include "harness/operators/mamba3_step/case.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace groundstate::harness::mamba3_step_binding {
namespace {

constexpr Index largest = Index{1} << 40;
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double two_pi = 6.283185307179586;

// ---- regimes

using Stream = RandomStream;
using At = ElementPlace;

double uniform(const Stream& s, const At& at, double low, double high) {
  return low + (high - low) * s.uniform(static_cast<std::uint64_t>(at.index), 0);
}
template <std::size_t size>
double nth(const std::array<double, size>& numbers, Index i) {
  return numbers[static_cast<std::size_t>(i) % size];
}

constexpr std::array head_scale{-1e-4, -16.0, -0.1, -4.0, -1e-2, -1.0};
constexpr std::array trap_edges{0.0, 1.0, 0x1p-30, 1 - 0x1p-24, 0.5};
constexpr std::array z_edges{-40.0, -20.0, -12.0, 0.0, 20.0};

constexpr Regime dt_table[] = {
    {"normal", "uniform on (0.01, 0.5)",
     [](const Stream& s, const At& at) { return uniform(s, at, 0.01, 0.5); }},
    {"small", "uniform on (0.001, 0.005): updates next to nothing",
     [](const Stream& s, const At& at) { return uniform(s, at, 0.001, 0.005); }},
    {"tenth", "0.1: angles grow at one rate", [](const Stream&, const At&) { return 0.1; }},
    {"zero", "0: neither state nor angle changes", [](const Stream&, const At&) { return 0.0; }},
};
constexpr Regime A_table[] = {
    {"normal", "uniform on (-1.5, -0.5)",
     [](const Stream& s, const At& at) { return uniform(s, at, -1.5, -0.5); }},
    {"slow", "uniform on (-0.02, -0.005): long memory",
     [](const Stream& s, const At& at) { return uniform(s, at, -0.02, -0.005); }},
    {"floor", "-1e-4, where models clamp it: 1 - exp(A dt) is next to a roundoff of fp32",
     [](const Stream&, const At&) { return -1e-4; }},
    {"strong", "-1e6: the state is exactly 0 after a token",
     [](const Stream&, const At&) { return -1e6; }},
    {"underflow", "uniform on (-400, -150): factors at the lower end of fp32",
     [](const Stream& s, const At& at) { return uniform(s, at, -400, -150); }},
    {"mixed", "one scale a head, 1e-4 .. 16",
     [](const Stream& s, const At& at) {
       return nth(head_scale, at.head) * uniform(s, at, 0.5, 1.5);
     }},
};
constexpr Regime trap_table[] = {
    {"normal", "uniform on (0, 1)",
     [](const Stream& s, const At& at) { return uniform(s, at, 0, 1); }},
    {"zero", "0: only what was before enters", [](const Stream&, const At&) { return 0.0; }},
    {"one", "1: only this token enters, a step of Mamba-2",
     [](const Stream&, const At&) { return 1.0; }},
    {"edges", "0, 1 and next to them: 1 - trap cancels",
     [](const Stream&, const At& at) { return nth(trap_edges, at.index); }},
};
constexpr Regime theta_table[] = {
    {"normal", "mean 0, variance 1",
     [](const Stream& s, const At& at) { return s.normal(static_cast<std::uint64_t>(at.index)); }},
    {"fast", "5: every step turns by pi dt, to the same side",
     [](const Stream&, const At&) { return 5.0; }},
    {"negative", "uniform on (-3, -1): the angle falls below 0",
     [](const Stream& s, const At& at) { return uniform(s, at, -3, -1); }},
    {"tiny", "uniform on (-1e-4, 1e-4): tanh as 2 sigmoid(2 u) - 1 has no digits left",
     [](const Stream& s, const At& at) { return uniform(s, at, -1e-4, 1e-4); }},
    {"zero", "0: the angle stays", [](const Stream&, const At&) { return 0.0; }},
};
constexpr Regime angle_table[] = {
    {"random", "uniform on (0, 2 pi)",
     [](const Stream& s, const At& at) { return uniform(s, at, 0, two_pi); }},
    {"zero", "0: a sequence starts", [](const Stream&, const At&) { return 0.0; }},
    {"turns", "multiples of 2 pi, -2 to 2 of them: the edges of the reduction",
     [](const Stream&, const At& at) { return two_pi * static_cast<double>(at.index % 5 - 2); }},
    {"large", "uniform on (1e3, 1e5): what many steps without a reduction leave",
     [](const Stream& s, const At& at) { return uniform(s, at, 1e3, 1e5); }},
};

double state_size(std::string_view word) {
  return word == "huge" ? 1e4 : word == "zero" ? 0.0 : word == "tiny" ? 1e-38 : 1.0;
}

// What no lane reads is NaN.
std::function<double(Index)> guarded(std::shared_ptr<const Plan> plan, Index of_slot,
                                     std::function<double(Index)> value) {
  return [=, plan = std::move(plan), value = std::move(value)](Index i) {
    return plan->is_read(i / of_slot) ? value(i) : not_a_number;
  };
}

// ---- the contract's own checks

void check(const Case& c, const Plan& n) {
  const Tensors tensors = index_tensors(n);
  mamba3::HostInputs x;
  mamba3::HostOutputs y;
  const Extents sizes = extents(n);
  const auto shaped = [&](std::string_view name, auto& view, ElementClass kind, Presence) {
    if (!given(c, name)) return;
    if (is_index_tensor(name)) return;
    view = shaped_like(view, type_of(c, kind), slot_axes(n, name, axes_of(view, sizes)));
  };
  input_tensors(x, shaped);
  output_tensors(y, shaped);
  index_tensors(x.lanes, [&](std::string_view name, auto& view, auto...) {
    if (given(c, name)) bind(find(tensors, name), view);
  });
  y.rotation = pool_rotation(c);
  try {
    mamba3::validate(x, y, options(c));
    mamba3::validate_indices(x, y, options(c));
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
}

}  // namespace

Grammar make_grammar() {
  const Key::Integer size{1, largest};
  const Key::Word floats{{"fp64", "fp32", "bf16", "fp16"}};
  const Key::Word optional{{"none", "random"}}, no_yes{{"no", "yes"}}, yes_no{{"yes", "no"}};
  std::vector<Key> keys{
      {"B", "4", size, "lanes"},
      {"T", "1", Key::Integer{0, largest}, "tokens of a lane"},
      {"H", "4", size, "heads"},
      {"G", "1", size, "groups of B and C; H is a multiple"},
      {"R", "4", size, "ranks; 1 is SISO"},
      {"P", "64", size, "head dimension"},
      {"N", "128", size, "state dimension"},
      {"F", "", Key::Integer{0, largest}, "angles of a head; default N / 2"},
      {"lengths", "", Key::IntegerList{0, largest},
       "tokens of each lane, packed; then B = 1 and T is their sum"},
      {"pool", "", Key::Integer{0, largest}, "slots; default: some more than are used"},
      {"dtype", "bf16", floats, "x, B, C, z, out, k_state and x_state"},
      {"gate_dtype", "", floats,
       "A, dt, trap, D, theta, projections, biases, norms; default fp32, fp64 with dtype=fp64"},
      {"state_dtype", "", floats, "stored states; default fp32, fp64 with dtype=fp64"},
      {"index_dtype", "int32", Key::Word{{"int32", "int64"}}, "index tensors"},
      {"prologue", "none", Key::Word{{"none", "rotary", "norm"}},
       "B and C come rotated; or bias and rotation are the step's; or RMSNorm too"},
      {"rotation", "pairwise", Key::Word{{"pairwise", "halved"}}, "which components make a pair"},
      {"pool_rotation", "", Key::Word{{"pairwise", "halved"}},
       "that of the states in the pools; default: the same"},
      {"wrap", "yes", yes_no, "angles are reduced to [0, 2 pi]"},
      {"bias", "random", optional, "B_bias and C_bias, of the prologue"},
      {"D", "random", optional, "skip connection"},
      {"xproj", "random", optional, "up-projection; none: ones"},
      {"outproj", "random", Key::Word{{"none", "random", "cancelling"}},
       "down-projection; none: an output a rank; cancelling: 1, -1, 1 .."},
      {"z", "none", Key::Word{{"none", "random", "edges"}}, "gate of the output, with zproj"},
      {"dt", "normal", Key::Word{names(dt_table)}, "regime of dt"},
      {"A", "normal", Key::Word{names(A_table)}, "regime of A"},
      {"trap", "normal", Key::Word{names(trap_table)}, "regime of trap"},
      {"theta", "normal", Key::Word{names(theta_table)}, "regime of theta"},
      {"angle", "random", Key::Word{names(angle_table)}, "regime of angle_state"},
      {"values", "normal", Key::Word{names(value_regimes())}, "regime of x and z"},
      {"keys", "normal", Key::Word{names(key_regimes())}, "regime of B and C"},
      {"ranks", "independent", Key::Word{{"independent", "equal"}}, "B and C of the ranks"},
      {"state", "random", Key::Word{{"zero", "random", "huge", "tiny"}},
       "what is in the slots that are read; all others hold NaN"},
      {"kv", "random", Key::Word{{"random", "zero"}}, "k_state and x_state there"},
      {"state_out", "no", no_yes, "the state goes to a tensor of its own"},
      {"update_kv", "yes", yes_no,
       "k_state and x_state are written; default no with state_out=yes"},
      {"carry", "fp32", Key::Word{{"fp32", "storage"}},
       "between tokens: the arithmetic of the call, or what the pools keep"},
      {"replay", "none", optional, "how many tokens of a lane are processed; the others hold NaN"},
      {"tile_d", "", Key::Integer{1, largest},
       "rows of P in a block of a kernel: refused where the CUDA step of mamba is wrong"},
  };
  for (Key& key : slot_keys()) keys.push_back(std::move(key));
  keys.push_back({"seed", "1", Key::Integer{0}, "of every random number"});
  return {"mamba3_step", std::move(keys), {}};
}

std::vector<KeyValueHelp> regimes() {
  std::vector<KeyValueHelp> result;
  append_regimes(result, "dt", dt_table);
  append_regimes(result, "A", A_table);
  append_regimes(result, "trap", trap_table);
  append_regimes(result, "theta", theta_table);
  append_regimes(result, "angle", angle_table);
  append_regimes(result, "values", value_regimes());
  append_regimes(result, "keys", key_regimes());
  const auto add = [&](const char* key, const char* value, const char* shows) {
    result.push_back({key, value, shows});
  };
  add("ranks", "equal", "all ranks alike: with outproj=cancelling the output is 0");
  add("z", "edges", "-40 .. 20: silu as h tanh(h) + h cancels");
  add("state", "zero", "a missing term of the token before shows");
  add("state", "huge", "1e4: what comes from the state hides the token");
  add("state", "tiny", "1e-38: the lower end of fp32");
  add("kv", "zero", "the first token of a sequence");
  add("replay", "random", "tokens that were not accepted: NaN");
  for (KeyValueHelp& own : slot_help()) result.push_back(std::move(own));
  return result;
}

std::shared_ptr<const Plan> make_plan(const Case& c) {
  refuse_slot_contradictions(c);
  auto plan = std::make_shared<Plan>();
  Plan& n = *plan;
  n.heads = c.integer("H");
  n.groups = c.integer("G");
  n.ranks = c.integer("R");
  n.value = c.integer("P");
  n.state = c.integer("N");
  n.frequencies = c.get("F").empty() ? n.state / 2 : c.integer("F");
  plan_lanes(c, n);
  plan_slots(c, n);
  if (given(c, "replayed_tokens")) {
    const RandomStream stream(static_cast<std::uint64_t>(c.integer("seed")), "replayed_tokens");
    for (Index i = 0; i < n.sequences; ++i) {
      const bool packed = !c.get("lengths").empty();
      const auto lane = static_cast<std::size_t>(i);
      const Index length = packed ? n.offsets[lane + 1] - n.offsets[lane] : n.time;
      n.replayed.push_back(static_cast<Index>(static_cast<double>(length + 1) *
                                              stream.uniform(static_cast<std::uint64_t>(i), 0)));
    }
  }
  if (c.get("slots") == "generated") check(c, n);
  return plan;
}

mamba3::Options options(const Case& c) {
  mamba3::Options result;
  if (!c.get("pad_slot_id").empty()) result.pad_slot_id = c.integer("pad_slot_id");
  result.update_state = c.get("update") == "yes";
  result.sequential = c.get("duplicates") == "sequential";
  const bool default_off = c.get("state_out") == "yes" && !c.is_explicit("update_kv");
  result.update_kv_state = c.get("update_kv") == "yes" && !default_off;
  result.carry = c.get("carry") == "storage" ? mamba3::Carry::storage : mamba3::Carry::arithmetic;
  result.rotation =
      c.get("rotation") == "halved" ? mamba3::Rotation::halved : mamba3::Rotation::pairwise;
  result.wrap_angle = c.get("wrap") == "yes";
  if (c.get("rounding") == "stochastic")
    result.stochastic = {c.integer("rand_seed"), static_cast<int>(c.integer("philox_rounds"))};
  if (!c.get("tile_d").empty()) result.tile_d = c.integer("tile_d");
  return result;
}

mamba3::Rotation pool_rotation(const Case& c) {
  if (c.get("pool_rotation").empty()) return options(c).rotation;
  return c.get("pool_rotation") == "halved" ? mamba3::Rotation::halved : mamba3::Rotation::pairwise;
}

bool has_prologue(const Case& c) { return c.get("prologue") != "none"; }

bool given(const Case& c, std::string_view name) {
  const auto present = [&](std::string_view key) { return c.get(key) != "none"; };
  if (is_index_tensor(name)) return index_given(c, name);
  if (name == "D" || name == "xproj" || name == "outproj" || name == "z") return present(name);
  if (name == "zproj") return present("z");
  if (name == "theta" || name == "angle_state") return has_prologue(c);
  if (name == "B_bias" || name == "C_bias") return has_prologue(c) && present("bias");
  if (name == "B_norm" || name == "C_norm") return c.get("prologue") == "norm";
  if (name == "out") return present("outproj");
  if (name == "rank_out") return !present("outproj");
  if (name == "state_out") return c.get("state_out") == "yes";
  if (name == "intermediate_states") return present("intermediate");
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
    case ElementClass::scale:  // angles
      return element_type(default_type_word(c));
  }
  return ElementType::float64;
}

std::string domain(std::string_view name) {
  if (is_index_tensor(name)) return index_domain(name);
  if (name.ends_with("state")) return "finite where a lane reads it";
  if (name == "trap") return "0 to 1, no logit";
  if (name == "dt") return "0 or more, behind its softplus";
  return "finite";
}

bool may_be_not_finite(const Case& c, std::string_view name) {
  return name.ends_with("state") || c.get("padding") != "none" || c.get("replay") != "none" ||
         c.get("slots") == "given";
}

Extents extents(const Plan& n) {
  return {{Batch::name, n.batch},         {Time::name, n.time},
          {Head::name, n.heads},          {Group::name, n.groups},
          {Rank::name, n.ranks},          {Value::name, n.value},
          {State::name, n.state},         {mamba3::Frequency::name, n.frequencies},
          {Sequence::name, n.sequences},  {Slot::name, n.slots},
          {Offset::name, n.sequences + 1}};
}

std::function<double(Index)> element(const Case& c, std::shared_ptr<const Plan> plan,
                                     std::string_view name) {
  const Plan& n = *plan;
  const RandomStream stream(static_cast<std::uint64_t>(c.integer("seed")), name);
  const Index time = std::max<Index>(n.time, 1), H = n.heads, R = n.ranks;
  const auto rows = [&](const Regime& r, Index heads, Index channels) {
    return with_padding(plan, heads * channels, regime_element(r, stream, time, heads, channels));
  };
  const auto normal = [&](double mean, double size) {
    return [=](Index i) { return mean + size * stream.normal(static_cast<std::uint64_t>(i)); };
  };
  if (name == "z" && c.get("z") == "edges")
    return with_padding(plan, H * n.value, [](Index i) { return nth(z_edges, i); });
  if (name == "x" || name == "z") return rows(regime(value_regimes(), c.get("values")), H, n.value);
  if (name == "B" || name == "C") {
    const Index groups = n.groups * n.state;
    auto value =
        regime_element(regime(key_regimes(), c.get("keys")), stream, time, R * n.groups, n.state);
    if (c.get("ranks") == "equal")
      value = [=](Index i) { return value(i - i / groups % R * groups); };
    return with_padding(plan, R * groups, value);
  }
  if (name == "dt") return rows(regime(dt_table, c.get("dt")), H, 1);
  if (name == "A") return rows(regime(A_table, c.get("A")), H, 1);
  if (name == "trap") return rows(regime(trap_table, c.get("trap")), H, 1);
  if (name == "theta") return rows(regime(theta_table, c.get("theta")), H, n.frequencies);
  if (name == "D") return normal(1, 0.3);
  if (name == "outproj" && c.get("outproj") == "cancelling")
    return [of_rank = H * n.value](Index i) { return i / of_rank % 2 == 0 ? 1.0 : -1.0; };
  if (name == "xproj" || name == "outproj" || name == "zproj") return normal(1, 0.3);
  if (name == "B_bias" || name == "C_bias" || name == "B_norm" || name == "C_norm")
    return normal(1, 0.1);
  if (name == "state")
    return guarded(plan, H * n.value * n.state, normal(0, state_size(c.get("state"))));
  const double kv = c.get("kv") == "zero" ? 0.0 : 1.0;
  if (name == "k_state") return guarded(plan, R * H * n.state, normal(0, kv));
  if (name == "x_state") return guarded(plan, H * n.value, normal(0, kv));
  if (name == "angle_state")
    return guarded(plan, H * n.frequencies,
                   regime_element(regime(angle_table, c.get("angle")), stream, 1, H,
                                  std::max<Index>(n.frequencies, 1)));
  return index_element(c, plan, name);
}

Case infer(const Case& c, const Tensors& inputs) {
  const std::string name = c.operator_name();
  Inference inference(c);
  const auto require = [&](std::string_view tensor) -> const Tensor& {
    return require_input(inputs, tensor, name);
  };
  const Tensor &x = require("x"), &A = require("A"), &B = require("B"), &state = require("state");
  for (const char* const tensor : {"dt", "trap", "C", "k_state", "x_state"}) require(tensor);
  infer_lanes(inference, c, inputs, x);
  inference.set("H", x.extent(Head::name), "inputs/x");
  inference.set("P", x.extent(Value::name), "inputs/x");
  inference.set("G", B.extent(Group::name), "inputs/B");
  inference.set("R", B.extent(Rank::name), "inputs/B");
  inference.set("N", B.extent(State::name), "inputs/B");
  inference.set("dtype", std::string(name_of(x.type())), "inputs/x");
  inference.set_type("gate_dtype", A);
  inference.set_type("state_dtype", state);
  const Tensor* const theta = find(inputs, "theta");
  if (theta != nullptr) {
    const Index frequencies = theta->extent(mamba3::Frequency::name);
    if (frequencies != B.extent(State::name) / 2) inference.set("F", frequencies, "inputs/theta");
    require("angle_state");
  }
  const std::string prologue = theta == nullptr                    ? "none"
                               : find(inputs, "B_norm") == nullptr ? "rotary"
                                                                   : "norm";
  inference.set("prologue", prologue, "the presence of inputs/theta and inputs/B_norm");
  if (theta != nullptr) infer_presence(inference, c, "bias", inputs, "B_bias", "random");
  for (const char* const key : {"D", "xproj", "outproj", "z"})
    infer_presence(inference, c, key, inputs, key, "random");
  infer_presence(inference, c, "replay", inputs, "replayed_tokens", "random");
  infer_slots(inference, c, inputs);
  return with_slots(inference.result(), inputs, make_plan);
}

}  // namespace groundstate::harness::mamba3_step_binding
