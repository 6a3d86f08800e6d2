// The decode step of Mamba-3 (SISO and MIMO) on pools of states, with or without its prologue.
//
//   b_r = Rot(phi) (norm(B_t,r) + B_bias_r)     c_r = Rot(phi) (norm(C_t,r) + C_bias_r)
//   phi := phi + pi tanh(theta_t) dt_t          before it is used; reduced to [0, 2 pi] if wanted
//   alpha = exp(A dt)   gamma = trap dt   beta = (1 - trap) dt alpha
//   S := alpha S + sum over r of (gamma x xproj_r) b_r^T + (beta X xproj_r) K_r^T
//   y_r = (S c_r + D x xproj_r) silu(z zproj_r)          of the S that is not rounded
//   out = sum over r of y_r outproj_r; without outproj y itself
//   K := b_t, X := x_t
//
// S [value, state]: one per slot and head. P head dimension (value), N state dimension (state), R
// ranks, H heads, G groups (head h reads B and C of group h / (H / G)), F angles of a head
// (frequency). SISO is R = 1; projections that are absent are ones.
//
//   name                  shape                   default   meaning
//   x                     [batch, time, H, P]     required
//   A, dt, trap           [batch, time, H]        required  A itself, < 0; dt > 0, after softplus;
//                                                           trap in [0, 1], no logit
//   B, C                  [batch, time, R, G, N]  required  rotated; with theta they are not
//   D                     [H]                     0         skip connection, of x xproj
//   xproj                 [R, H, P]               1         up-projection of x and X
//   outproj               [R, H, P]               none      down-projection
//   z                     [batch, time, H, P]     no gate   with zproj and outproj only
//   zproj                 [R, H, P]               no gate
//   theta                 [batch, time, H, F]     none      gives the step its prologue
//   B_bias, C_bias        [R, H, N]               0         of the prologue
//   B_norm, C_norm        [N]                     no norm   weights of RMSNorm, both or none
//   index tensors                                           reference/core/lane.hpp
//   state                 [slot, H, P, N]         required  in place
//   k_state               [slot, R, H, N]         required  in place: K, of the type of B
//   x_state               [slot, H, P]            required  in place: X, of the type of x
//   angle_state           [slot, H, F]            none      in place: phi in radians; with theta
//   state_out             [sequence, H, P, N]     in place  S of lane n instead of its slot
//   intermediate_states   [row, steps, H, P, N]   none      written: S after token t
//   out                   [batch, time, H, P]               written, with outproj
//   rank_out              [batch, time, R, H, P]            written, without outproj
//
// Rotation. Pairs (u, w) of the state axis become (u cos phi - w sin phi, u sin phi + w cos phi);
// pair j is (2 j, 2 j + 1) where it is pairwise and (j, N / 2 + j) where it is halved, for j < F <=
// N / 2; the other components stay. B and C of all ranks have the same angles. A pool holds states
// of one layout (Outputs::rotation), and a call that rotates otherwise is refused. K keeps the
// rotation of its own time.
//
// RMSNorm: u / sqrt(mean of u^2 over N + 1e-5) times the weight.
//
// Storage. S, K, X and phi of a lane are in the arithmetic of the call between its tokens, and
// rounded where they are stored (reference/core/encoding.hpp; S may have fp64, fp32, bf16 or fp16):
// after the last token in the slot, with several columns of dst_state_batch_indices after token t
// in column t, S after every token in intermediate_states. With Carry::storage they are rounded to
// what stores them after every token: a call then has the bits of as many calls of one token.
// Stochastic rounding of the state after token t has the seed rounding.seed + t, and draws by the
// slot that was read.
//
// K and X are stored only with update_kv_state: without the prologue the bits of B and x of the
// last token are copied, NaN payloads and -0 too; with it K is rounded once. Without
// update_kv_state they stay what they are for later calls, and the caller scatters them.
// update_state = false writes no pool at all.
//
// Replay. The tokens of a call that did not write its pools are kept by the caller; a call with the
// same tokens and replayed_tokens = the number that was accepted advances the pools by so many. out
// is +0 behind them.
//
// Padding, duplicates, slots: reference/core/lane.hpp. out of a padded lane is +0.
//
// Errors: validate() throws std::invalid_argument naming the tensor and what is accepted. Refused
// like the CUDA step of state-spaces/mamba: z without outproj; state_out with indices; with tile_d,
// the rows of a block of a kernel, whatever that kernel would get wrong.
// Source: state-spaces/mamba, Mamba-3 (mamba3_step_fn, its rotary step), with indices into pools;
// the angle in a pool, the fused prologue, several tokens, destinations and replay are ours.
#pragma once

