// The named intermediates of the chunked forms: what each of them is, said without the chunked
// form.
#include <gtest/gtest.h>

#include <array>

#include "reference/simple_gla/recurrent.hpp"
#include "reference/simple_gla/segmented.hpp"
#include "tests/reference/simple_gla_problems.hpp"

namespace groundstate::simple_gla {
namespace {

constexpr Index length = 16, tokens = 4 * length + 5;  // the last chunk is short

// Not where sums of 1e6 leave no digits to compare with.
constexpr std::array regimes{"open", "normal", "slow", "fast", "growth", "reset by -infinity"};

BackwardProblem<double> problem(std::string_view regime) {
  return random_problem(tokens, 7, 5, gates_named(regime));
}

Stages<double> forward_stages(const Problem<double>& p) {
  Stages<double> stages;
  chunked<Exact>(p, length, {}, &stages);
  return stages;
}
BackwardStages<double> backward_stages(const BackwardProblem<double>& p) {
  BackwardStages<double> stages;
  chunked_backward<Exact>(p, {length}, &stages);
  return stages;
}

void expect_near(const Matrix<double>& a, const Matrix<double>& b, const std::string& what) {
  ASSERT_EQ(a.rows(), b.rows()) << what;
  ASSERT_EQ(a.cols(), b.cols()) << what;
  for (Index i = 0; i < a.size(); ++i)
    EXPECT_NEAR(a.data()[i], b.data()[i], 1e-11 * (1 + std::abs(b.data()[i]))) << what << " " << i;
}

template <class Dense>
bool same(const Dense& a, const Dense& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), sizeof(*a.data()) * static_cast<std::size_t>(a.size())) ==
             0;
}

TEST(SimpleGlaStages, CumulativeDecayIsTheSumOfTheGatesOfItsChunk) {
  for (const char* const regime : regimes) {
    const auto p = problem(regime);
    const Stages<double> stages = forward_stages(p);
    ASSERT_EQ(stages.cumulative_decay.size(), tokens);
    double sum = 0;
    for (Index t = 0; t < tokens; ++t) {
      sum = (t % length == 0 ? 0 : sum) + p.log_decay[t];
      if (std::isinf(sum))
        EXPECT_EQ(stages.cumulative_decay[t], sum) << regime << " t=" << t;
      else
        EXPECT_NEAR(stages.cumulative_decay[t], sum, 1e-13 * (1 + std::abs(sum)))
            << regime << " t=" << t;
    }
  }
}

TEST(SimpleGlaStages, CumulativeDecayIsANaturalLogarithmHoweverItIsKept) {
  auto p = problem("normal");
  const Vector<double> expected = forward_stages(p).cumulative_decay;
  for (const GateSum kind : {GateSum::plain, GateSum::base2}) {
    p.gate_sum = kind;
    expect_near(forward_stages(p).cumulative_decay, expected, "G");
  }
}

TEST(SimpleGlaStages, ChunkStatesAreTheStatesOfTheRecurrence) {
  for (const char* const regime : regimes) {
    const auto p = problem(regime);
    const Stages<double> stages = forward_stages(p);
    ASSERT_EQ(stages.chunk_states.size(), 5u);
    for (Index c = 0; c < 5; ++c) {
      Problem<double> before = p.tokens(0, c * length);
      before.h0 = p.h0;
      expect_near(stages.chunk_states[static_cast<std::size_t>(c)], recurrent<Exact>(before).ht,
                  regime);
    }
  }
}

TEST(SimpleGlaStages, ScoresTimesValuesAndThePartOfTheStateAreTheOutput) {
  for (const char* const regime : regimes) {
    const auto p = problem(regime);
    const Stages<double> stages = forward_stages(p);
    ASSERT_EQ(stages.scores.cols(), length);
    Matrix<double> o(tokens, p.value());
    for (Index t = 0; t < tokens; ++t) {
      const Index c = t / length, i = t % length;
      o.row(t) = p.scale * std::exp(stages.cumulative_decay[t]) * p.q.row(t) *
                 stages.chunk_states[static_cast<std::size_t>(c)];
      for (Index j = 0; j < length; ++j) {
        const double score = stages.scores(t, j);
        if (j > i)
          EXPECT_EQ(score, 0) << regime << " t=" << t << " j=" << j;
        else
          o.row(t) += p.scale * score * p.v.row(c * length + j);
      }
    }
    expect_near(o, recurrent<Exact>(p).o, regime);
  }
}

// The loss <do, o> + <dht, ht> is linear in a state, and so its derivative is the loss of the unit
// states, with all values 0.
TEST(SimpleGlaStages, DhStatesAreTheDerivativeByTheStateBehindTheChunk) {
  for (const char* const regime : regimes) {
    const auto p = problem(regime);
    const BackwardStages<double> stages = backward_stages(p);
    ASSERT_EQ(stages.dh_states.size(), 5u);
    for (Index c = 0; c < 5; ++c) {
      const Index end = std::min((c + 1) * length, tokens);
      BackwardProblem<double> behind = p.tokens(end, tokens - end);
      behind.v.setZero();
      Matrix<double> derivative(p.key(), p.value());
      for (Index k = 0; k < p.key(); ++k)
        for (Index j = 0; j < p.value(); ++j) {
          behind.h0 = Matrix<double>::Zero(p.key(), p.value());
          behind.h0(k, j) = 1;
          const Result<double> r = recurrent<Exact>(behind);
          derivative(k, j) = r.o.cwiseProduct(behind.d_o).sum() + r.ht.cwiseProduct(p.dht).sum();
        }
      expect_near(stages.dh_states[static_cast<std::size_t>(c)], derivative, regime);
    }
  }
}

