// simple_gla backward where the result is known, its forms against the sequential adjoint, and what
// is special in the gradient of the gates: it is 0 at a gate that forgets, and its global form is
// noisy.
#include <gtest/gtest.h>

#include "tests/reference/simple_gla_problems.hpp"

namespace groundstate::simple_gla {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// ---- the worked example: K = V = 1, three tokens of ones, each halves the state before it

BackwardProblem<double> halving() {
  const Matrix<double> ones = Matrix<double>::Ones(3, 1), zero = Matrix<double>::Zero(1, 1);
  return {{ones, ones, ones, Vector<double>::Constant(3, -std::log(2.0)), zero, 1.0}, ones, zero};
}

TEST(SimpleGlaBackward, WorkedExampleComesOutExactly) {
  ASSERT_EQ(std::exp(-std::log(2.0)), 0.5);
  ASSERT_EQ(std::exp(-2 * std::log(2.0)), 0.25);
  const Matrix<double> rising{{1}, {1.5}, {1.75}}, falling{{1.75}, {1.5}, {1}};
  const Gradients<double> expected{
      rising, falling, falling, Vector<double>{{0, 0.75, 0.75}}, 1.5, Matrix<double>{{0.875}}};
  auto forms = every_form<Exact>(2);
  for (const Index chunk : {1, 3, 64})
    for (auto& form : every_form<Exact>(chunk)) forms.push_back(std::move(form));
  for (const auto& [name, compute] : forms) {
    const Gradients<double> r = compute(halving());
    EXPECT_EQ(differing(r, expected), "") << name;
  }
}

TEST(SimpleGlaBackward, WorkedExampleHasTheIntermediatesOfItsChunks) {
  const BackwardProblem<double> p = halving();
  BoundaryStates<double> states;
  chunked_backward<Exact>(p, {2}, states);
  ASSERT_EQ(states.h.size(), 2u);
  ASSERT_EQ(states.dh.size(), 2u);
  EXPECT_EQ(states.h[0](0, 0), 0);
  EXPECT_EQ(states.h[1](0, 0), 1.5);
  EXPECT_EQ(states.dh[0](0, 0), 0.5);
  EXPECT_EQ(states.dh[1](0, 0), 0);

  const BackwardChunk<Exact> first(p, 0, 2), second(p, 2, 1);
  const auto of_first = query_key_gradients<Exact>(first, states.h[0], states.dh[0]);
  EXPECT_EQ(of_first.raw, (Vector<double>{{-0.75, 0}}));
  EXPECT_EQ(of_first.bracket, 0.75);
  const auto of_second = query_key_gradients<Exact>(second, states.h[1], states.dh[1]);
  EXPECT_EQ(of_second.raw, (Vector<double>{{0.75}}));
  EXPECT_EQ(of_second.bracket, 0);
  EXPECT_EQ(value_gradient<Exact>(first, states.dh[0]), (Matrix<double>{{1.75}, {1.5}}));

  // dk', the part of dk that comes from later chunks, is all of it without do.
  BackwardChunk<Exact> silent = first;
  silent.d_o.setZero();
  EXPECT_EQ(query_key_gradients<Exact>(silent, states.h[0], states.dh[0]).dk,
            (Matrix<double>{{0.25}, {0.5}}));
}

// ---- closed forms

TEST(SimpleGlaBackward, EveryFormIsTheAdjointExactlyInIntegers) {
  for (const Index time : {0, 1, 2, 15, 16, 17, 53}) {
    const BackwardProblem<double> p = integer_problem(time, 5, 11);
    const Gradients<double> expected = backward<Exact>(p);
    for (const Index chunk : {1, 2, 16})
      for (const auto& [name, compute] : every_form<Exact>(chunk)) {
        Gradients<double> r = compute(p);
        for (std::size_t i = 0; i < 6; ++i)
          EXPECT_EQ(tensors(r)[i].elements, tensors(expected)[i].elements)
              << tensors(r)[i].name << " T=" << time << " " << name;
      }
  }
}

TEST(SimpleGlaBackward, AnOpenGateSumsOuterProducts) {
  BackwardProblem<double> p = integer_problem(37, 5, 11);
  p.log_decay.setZero();
  const Gradients<double> r = backward<Exact>(p);
  Matrix<double> state = p.h0, gradient = p.dht;
  for (Index t = 0; t < p.time(); ++t) {
    state += p.k.row(t).transpose() * p.v.row(t);
    EXPECT_EQ(r.dq.row(t), p.scale * p.d_o.row(t) * state.transpose()) << t;
  }
  for (Index t = p.time() - 1; t >= 0; --t) {
    gradient += p.scale * p.q.row(t).transpose() * p.d_o.row(t);
    EXPECT_EQ(r.dk.row(t), p.v.row(t) * gradient.transpose()) << t;
    EXPECT_EQ(r.dv.row(t), p.k.row(t) * gradient) << t;
    state -= p.k.row(t).transpose() * p.v.row(t);
    EXPECT_EQ(r.dg[t], state.cwiseProduct(gradient).sum()) << t;
  }
  EXPECT_EQ(r.dh0, gradient);
  EXPECT_EQ(r.dg_gamma, r.dg.sum());
}

TEST(SimpleGlaBackward, AClosedGateLeavesEachTokenAlone) {
  BackwardProblem<double> p = integer_problem(37, 5, 11);
  p.log_decay.setConstant(-infinity);
  p.dht.setZero();
  for (const auto& [name, compute] : every_form<Exact>(16)) {
    const Gradients<double> r = compute(p);
    for (Index t = 0; t < p.time(); ++t) {
      const double score = p.scale * p.q.row(t).dot(p.k.row(t)),
                   gradient = p.scale * p.d_o.row(t).dot(p.v.row(t));
      EXPECT_EQ(r.dq.row(t), gradient * p.k.row(t)) << name << " " << t;
      EXPECT_EQ(r.dk.row(t), gradient * p.q.row(t)) << name << " " << t;
      EXPECT_EQ(r.dv.row(t), score * p.d_o.row(t)) << name << " " << t;
    }
    EXPECT_TRUE(r.dg.isZero(0) && r.dg_gamma == 0 && r.dh0.isZero(0)) << name;
  }
}

TEST(SimpleGlaBackward, WithoutTokensTheGradientOfTheStatePasses) {
  const BackwardProblem<double> p = random_problem(0, 5, 11);
  for (const auto& [name, compute] : every_form<Exact>(16)) {
    const Gradients<double> r = compute(p);
    EXPECT_EQ(r.dh0, p.dht) << name;
    EXPECT_EQ(r.dg_gamma, 0) << name;
    EXPECT_EQ(r.dq.rows() + r.dk.rows() + r.dv.rows() + r.dg.size(), 0) << name;
    EXPECT_EQ(r.dq.cols() + r.dk.cols() + r.dv.cols(), 5 + 5 + 11) << name;
  }
}

TEST(SimpleGlaBackward, ScaleMultipliesWhatComesFromTheOutput) {
  BackwardProblem<double> p = integer_problem(20, 5, 11);
  p.dht.setZero();
  BackwardProblem<double> scaled = p;
  scaled.scale = -2 * p.scale;
  for (const auto& [name, compute] : every_form<Exact>(16)) {
    const Gradients<double> once = compute(p), r = compute(scaled);
    for (std::size_t i = 0; i < 6; ++i)
      EXPECT_EQ(tensors(r)[i].elements, -2 * tensors(once)[i].elements)
          << tensors(r)[i].name << " " << name;
  }
}

// ---- the forms against the sequential adjoint

// The terms of which the chunk form makes each dg: |q . dq| + |k . dk| of the later tokens of the
// chunk and <S, dS> after it; of the global form with one chunk.
Vector<double> gate_terms(const BackwardProblem<double>& p, Index chunk) {
  const BackwardProblem<double> size = sizes(p);
  BoundaryStates<double> states;
  const Gradients<double> r = chunked_backward<Exact>(size, {chunk}, states);
  states.h.push_back(size.h0);
  chunk_states<Exact>(size, chunk, states.h.back());
  Vector<double> terms(p.time());
  for (Index t = p.time() - 1; t >= 0; --t) {
    const auto c = static_cast<std::size_t>(t / chunk);
    const bool last = t + 1 == p.time() || t % chunk == chunk - 1;
    terms[t] = (last ? inner_product<double>(states.h[c + 1], states.dh[c]) : terms[t + 1]) +
               size.q.row(t).dot(r.dq.row(t)) + size.k.row(t).dot(r.dk.row(t));
  }
  return terms;
}

TEST(SimpleGlaBackward, EveryFormAgreesWithTheSequentialAdjoint) {
  for (const Gates& regime : gates)
    for (const Index time : {1, 15, 16, 17, 63, 64, 65, 127, 300}) {
      const BackwardProblem<double> p = random_problem(time, 12, 9, regime);
      const Gradients<double> expected = backward<Exact>(p);
      ASSERT_TRUE(all_finite(expected)) << regime.name << " T=" << time;
      // One rounding for each factor or term in front of an element; growth by e^30 adds
      // another 30.
      const double relative = static_cast<double>(time + p.key() + p.value() + 30) * 0x1p-53;
      const Vector<double> to_the_end = gate_terms(p, time);
      for (const Index chunk : {16, 64, 128}) {
        const Vector<double> to_the_chunk_end = gate_terms(p, chunk);
        for (const auto& [name, compute] : every_form<Exact>(chunk)) {
          const auto where = [&, &form = name] {
            return form + ", " + regime.name + ", T=" + std::to_string(time);
          };
          const Gradients<double> r = compute(p);
          ASSERT_TRUE(all_finite(r)) << where();
          for (const std::size_t i : {0, 1, 2, 5}) {
            const auto own = tensors(r)[i], other = tensors(expected)[i];
            EXPECT_LE((own.elements - other.elements).norm(), relative * other.elements.norm())
                << own.name << " " << where();
          }
          const Vector<double>& terms = name == "global" ? to_the_end : to_the_chunk_end;
          // By the worst case up to `relative` times the terms; most of their sizes cancel.
          EXPECT_TRUE(((r.dg - expected.dg).array().abs() <= 1e-15 * terms.array()).all())
              << "dg " << where();
          EXPECT_LE(std::abs(r.dg_gamma - expected.dg_gamma), 1e-15 * terms.sum()) << where();
        }
      }
    }
}

// Over a group the terms are those of one chunk of its length.
TEST(SimpleGlaBackward, DgOverGroupsOfChunksAgreesWithTheSequentialAdjoint) {
  constexpr Index chunk = 16;
  for (const Gates& regime : gates)
    for (const Index time : {1, 16, 33, 65, 300}) {
      const BackwardProblem<double> p = random_problem(time, 12, 9, regime);
      const Gradients<double> expected = backward<Exact>(p);
      for (const Index group : {2, 3, 64}) {
        const BackwardForm form{chunk, StateStorage::accumulator, GateGradient::chunk, group};
        const Vector<double> terms = gate_terms(p, chunk * group);
        const Gradients<double> r = chunked_backward<Exact>(p, form);
        EXPECT_TRUE(((r.dg - expected.dg).array().abs() <= 1e-15 * terms.array()).all())
            << regime.name << ", T=" << time << ", groups of " << group;
        EXPECT_LE(std::abs(r.dg_gamma - expected.dg_gamma), 1e-15 * terms.sum());
      }
    }
}

// ---- gates that forget

// From just below the last log decay whose factor is not 0 downwards.
const std::array forgetting{-745.14, -745.2, -746.0, -1e4, -1e6, -infinity};

TEST(SimpleGlaBackward, DgIsExactlyZeroWhereTheFactorIs) {
  for (const double gate : forgetting)
    for (const Index at : {0, 3, 15, 16, 17, 36}) {
      BackwardProblem<double> p = random_problem(37, 5, 11);
      p.log_decay[at] = gate;
      ASSERT_EQ(std::exp(gate), 0);
      for (const auto& [name, compute] : every_form<Exact>(16))
        EXPECT_EQ(compute(p).dg[at], 0) << name << " " << gate << " at " << at;
      const BackwardProblem<float> narrow = as<float>(p);
      for (const auto& [name, compute] : every_form<TensorCore>(16))
        EXPECT_EQ(compute(narrow).dg[at], 0) << name << " " << gate << " at " << at;
    }
}

TEST(SimpleGlaBackward, DgIsExactlyZeroWhereTheFactorIsInSinglePrecision) {
  for (const float gate : {-103.98f, -104.0f, -105.0f}) {
    ASSERT_EQ(std::exp(gate), 0);
    BackwardProblem<float> p = as<float>(random_problem(37, 5, 11));
    p.log_decay[20] = gate;
    for (const auto& [name, compute] : every_form<Single>(16))
      EXPECT_EQ(compute(p).dg[20], 0) << name << " " << gate;
  }
}

// The sum that the chunk form takes elsewhere: 0 by calculus, and roundings of its terms.
TEST(SimpleGlaBackward, DgOfAForgettingGateWouldBeNoiseWithoutItsDefinition) {
  BackwardProblem<double> p = random_problem(16, 5, 11);
  p.log_decay[5] = -infinity;
  const BackwardChunk<Exact> chunk(p, 0, 16);
  const auto own = query_key_gradients<Exact>(chunk, p.h0, p.dht);
  const double sum = own.raw.tail(16 - 5).sum() + own.bracket;
  EXPECT_NE(sum, 0);
  EXPECT_LE(std::abs(sum), 1e-15 * gate_terms(p, 16)[5]);
}

TEST(SimpleGlaBackward, AGateThatIsNotANumberIsSeenInItsGradient) {
  for (const Index at : {0, 16, 36}) {
    BackwardProblem<double> p = random_problem(37, 5, 11);
    p.log_decay[at] = nan;
    for (const auto& [name, compute] : every_form<Exact>(16)) {
      const Gradients<double> r = compute(p);
      EXPECT_TRUE(std::isnan(r.dg[at]) && std::isnan(r.dg_gamma)) << name << " at " << at;
    }
  }
}

// ---- the noise of the global form

// Relative error of dg against the oracle on the same inputs, over several sequences.
template <class Recipe>
double gate_gradient_error(Index time, GateGradient form) {
  double error = 0, size = 0;
  for (std::uint64_t seed = 0; seed < (time < 1000 ? 64 : 8); ++seed) {
    const BackwardProblem<double> p =
        converted<double>(random_problem(time, 8, 8, gates_named("normal"), seed),
                          [](double x) { return round_to<Bfloat16Format>(x); });
    const Vector<double> expected = backward<Exact>(p).dg;
    const auto r =
        chunked_backward<Recipe>(as<ScalarOf<Recipe>>(p), {64, StateStorage::accumulator, form});
    error += (r.dg.template cast<double>() - expected).squaredNorm();
    size += expected.squaredNorm();
  }
  return std::sqrt(error / size);
}

// The errors of all later tokens are a random walk: 32 times the tokens, up to sqrt(32) = 5.7 times
// the error. Other seeds gave 2.9 to 8.7 for the global form and 0.84 to 1.25 for the chunk form.
TEST(SimpleGlaBackward, TheNoiseOfTheGlobalFormOfDgGrowsWithTheSequence) {
  for (const auto error : {gate_gradient_error<Single>, gate_gradient_error<TensorCore>}) {
    const auto growth = [&](GateGradient form) { return error(8192, form) / error(256, form); };
    EXPECT_GT(growth(GateGradient::global), 2.5);
    EXPECT_LT(growth(GateGradient::chunk), 1.5);
  }
}

}  // namespace
}  // namespace groundstate::simple_gla