#include <array>
#include <optional>
#include <stdexcept>
#include <string>

#include "reference/core/encoding.hpp"
#include "reference/core/lane.hpp"
#include "reference/core/tensor_list.hpp"
#include "reference/core/view.hpp"

namespace groundstate::mamba3_step {

// Of the angles of a head.
struct Frequency {
  Index index;
  static constexpr std::string_view name = "frequency", letter = "f";
};

// Which storage types a set of tensors has. Angles are fp32.
template <class Activation_, class Parameter_, class State_, class Angle_, class Index_>
struct Elements {
  using Activation = Activation_;
  using Parameter = Parameter_;
  using State = State_;
  using Angle = Angle_;
  using Index = Index_;
};
using AnyElements = Elements<Any, Any, Any, Any, Any>;

enum class Rotation { pairwise, halved };
constexpr const char* name_of(Rotation rotation) {
  return rotation == Rotation::pairwise ? "pairwise" : "halved";
}
// The two components of N that angle f turns.
struct ComponentPair {
  Index first, second;
};
constexpr ComponentPair pair_of(Rotation rotation, Index f, Index states) {
  return rotation == Rotation::pairwise ? ComponentPair{2 * f, 2 * f + 1}
                                        : ComponentPair{f, states / 2 + f};
}
enum class Carry { arithmetic, storage };

inline constexpr double norm_epsilon = 1e-5;
template <class Scalar>
inline constexpr Scalar pi = static_cast<Scalar>(3.141592653589793238462643383279502884L);

struct Options : LaneRules {
  bool update_kv_state = false;
  Carry carry = Carry::arithmetic;
  Rotation rotation = Rotation::pairwise;             // of B and C, by the prologue or before
  bool wrap_angle = true;                             // phi is reduced to [0, 2 pi]
  std::optional<StochasticRounding> stochastic = {};  // of S; absent: to nearest
  std::optional<Index> tile_d = {};                   // rows of P that a block of a kernel has
};

// How the state after token t of a call is rounded.
constexpr std::optional<StochasticRounding> rounding_after(const Options& options, Index t) {
  if (!options.stochastic) return {};
  return StochasticRounding{options.stochastic->seed + t, options.stochastic->rounds};
}

template <Space space, class E>
struct Inputs {
  View<space, const typename E::Activation, Batch, Time, Head, Value> x;
  View<space, const typename E::Parameter, Batch, Time, Head> A, dt, trap;
  View<space, const typename E::Activation, Batch, Time, Rank, Group, State> B, C;
  View<space, const typename E::Parameter, Head> D;
  View<space, const typename E::Parameter, Rank, Head, Value> xproj, outproj;
  View<space, const typename E::Activation, Batch, Time, Head, Value> z;
  View<space, const typename E::Parameter, Rank, Head, Value> zproj;
  View<space, const typename E::Parameter, Batch, Time, Head, Frequency> theta;
  View<space, const typename E::Parameter, Rank, Head, State> B_bias, C_bias;
  View<space, const typename E::Parameter, State> B_norm, C_norm;
  LaneIndices<space, typename E::Index> lanes;
};

template <Space space, class E>
struct Outputs {
  View<space, typename E::Activation, Batch, Time, Head, Value> out;
  View<space, typename E::Activation, Batch, Time, Rank, Head, Value> rank_out;
  View<space, typename E::State, Slot, Head, Value, State> state;
  View<space, typename E::Activation, Slot, Rank, Head, State> k_state;
  View<space, typename E::Activation, Slot, Head, Value> x_state;
  View<space, typename E::Angle, Slot, Head, Frequency> angle_state;
  View<space, typename E::State, Sequence, Head, Value, State> state_out;
  View<space, typename E::State, Slot, Time, Head, Value, State> intermediate;
  Rotation rotation = Rotation::pairwise;  // in which the states of the pools are
};

// The one list of tensors: visit(name, view, class of element type, presence). Those of
// in_place_tensors() are read and written, the others of output_tensors() written only.
template <Space space, class E, class Visit>
void input_tensors(Inputs<space, E>& x, Visit&& visit) {
  visit("x", x.x, ElementClass::activation, Presence::required);
  visit("A", x.A, ElementClass::gate, Presence::required);
  visit("dt", x.dt, ElementClass::gate, Presence::required);
  visit("trap", x.trap, ElementClass::gate, Presence::required);
  visit("B", x.B, ElementClass::activation, Presence::required);
  visit("C", x.C, ElementClass::activation, Presence::required);
  visit("D", x.D, ElementClass::gate, Presence::optional);
  visit("xproj", x.xproj, ElementClass::gate, Presence::optional);
  visit("outproj", x.outproj, ElementClass::gate, Presence::optional);
  visit("z", x.z, ElementClass::activation, Presence::optional);
  visit("zproj", x.zproj, ElementClass::gate, Presence::optional);
  visit("theta", x.theta, ElementClass::gate, Presence::optional);
  visit("B_bias", x.B_bias, ElementClass::gate, Presence::optional);
  visit("C_bias", x.C_bias, ElementClass::gate, Presence::optional);
  visit("B_norm", x.B_norm, ElementClass::gate, Presence::optional);
  visit("C_norm", x.C_norm, ElementClass::gate, Presence::optional);
  index_tensors(x.lanes, visit);
}
template <Space space, class E, class Visit>
void in_place_tensors(Outputs<space, E>& y, Visit&& visit) {
  visit("state", y.state, ElementClass::state, Presence::required);
  visit("k_state", y.k_state, ElementClass::activation, Presence::required);
  visit("x_state", y.x_state, ElementClass::activation, Presence::required);
  visit("angle_state", y.angle_state, ElementClass::scale, Presence::optional);
}
template <Space space, class E, class Visit>
void output_tensors(Outputs<space, E>& y, Visit&& visit) {
  visit("out", y.out, ElementClass::activation, Presence::optional);
  visit("rank_out", y.rank_out, ElementClass::activation, Presence::optional);
  in_place_tensors(y, visit);
  visit("state_out", y.state_out, ElementClass::state, Presence::optional);
  visit("intermediate_states", y.intermediate, ElementClass::state, Presence::optional);
}

// ---- sizes

struct Shape {
  Index batch, time, sequences, heads, groups, ranks, value, state, frequencies, slots;
};

template <Space space, class E>
Shape shape(const Inputs<space, E>& x, const Outputs<space, E>& y) {
  const auto [batch, time, heads, value] = x.x.extents();
  return {batch,
          time,
          sequences_of(x.lanes, batch),
          heads,
          x.B.template extent<Group>(),
          x.B.template extent<Rank>(),
          value,
          x.B.template extent<State>(),
          x.theta ? x.theta.template extent<Frequency>() : 0,
          y.state.template extent<Slot>()};
}

template <Space space, class E>
LaneSizes lane_sizes(const Shape& n, const Outputs<space, E>& y) {
  const bool has = static_cast<bool>(y.intermediate);
  return {n.batch,
          n.time,
          n.sequences,
          n.slots,
          has ? y.intermediate.template extent<Slot>() : 0,
          has ? y.intermediate.template extent<Time>() : 0,
          has};
}

inline constexpr const char* operator_name = "mamba3_step";
inline void require(bool good, const std::string& message) {
  if (!good) throw std::invalid_argument(std::string(operator_name) + ": " + message);
}

// What the CUDA step of another library would get wrong: its rows of P per block must divide P, and
// where it writes k_state be all of P, as another block may read it still.
inline void validate_tile(Index tile_d, Index value, bool update_kv_state) {
  const std::string got = "tile_d is " + std::to_string(tile_d);
  require(tile_d > 0 && value % tile_d == 0,
          got + "; it must divide P = " + std::to_string(value) +
              ", or the last block reads and writes rows of the next head");
  require(!update_kv_state || tile_d == value,
          got + "; update_kv_state needs a single D-tile, tile_d = P = " + std::to_string(value) +
              ", or a block writes k_state while another one reads it");
}

// Shapes and types.
template <Space space>
void validate(const Inputs<space, AnyElements>& x, const Outputs<space, AnyElements>& y,
              const Options& options) {
  require(x.x && x.A && x.dt && x.trap && x.B && x.C, "x, A, dt, trap, B and C are required");
  require(y.state && y.k_state && y.x_state, "state, k_state and x_state are required");
  const Shape n = shape(x, y);
  const std::string of_x = " of x";
  require(n.groups > 0 && n.heads % n.groups == 0, "the groups of B must divide the heads of x, " +
                                                       std::to_string(n.heads) + "; got " +
                                                       std::to_string(n.groups));
  require(n.ranks > 0, "B needs at least one rank");
  const auto require_shape = [](const auto& view, const auto& extents, const std::string& what) {
    require(!view || view.extents() == extents, what);
  };
  const std::array tokens{n.batch, n.time, n.heads};
  require_shape(x.A, tokens, "A must be [batch, time, head]" + of_x);
  require_shape(x.dt, tokens, "dt must be [batch, time, head]" + of_x);
  require_shape(x.trap, tokens, "trap must be [batch, time, head]" + of_x);
  require_shape(x.B, std::array{n.batch, n.time, n.ranks, n.groups, n.state},
                "B must be [batch, time, rank, group, state], batch and time as those" + of_x);
  require_shape(x.C, x.B.extents(), "C must have the shape of B");
  require_shape(x.D, std::array{n.heads}, "D must be [head]" + of_x);
  const std::array projection{n.ranks, n.heads, n.value};
  require_shape(x.xproj, projection, "xproj must be [rank, head, value] of B and x");
  require_shape(x.outproj, projection, "outproj must be [rank, head, value] of B and x");
  require_shape(x.zproj, projection, "zproj must be [rank, head, value] of B and x");
  require_shape(x.z, x.x.extents(), "z must have the shape" + of_x);
  require(static_cast<bool>(x.z) == static_cast<bool>(x.zproj),
          "z and zproj must be given together");
  require(!x.z || x.outproj, "z needs outproj: outputs that stay apart by rank have no gate");
  require(static_cast<bool>(y.out) == static_cast<bool>(x.outproj),
          "out must be given exactly where outproj is");
  require(static_cast<bool>(y.rank_out) != static_cast<bool>(x.outproj),
          "rank_out must be given exactly where outproj is not");
  require_shape(y.out, x.x.extents(), "out must have the shape" + of_x);
  require_shape(y.rank_out, std::array{n.batch, n.time, n.ranks, n.heads, n.value},
                "rank_out must be [batch, time, rank, head, value] of x and B");

  require(static_cast<bool>(x.theta) == static_cast<bool>(y.angle_state),
          "theta and angle_state must be given together");
  require((!x.B_bias && !x.C_bias && !x.B_norm && !x.C_norm) || x.theta,
          "biases and norm weights belong to the prologue, which needs theta");
  require(static_cast<bool>(x.B_norm) == static_cast<bool>(x.C_norm),
          "B_norm and C_norm must be given together");
  if (x.theta) {
    require_shape(x.theta, std::array{n.batch, n.time, n.heads, n.frequencies},
                  "theta must be [batch, time, head, frequency], the first three as those" + of_x);
    require(n.state % 2 == 0, "a rotation needs an even N, got " + std::to_string(n.state));
    require(n.frequencies <= n.state / 2,
            "theta has " + std::to_string(n.frequencies) +
                " frequencies; accepted is 0 to N / 2 = " + std::to_string(n.state / 2));
    require_shape(y.angle_state, std::array{n.slots, n.heads, n.frequencies},
                  "angle_state must be [slot, head, frequency] of state and theta");
  }
  require_shape(x.B_bias, std::array{n.ranks, n.heads, n.state},
                "B_bias must be [rank, head, state] of x and B");
  require_shape(x.C_bias, std::array{n.ranks, n.heads, n.state},
                "C_bias must be [rank, head, state] of x and B");
  require_shape(x.B_norm, std::array{n.state}, "B_norm must be [state] of B");
  require_shape(x.C_norm, std::array{n.state}, "C_norm must be [state] of B");

  require_shape(y.state, std::array{n.slots, n.heads, n.value, n.state},
                "state must be [slot, head, value, state] of x and B");
  require_shape(y.k_state, std::array{n.slots, n.ranks, n.heads, n.state},
                "k_state must be [slot, rank, head, state] of state and B");
  require_shape(y.x_state, std::array{n.slots, n.heads, n.value},
                "x_state must be [slot, head, value] of state and x");
  require(y.rotation == options.rotation,
          std::string("the states of the pools are rotated ") + name_of(y.rotation) +
              ", B and C of this call " + name_of(options.rotation) + "; they must be the same");
  const auto require_type = [](const auto& pool, const auto& source, const std::string& what) {
    require(pool.type() == source.type() || pool.type() == ElementType::float64, what);
  };
  require_type(y.k_state, x.B, "k_state must have the type of B, or fp64");
  require_type(y.x_state, x.x, "x_state must have the type of x, or fp64");
  require(!y.angle_state || y.angle_state.type() == ElementType::float32 ||
              y.angle_state.type() == ElementType::float64,
          "angle_state must be fp32 or fp64");
  const ElementType type = y.state.type();
  const bool wide = type == ElementType::float32 || type == ElementType::float64;
  require(wide || type == ElementType::bfloat16 || type == ElementType::float16,
          "state must be fp64, fp32, bf16 or fp16, got " + std::string(name_of(type)));
  require(!options.stochastic || !wide, "stochastic rounding needs a state of 16 bits");
  require(!options.stochastic || options.stochastic->rounds > 0, "philox rounds must be 1 or more");
  if (options.tile_d) validate_tile(*options.tile_d, n.value, options.update_kv_state);

  validate_index_shapes(operator_name, x.lanes, lane_sizes(n, y));
  if (y.state_out) {
    require(!x.lanes.source && !x.lanes.destination,
            "state_out is for the dense form: with state_batch_indices or dst_state_batch_indices "
            "the state is updated in place, in slots");
    require(!options.update_kv_state && options.update_state && !options.sequential,
            "state_out leaves the pools as they are: neither update_kv_state nor lanes one after "
            "the other are accepted, and update_state is");
    require(!x.theta, "state_out is for the step without a prologue, which advances angle_state");
    require_shape(y.state_out, std::array{n.sequences, n.heads, n.value, n.state},
                  "state_out must be [sequence, head, value, state] of x and B");
    require(y.state_out.type() == type, "state_out must have the type of state");
  }
  if (y.intermediate) {
    require(y.intermediate.type() == type, "intermediate_states must have the type of state");
    const auto extents = y.intermediate.extents();
    require(extents[2] == n.heads && extents[3] == n.value && extents[4] == n.state,
            "intermediate_states must be [row, step, head, value, state] of x and B");
  }
}

// Contents of the index tensors: slots outside of the pools, slots of two lanes, offsets that
// decrease.
inline void validate_indices(const Inputs<Space::host, AnyElements>& x,
                             const Outputs<Space::host, AnyElements>& y, const Options& options) {
  validate_lanes(operator_name, x.lanes, options, lane_sizes(shape(x, y), y));
}

}  // namespace groundstate::mamba3_step
