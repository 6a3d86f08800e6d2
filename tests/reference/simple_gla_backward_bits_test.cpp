// The pairs of the backward of simple_gla that must agree in every bit, whatever the recipe: one
// pass and two, the format in which dS is stored, what memory held before, threads; and what a bad
// token may reach.
#include <gtest/gtest.h>

#include "tests/reference/simple_gla_problems.hpp"

namespace groundstate::simple_gla {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr Index chunk = 16;

template <class Recipe>
class SimpleGlaBackwardBits : public testing::Test {};
using Recipes = testing::Types<Exact, Single, TensorCore, TensorCoreHalf, Tf32, SingleBf16State,
                               TensorCoreBf16State>;
TYPED_TEST_SUITE(SimpleGlaBackwardBits, Recipes);

// Of sizes that fill neither a chunk, a strip nor a register block.
template <class Scalar>
struct Example {
  std::string name;
  BackwardProblem<Scalar> problem;
};
template <class Scalar>
std::vector<Example<Scalar>> examples() {
  std::vector<Example<Scalar>> result;
  for (const Index time : {0, 1, 15, 16, 17, 53})
    for (const Gates& regime : gates)
      for (const bool with_dht : {true, false}) {
        BackwardProblem<double> p = random_problem(time, 12, 20, regime);
        if (!with_dht) p.dht.setZero();
        result.push_back(
            {"T=" + std::to_string(time) + " " + regime.name + (with_dht ? "" : " without dht"),
             as<Scalar>(p)});
      }
  return result;
}

// ---- forms

TYPED_TEST(SimpleGlaBackwardBits, OnePassIsTwoPasses) {
  for (const auto& [name, p] : examples<ScalarOf<TypeParam>>())
    for (const GateGradient form : {GateGradient::chunk, GateGradient::global}) {
      const BackwardForm two{chunk, StateStorage::accumulator, form};
      EXPECT_EQ(differing(fused_backward<TypeParam>(p, two), chunked_backward<TypeParam>(p, two)),
                "")
          << name;
    }
}

TYPED_TEST(SimpleGlaBackwardBits, OneSegmentIsTheWhole) {
  for (const auto& [name, p] : examples<ScalarOf<TypeParam>>())
    for (const StateStorage dh : {StateStorage::accumulator, StateStorage::operand})
      EXPECT_EQ(differing(segmented_backward<TypeParam>(p, 1, {chunk, dh}),
                          chunked_backward<TypeParam>(p, {chunk, dh})),
                "")
          << name;
}

// dS enters products as an operand anyway; only <S, dS> in dg sees it in full.
TYPED_TEST(SimpleGlaBackwardBits, StoringDSAsAnOperandIsSeenByDgAlone) {
  using Scalar = ScalarOf<TypeParam>;
  const bool rounds = TypeParam::state(Scalar(1.0001)) != Scalar(1.0001);
  Index different = 0;
  for (const auto& [name, p] : examples<Scalar>()) {
    const std::string names =
        differing(chunked_backward<TypeParam>(p, {chunk, StateStorage::operand}),
                  chunked_backward<TypeParam>(p, {chunk, StateStorage::accumulator}));
    EXPECT_TRUE(names == "" || (rounds && (names == "dg" || names == "dg dg_gamma")))
        << names << " of " << name;
    different += names != "";
  }
  EXPECT_EQ(different > 0, rounds);
}

TYPED_TEST(SimpleGlaBackwardBits, StoringSAsAnOperandIsSeenByDgAlone) {
  using Scalar = ScalarOf<TypeParam>;
  for (const auto& [name, p] : examples<Scalar>()) {
    BackwardForm form{chunk};
    const Gradients<Scalar> kept = chunked_backward<TypeParam>(p, form);
    form.h = StateStorage::operand;
    const Gradients<Scalar> rounded = chunked_backward<TypeParam>(p, form);
    const std::string names = differing(rounded, kept);
    EXPECT_TRUE(names == "" || names == "dg" || names == "dg dg_gamma") << names << " of " << name;
    EXPECT_EQ(differing(fused_backward<TypeParam>(p, form), rounded), "") << name;
  }
}

TYPED_TEST(SimpleGlaBackwardBits, GroupsOfChunksAreSeenByDgAlone) {
  using Scalar = ScalarOf<TypeParam>;
  for (const auto& [name, p] : examples<Scalar>()) {
    BackwardForm form{chunk};
    const Gradients<Scalar> alone = chunked_backward<TypeParam>(p, form);
    form.dg_chunks = 3;
    const Gradients<Scalar> grouped = chunked_backward<TypeParam>(p, form);
    const std::string names = differing(grouped, alone);
    EXPECT_TRUE(names == "" || names == "dg" || names == "dg dg_gamma") << names << " of " << name;
    EXPECT_EQ(differing(fused_backward<TypeParam>(p, form), grouped), "") << name;
  }
}

TYPED_TEST(SimpleGlaBackwardBits, ThreadsChangeNone) {
  using Scalar = ScalarOf<TypeParam>;
  const BackwardProblem<Scalar> p = as<Scalar>(random_problem(90, 100, 120));  // worth sharing
  const int before = threads();
  set_threads(1);
  const Gradients<Scalar> one = backward<TypeParam>(p);
  for (const int count : {2, 3}) {
    set_threads(count);
    EXPECT_EQ(differing(backward<TypeParam>(p), one), "") << count;
  }
  set_threads(before);
}

// ---- what the memory of states held before

template <class Scalar>
BoundaryStates<Scalar> filled(std::size_t slots, Index key, Index value, double filler) {
  const std::vector<Matrix<Scalar>> states(
      slots, Matrix<Scalar>::Constant(key, value, static_cast<Scalar>(filler)));
  return {states, states};
}

TYPED_TEST(SimpleGlaBackwardBits, NothingIsReadFromStatesBeforeItIsWritten) {
  using Scalar = ScalarOf<TypeParam>;
  std::vector<std::pair<std::string, BoundaryStates<Scalar>>> leftovers;
  for (const double filler : {0.0, nan, infinity, 3e38})
    for (const auto& [slots, key, value] :
         {std::array{0, 12, 20}, {1, 12, 20}, {4, 12, 20}, {9, 12, 20}, {4, 3, 2}, {4, 40, 50}})
      leftovers.emplace_back(std::to_string(filler),
                             filled<Scalar>(static_cast<std::size_t>(slots), key, value, filler));
  for (const Index time : {5, 53, 150}) {
    BoundaryStates<Scalar> of_another;
    chunked_backward<TypeParam>(as<Scalar>(random_problem(time, 12, 20, gates_named("fast"), 7)),
                                {chunk}, of_another);
    leftovers.emplace_back("another problem", of_another);
  }
  for (const auto& [name, p] : examples<Scalar>())
    for (const StateStorage dh : {StateStorage::accumulator, StateStorage::operand}) {
      const BackwardForm form{chunk, dh};
      const Gradients<Scalar> expected = chunked_backward<TypeParam>(p, form);
      for (const auto& [leftover, states] : leftovers) {
        BoundaryStates<Scalar> poisoned = states;
        EXPECT_EQ(differing(chunked_backward<TypeParam>(p, form, poisoned), expected), "")
            << name << " after " << leftover;
      }
    }
}

TYPED_TEST(SimpleGlaBackwardBits, EverySlotOfAChunkIsWritten) {
  using Scalar = ScalarOf<TypeParam>;
  for (const auto& [name, p] : examples<Scalar>())
    for (const StateStorage dh : {StateStorage::accumulator, StateStorage::operand}) {
      BoundaryStates<Scalar> states = filled<Scalar>(9, p.key(), p.value(), nan);
      const Gradients<Scalar> r = chunked_backward<TypeParam>(p, {chunk, dh}, states);
      ASSERT_EQ(static_cast<Index>(states.h.size()), number_of_chunks(p.time(), chunk)) << name;
      ASSERT_EQ(states.dh.size(), states.h.size()) << name;
      for (std::size_t c = 0; c < states.h.size(); ++c)
        EXPECT_FALSE(states.h[c].hasNaN() || states.dh[c].hasNaN()) << name << " chunk " << c;
      // The last one is dht, +0 when that is absent; without chunks it is dh0.
      Matrix<Scalar> last = p.dht;
      if (dh == StateStorage::operand && p.time() > 0) last = last.unaryExpr(&TypeParam::state);
      const Matrix<Scalar>& own = states.dh.empty() ? r.dh0 : states.dh.back();
      EXPECT_EQ(std::memcmp(own.data(), last.data(),
                            static_cast<std::size_t>(last.size()) * sizeof(Scalar)),
                0)
          << name;
    }
}

// ---- what a token may reach

// The names of the tensors whose rows of tokens in [begin, end) differ in a bit.
template <class Scalar>
std::string differing(const Gradients<Scalar>& a, const Gradients<Scalar>& b, Index begin,
                      Index end) {
  const auto rows = [&](const Gradients<Scalar>& r) {
    return Gradients<Scalar>{r.dq.middleRows(begin, end - begin),
                             r.dk.middleRows(begin, end - begin),
                             r.dv.middleRows(begin, end - begin),
                             r.dg.segment(begin, end - begin),
                             Scalar(0),
                             Matrix<Scalar>()};
  };
  return differing(rows(a), rows(b));
}

TYPED_TEST(SimpleGlaBackwardBits, ABadTokenReachesOnlyWhatItIsAFactorOf) {
  using Scalar = ScalarOf<TypeParam>;
  constexpr Index time = 53;
  const BackwardProblem<Scalar> good = as<Scalar>(random_problem(time, 12, 20));
  for (const auto& [name, compute] : every_form<TypeParam>(chunk)) {
    const Gradients<Scalar> expected = compute(good);
    for (const Index t : {0, 15, 16, 20, 52})
      for (const double bad : {nan, infinity}) {
        const auto where = [&, &form = name] {
          return form + " " + std::to_string(bad) + " at " + std::to_string(t);
        };
        const auto with = [&](Matrix<Scalar> BackwardProblem<Scalar>::*tensor) {
          BackwardProblem<Scalar> p = good;
          (p.*tensor).row(t).setConstant(static_cast<Scalar>(bad));
          return compute(p);
        };
        // q and do of a token reach earlier ones, and dq of no other token; k and v reach later
        // ones, and neither dk nor dv of another token.
        Gradients<Scalar> r = with(&BackwardProblem<Scalar>::q);
        EXPECT_EQ(differing(r, expected, t + 1, time), "") << "q " << where();
        EXPECT_FALSE(r.dk.row(t).allFinite() || r.dv.row(t).allFinite()) << "q " << where();
        r.dk = expected.dk, r.dv = expected.dv, r.dg = expected.dg;
        EXPECT_EQ(differing(r, expected, 0, time), "") << "dq of q " << where();

        r = with(&BackwardProblem<Scalar>::d_o);
        EXPECT_EQ(differing(r, expected, t + 1, time), "") << "do " << where();
        EXPECT_FALSE(r.dq.row(t).allFinite() || r.dk.row(t).allFinite() || r.dv.row(t).allFinite())
            << "do " << where();
        r.dk = expected.dk, r.dv = expected.dv, r.dg = expected.dg;
        EXPECT_EQ(differing(r, expected, 0, t), "") << "dq of do " << where();

        for (const bool of_key : {true, false}) {
          r = with(of_key ? &BackwardProblem<Scalar>::k : &BackwardProblem<Scalar>::v);
          EXPECT_FALSE(r.dq.row(t).allFinite()) << where();
          EXPECT_FALSE((of_key ? r.dv : r.dk).row(t).allFinite()) << where();
          r.dg = expected.dg;
          EXPECT_EQ(differing(r, expected, 0, t), "") << "k or v " << where();
          r.dq = expected.dq;
          EXPECT_EQ(differing(r, expected, t + 1, time), "") << "dk, dv of k or v " << where();
        }
      }
  }
}

// Bits of dg before a gate of -infinity may change in the chunk form: they are sums over the chunk.
TYPED_TEST(SimpleGlaBackwardBits, NothingPassesAGateOfMinusInfinity) {
  using Scalar = ScalarOf<TypeParam>;
  constexpr Index time = 53;
  for (const Index reset : {1, 15, 16, 17, 52}) {
    BackwardProblem<double> p = random_problem(time, 12, 20);
    p.log_decay[reset] = -infinity;
    BackwardProblem<double> other_past = p, other_future = p;
    other_past.h0 *= -3;
    for (Matrix<double>* x : {&other_past.q, &other_past.k, &other_past.v, &other_past.d_o})
      x->topRows(reset) *= -3;
    other_future.dht *= -3;
    for (Matrix<double>* x : {&other_future.q, &other_future.k, &other_future.v, &other_future.d_o})
      x->bottomRows(time - reset) *= -3;
    for (const auto& [name, compute] : every_form<TypeParam>(chunk)) {
      const Gradients<Scalar> expected = compute(as<Scalar>(p));
      EXPECT_EQ(differing(compute(as<Scalar>(other_past)), expected, reset, time), "")
          << name << " " << reset;
      Gradients<Scalar> r = compute(as<Scalar>(other_future));
      if (name != "sequential") r.dg = expected.dg;
      EXPECT_EQ(differing(r, expected, 0, reset), "") << name << " " << reset;
      EXPECT_EQ(r.dh0, expected.dh0) << name << " " << reset;
    }
  }
}

}  // namespace
}  // namespace groundstate::simple_gla
