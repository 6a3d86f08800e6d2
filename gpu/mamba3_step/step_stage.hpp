// What gpu.step has in a stage of its ring beside the state: rows of tensors of run-time type, as
// they are in memory, and what is computed from them.
//
// A part is a tensor of which one lane and head need some rows: rows of its tokens, of a slot, or
// the same ones for all lanes. Rows that are adjacent bytes aligned to 16 come by the copy engine,
// others by loads; in the stage both are the same.
#pragma once

#include <array>
#include <cstdint>

#include "gpu/mamba3_step/device_tensors.hpp"

namespace groundstate::gpu::mamba3_step {

struct Part {
  enum class Of { tokens, slot, weights };
  const void* data = nullptr;
  ElementType type = ElementType::float32;
  Of of = Of::weights;
  bool by_engine = false, of_group = false;
  int rows = 0, columns = 0;                                // of a token, or of all
  Index lead = 0, time = 0, head = 0, row = 0, column = 0;  // strides; lead: of batch or slot
  unsigned place = 0, pitch = 0;                            // in the stage, in bytes

  constexpr bool is_of_tokens() const { return of == Of::tokens; }
  constexpr unsigned row_bytes() const {
    return static_cast<unsigned>(columns) * static_cast<unsigned>(size_of(type));
  }
};

enum PartName {
  part_x,
  part_z,
  part_B,
  part_C,
  part_theta,  // of tokens
  part_k_state,
  part_x_state,
  part_angle,  // of the slot
  part_xproj,
  part_outproj,
  part_zproj,  // weights
  part_B_bias,
  part_C_bias,
  part_B_norm,
  part_C_norm,
  part_count
};

// Floats that are computed, in bytes from the beginning of the tokens' part of a stage.
struct StepStage {
  std::array<Part, part_count> parts{};
  unsigned numbers = 0;      // [token]: A, dt, trap; then D
  unsigned destination = 0;  // [token]: a slot, or nowhere
  unsigned now = 0;          // [token][rank][row]: x gamma xproj; then the sums over n
  unsigned before = 0;       // [token][rank][row]: X beta xproj
  unsigned b = 0, c = 0;     // [token][rank][column]: behind the prologue
  unsigned turn = 0;         // [token][frequency]: sine, cosine
  unsigned inverse = 0;      // [token][B or C][rank]: of the norm
  unsigned engine_bytes = 0, engine_bytes_a_token = 0;
  int tokens = 0;     // at most, of a lane
  int row_pitch = 0;  // rows of P, rounded up
  Index bytes = 0;    // of the tokens' part
};

namespace detail {

template <class View>
constexpr bool has_adjacent_rows(const View& x, const Part& part) {
  const auto size = static_cast<Index>(size_of(x.type()));
  bool good = part.column == 1 && reinterpret_cast<std::size_t>(x.data()) % 16 == 0;
  for (const Index step : {Index{part.columns}, part.lead, part.time, part.head, part.row})
    good = good && step * size % 16 == 0;
  return good;
}

}  // namespace detail

// Of a call that validate() accepts. `header`: bytes that the kernel has before all parts.
template <Space space>
StepStage step_stage(const Inputs<space, AnyElements>& x, const Outputs<space, AnyElements>& y,
                     Index header) {
  const Shape n = shape(x, y);
  StepStage stage;
  Index used = (header + 15) / 16 * 16;
  const auto take = [&](Index bytes) {
    const Index place = used;
    used += (bytes + 15) / 16 * 16;
    return static_cast<unsigned>(place);
  };
  stage.tokens = static_cast<int>(n.time);
  const auto add = [&](PartName name, const auto& view, Part part) {
    if (!view || part.rows * part.columns == 0) return;
    part.data = view.data();
    part.type = view.type();
    part.by_engine = detail::has_adjacent_rows(view, part);
    part.pitch = (part.row_bytes() + 15) / 16 * 16;
    part.place = take((part.is_of_tokens() ? n.time : 1) * part.rows * Index{part.pitch});
    const unsigned bytes = part.by_engine ? static_cast<unsigned>(part.rows) * part.row_bytes() : 0;
    (part.is_of_tokens() ? stage.engine_bytes_a_token : stage.engine_bytes) += bytes;
    stage.parts[name] = part;
  };
  const int P = static_cast<int>(n.value), N = static_cast<int>(n.state),
            R = static_cast<int>(n.ranks), F = static_cast<int>(n.frequencies);
  const auto of_rows = [&](const auto& v) {
    return Part{.of = Part::Of::tokens,
                .rows = 1,
                .columns = P,
                .lead = v.template stride<Batch>(),
                .time = v.template stride<Time>(),
                .head = v.template stride<Head>(),
                .column = v.template stride<Value>()};
  };
  const auto of_keys = [&](const auto& v) {
    return Part{.of = Part::Of::tokens,
                .of_group = true,
                .rows = R,
                .columns = N,
                .lead = v.template stride<Batch>(),
                .time = v.template stride<Time>(),
                .head = v.template stride<Group>(),
                .row = v.template stride<Rank>(),
                .column = v.template stride<State>()};
  };
  const auto of_weights = [&]<class Channel>(const auto& v, int columns, Channel) {
    return Part{.rows = R,
                .columns = columns,
                .head = v.template stride<Head>(),
                .row = v.template stride<Rank>(),
                .column = v.template stride<Channel>()};
  };
  const auto of_norm = [&](const auto& v) {
    return Part{.rows = 1, .columns = N, .column = v.template stride<State>()};
  };
  add(part_x, x.x, of_rows(x.x));
  add(part_z, x.z, of_rows(x.z));
  add(part_B, x.B, of_keys(x.B));
  add(part_C, x.C, of_keys(x.C));
  add(part_theta, x.theta,
      {.of = Part::Of::tokens,
       .rows = 1,
       .columns = F,
       .lead = x.theta.template stride<Batch>(),
       .time = x.theta.template stride<Time>(),
       .head = x.theta.template stride<Head>(),
       .column = x.theta.template stride<Frequency>()});
  add(part_k_state, y.k_state,
      {.of = Part::Of::slot,
       .rows = R,
       .columns = N,
       .lead = y.k_state.template stride<Slot>(),
       .head = y.k_state.template stride<Head>(),
       .row = y.k_state.template stride<Rank>(),
       .column = y.k_state.template stride<State>()});
  add(part_x_state, y.x_state,
      {.of = Part::Of::slot,
       .rows = 1,
       .columns = P,
       .lead = y.x_state.template stride<Slot>(),
       .head = y.x_state.template stride<Head>(),
       .column = y.x_state.template stride<Value>()});
  add(part_angle, y.angle_state,
      {.of = Part::Of::slot,
       .rows = 1,
       .columns = F,
       .lead = y.angle_state.template stride<Slot>(),
       .head = y.angle_state.template stride<Head>(),
       .column = y.angle_state.template stride<Frequency>()});
  add(part_xproj, x.xproj, of_weights(x.xproj, P, Value{}));
  add(part_outproj, x.outproj, of_weights(x.outproj, P, Value{}));
  add(part_zproj, x.zproj, of_weights(x.zproj, P, Value{}));
  add(part_B_bias, x.B_bias, of_weights(x.B_bias, N, State{}));
  add(part_C_bias, x.C_bias, of_weights(x.C_bias, N, State{}));
  add(part_B_norm, x.B_norm, of_norm(x.B_norm));
  add(part_C_norm, x.C_norm, of_norm(x.C_norm));

  constexpr auto size = static_cast<Index>(sizeof(float));
  stage.row_pitch = (P + 7) / 8 * 8;
  stage.numbers = take((3 * n.time + 1) * size);
  stage.destination = take(n.time * static_cast<Index>(sizeof(Index)));
  stage.now = take(n.time * n.ranks * stage.row_pitch * size);
  stage.before = take(n.time * n.ranks * stage.row_pitch * size);
  if (x.theta) {
    stage.b = take(n.time * n.ranks * n.state * size);
    stage.c = take(n.time * n.ranks * n.state * size);
    stage.turn = take(n.time * n.frequencies * 2 * size);
    stage.inverse = take(n.time * 2 * n.ranks * size);
  }
  stage.bytes = used;
  return stage;
}

}  // namespace groundstate::gpu::mamba3_step