TEST(SimpleGlaStages, DscoresTimesKeysAndThePartOfTheStateAreTheGradientOfTheQuery) {
  for (const char* const regime : regimes) {
    const auto p = problem(regime);
    const BackwardStages<double> stages = backward_stages(p);
    Matrix<double> dq(tokens, p.key());
    for (Index t = 0; t < tokens; ++t) {
      const Index c = t / length, i = t % length;
      dq.row(t) = p.scale * std::exp(stages.cumulative_decay[t]) * p.d_o.row(t) *
                  stages.chunk_states[static_cast<std::size_t>(c)].transpose();
      for (Index j = 0; j < length; ++j) {
        if (j > i)
          EXPECT_EQ(stages.dscores(t, j), 0) << regime << " t=" << t << " j=" << j;
        else
          dq.row(t) += stages.dscores(t, j) * p.k.row(c * length + j);
      }
    }
    expect_near(dq, backward<Exact>(p).dq, regime);
  }
}

TEST(SimpleGlaStages, OfTheBackwardAreThoseOfTheForwardWithTheScaleInTheScores) {
  const auto p = problem("normal");
  const Stages<double> forward = forward_stages(p);
  const BackwardStages<double> own = backward_stages(p);
  expect_near(own.cumulative_decay, forward.cumulative_decay, "G");
  expect_near(own.scores, p.scale * forward.scores, "A");
  for (std::size_t c = 0; c < forward.chunk_states.size(); ++c)
    expect_near(own.chunk_states[c], forward.chunk_states[c], "h");
}

TEST(SimpleGlaStages, OfSegmentsAreThoseOfTheWhole) {
  const auto p = problem("normal");
  const Stages<double> whole = forward_stages(p);
  const BackwardStages<double> backward = backward_stages(p);
  Stages<double> stages;
  segmented<Exact>(p, 2, length, &stages);
  BackwardStages<double> of_backward;
  segmented_backward<Exact>(p, 2, {length}, &of_backward);
  const auto expect_same = [](const Stages<double>& a, const Stages<double>& b) {
    expect_near(a.cumulative_decay, b.cumulative_decay, "G");
    expect_near(a.scores, b.scores, "A");
    ASSERT_EQ(a.chunk_states.size(), b.chunk_states.size());
    for (std::size_t c = 0; c < a.chunk_states.size(); ++c)
      expect_near(a.chunk_states[c], b.chunk_states[c], "h");
  };
  expect_same(stages, whole);
  expect_same(of_backward, backward);
  expect_near(of_backward.dscores, backward.dscores, "dA");
  ASSERT_EQ(of_backward.dh_states.size(), backward.dh_states.size());
  for (std::size_t c = 0; c < backward.dh_states.size(); ++c)
    expect_near(of_backward.dh_states[c], backward.dh_states[c], "dh");
}

TEST(SimpleGlaStages, KeepingThemChangesNoBit) {
  for (const Gates& regime : gates) {
    const auto p = as<float>(random_problem(tokens, 7, 5, regime));
    Stages<float> stages;
    const auto check = [&](const Result<float>& with, const Result<float>& without) {
      EXPECT_TRUE(same(with.o, without.o)) << regime.name;
      EXPECT_TRUE(same(with.ht, without.ht)) << regime.name;
    };
    check(chunked<TensorCore>(p, length, {}, &stages), chunked<TensorCore>(p, length));
    check(segmented<TensorCore>(p, 2, length, &stages), segmented<TensorCore>(p, 2, length));
    BackwardStages<float> of_backward;
    const auto check_backward = [&](const Gradients<float>& with, const Gradients<float>& without) {
      EXPECT_TRUE(same(with.dq, without.dq) && same(with.dk, without.dk) &&
                  same(with.dv, without.dv) && same(with.dg, without.dg) &&
                  same(with.dh0, without.dh0))
          << regime.name;
    };
    check_backward(chunked_backward<TensorCore>(p, {length}, &of_backward),
                   chunked_backward<TensorCore>(p, {length}));
    check_backward(segmented_backward<TensorCore>(p, 2, {length}, &of_backward),
                   segmented_backward<TensorCore>(p, 2, {length}));
  }
}

TEST(SimpleGlaStages, OfNoTokensAreEmpty) {
  const auto p = random_problem(0, 7, 5);
  const BackwardStages<double> stages = backward_stages(p);
  EXPECT_EQ(stages.cumulative_decay.size(), 0);
  EXPECT_EQ(stages.scores.rows(), 0);
  EXPECT_TRUE(stages.chunk_states.empty());
  EXPECT_TRUE(stages.dh_states.empty());
}

}  // namespace
}  // namespace groundstate::simple_gla
