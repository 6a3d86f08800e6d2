// The prologue as a step of its own, and the step on what it wrote: two passes over B and C.
//
// Rounding points: b and c, as they are stored between the two; the angle, where it is stored.
// Where B and C are fp32 in fp32 arithmetic nothing is lost, and the bits are those of the fused
// form. Source: state-spaces/mamba, the rotary step of Mamba-3; here the angle has a pool.
#pragma once

#include <vector>

#include "reference/mamba3_step/recurrent.hpp"

namespace groundstate::mamba3_step {

// B and C behind the prologue, one group a head, as inputs of a step.
struct RotatedKeys {
  HostView<Any, Batch, Time, Rank, Group, State> B, C;  // [batch, time, rank, head, state]
};

// One problem behind its prologue: a problem without one, and the angles after each token.
template <class Scalar>
struct RotatedProblem {
  Problem<Scalar> step;
  std::vector<Vector<Scalar>> angles;
};
template <class Scalar>
RotatedProblem<Scalar> behind_prologue(const Problem<Scalar>& p, const Discrete<Scalar>& r) {
  RotatedProblem<Scalar> result{p, {}};
  result.step.prologue = false;
  const Index R = p.ranks();
  Vector<Scalar> angle = p.before.angle;
  for (Index t = 0; t < p.time(); ++t) {
    advance_angle(p, r.advance.row(t).data(), angle);
    const Turn<Scalar> turn = turn_by(angle);
    Keys<Scalar> keys = keys_of(p, t);
    rotate(keys.b, p.rotation, turn);
    rotate(keys.c, p.rotation, turn);
    result.step.B.middleRows(t * R, R) = keys.b;
    result.step.C.middleRows(t * R, R) = keys.c;
    result.angles.push_back(angle);
  }
  return result;
}

// Advances angle_state by the tokens of every lane, writes b and c of each. Rows of padded lanes
// and of tokens that are not processed are not written, nor are the other pools.
template <class Recipe>
void prologue(const HostInputs& x, const Options& options, const HostOutputs& y,
              const RotatedKeys& keys) {
  using Scalar = ScalarOf<Recipe>;
  validate(x, y, options);
  validate_indices(x, y, options);
  require(static_cast<bool>(x.theta), "the prologue needs theta");
  const Shape n = shape(x, y);
  const std::array extents{n.batch, n.time, n.ranks, n.heads, n.state};
  require(keys.B.extents() == extents && keys.C.extents() == extents,
          "b and c must be [batch, time, rank, head, state] of x and B");
  for_each_lane_and_head(n, options, [&](Index sequence, Index head) {
    const Lane at = lane(x.lanes, options, n.time, sequence, load_index);
    if (at.padding || at.length == 0) return;
    const auto p = gather<Scalar>(x, y, options, at, head);
    const RotatedProblem<Scalar> rotated = behind_prologue(p, discretise(p));
    for (Index t = 0; t < at.length; ++t) {
      for (Index k = 0; k < n.ranks; ++k)
        for (Index i = 0; i < n.state; ++i) {
          const auto store = [&](const auto& to, const Matrix<Scalar>& from) {
            to.store(static_cast<double>(from(t * n.ranks + k, i)), Batch{at.batch},
                     Time{at.begin + t}, Rank{k}, Group{head}, State{i});
          };
          store(keys.B, rotated.step.B);
          store(keys.C, rotated.step.C);
        }
      const Index slot = destination(x.lanes, options, sequence, at, t, load_index);
      if (slot != nowhere) store_angle(y, slot, head, rotated.angles[static_cast<std::size_t>(t)]);
    }
  });
}

// The inputs of a step without a prologue.
inline HostInputs behind_prologue(HostInputs x, const RotatedKeys& keys) {
  x.B = keys.B;
  x.C = keys.C;
  x.theta = {};
  x.B_bias = x.C_bias = {};
  x.B_norm = x.C_norm = {};
  return x;
}

// The whole call; b and c lie in memory of the type of k_state in between.
template <class Recipe>
void separate(const HostInputs& x, const Options& options, const HostOutputs& y) {
  const Shape n = shape(x, y);
  const ElementType type = y.k_state.type();
  const std::array extents{n.batch, n.time, n.ranks, n.heads, n.state};
  const auto elements = static_cast<std::size_t>(n.batch * n.time * n.ranks * n.heads * n.state);
  std::vector<std::byte> b(elements * size_of(type)), c(b.size());
  const RotatedKeys keys{{type, b.data(), extents, row_major_strides(extents)},
                         {type, c.data(), extents, row_major_strides(extents)}};
  prologue<Recipe>(x, options, y, keys);
  HostOutputs step = y;
  step.angle_state = {};
  recurrent<Recipe>(behind_prologue(x, keys), options, step);
}

}  // namespace groundstate::mamba3_step
