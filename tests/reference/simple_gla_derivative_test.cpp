// The backward of simple_gla is the derivative of its forward: element by element, in random
// directions and as its adjoint, against forward-mode derivatives (core/dual.hpp).
#include <gtest/gtest.h>

#include "reference/core/dual.hpp"
#include "reference/simple_gla/fused.hpp"
#include "reference/simple_gla/parallel.hpp"
#include "reference/simple_gla/segmented.hpp"
#include "tests/reference/simple_gla_problems.hpp"

namespace groundstate::simple_gla {
namespace {

// ---- derivatives by forward mode

// A direction in the space of the inputs has the tensors of a gradient.
using Direction = Gradients<double>;

Direction zero_direction(const Problem<double>& p) {
  return {Matrix<double>::Zero(p.time(), p.key()),
          Matrix<double>::Zero(p.time(), p.key()),
          Matrix<double>::Zero(p.time(), p.value()),
          Vector<double>::Zero(p.time()),
          0,
          Matrix<double>::Zero(p.key(), p.value())};
}
Direction random_direction(const Problem<double>& p, std::string_view name) {
  Direction d = zero_direction(p);
  for (auto& tensor : tensors(d))
    tensor.elements =
        random(tensor.elements.size(), 1, std::string(name) + std::string(tensor.name));
  return d;
}

// p + epsilon d. A constant gate is added to each token's.
Problem<DualNumber> along(const Problem<double>& p, const Direction& d) {
  const auto join = [](const auto& x, const auto& dx) { return x.binaryExpr(dx, &dual).eval(); };
  return {join(p.q, d.dq),   join(p.k, d.dk),
          join(p.v, d.dv),   join(p.log_decay, (d.dg.array() + d.dg_gamma).matrix()),
          join(p.h0, d.dh0), DualNumber(p.scale)};
}

using Forward = Result<DualNumber> (*)(const Problem<DualNumber>&);
Result<DualNumber> oracle(const Problem<DualNumber>& p) { return recurrent<Dual>(p); }

// Of the loss <do, o> + <dht, ht>.
double derivative(const BackwardProblem<double>& p, const Direction& d, Forward forward = oracle) {
  const Result<DualNumber> r = forward(along(p, d));
  const auto inner = [](const Matrix<double>& gradient, const Matrix<DualNumber>& x) {
    return gradient.cwiseProduct(x.unaryExpr(&derivative_of)).sum();
  };
  return inner(p.d_o, r.o) + inner(p.dht, r.ht);
}

Gradients<double> by_elements(const BackwardProblem<double>& p) {
  Gradients<double> r = zero_direction(p);
  Direction d = zero_direction(p);
  for (std::size_t i = 0; i < 6; ++i)
    for (Index j = 0; j < tensors(d)[i].elements.size(); ++j) {
      tensors(d)[i].elements[j] = 1;
      tensors(r)[i].elements[j] = derivative(p, d);
      tensors(d)[i].elements[j] = 0;
    }
  return r;
}

// ---- element by element

TEST(SimpleGlaDerivative, EveryElementOfTheGradientIsAForwardModeDerivative) {
  for (const auto& [key, value] : {std::pair{1, 1}, {3, 5}, {17, 2}, {2, 11}})
    for (const Index time : {0, 1, 2, 5, 9})
      for (const Gates& regime : gates)
        for (int absent = 0; absent < 8; ++absent) {  // every subset of h0, dht and do
          BackwardProblem<double> p = random_problem(time, key, value, regime);
          if (absent & 1) p.h0.setZero();
          if (absent & 2) p.dht.setZero();
          if (absent & 4) p.d_o.setZero();
          const Gradients<double> r = backward<Exact>(p), expected = by_elements(p),
                                  size = backward<Exact>(sizes(p));
          // Two chains of sums over time, key and value and of four factors (gate, scale, product)
          // are compared; where there is nothing to sum both are 0.
          const double relative = 2 * static_cast<double>(time + key + value + 4) * 0x1p-53;
          for (std::size_t i = 0; i < 6; ++i) {
            const auto own = tensors(r)[i], other = tensors(expected)[i], bound = tensors(size)[i];
            for (Index j = 0; j < own.elements.size(); ++j) {
              ASSERT_LE(std::abs(own.elements[j] - other.elements[j]), relative * bound.elements[j])
                  << own.name << " " << j << " " << regime.name << " T=" << time << " K=" << key
                  << " V=" << value << " absent " << absent;
            }
          }
        }
}

// ---- direction by direction

// <gradient, direction> and the sum of the sizes of its terms.
struct Inner {
  double sum = 0, size = 0;
};
Inner inner(const Gradients<double>& r, const Direction& d) {
  Inner result;
  for (std::size_t i = 0; i < 6; ++i) {
    const auto terms = tensors(r)[i].elements.cwiseProduct(tensors(d)[i].elements).eval();
    result.sum += terms.sum();
    result.size += terms.lpNorm<1>();
  }
  return result;
}

TEST(SimpleGlaDerivative, EveryFormOfTheBackwardGivesTheDerivativeInRandomDirections) {
  for (const Gates& regime : gates) {
    const BackwardProblem<double> p = random_problem(300, 24, 40, regime);
    const std::array directions{random_direction(p, "direction 1"),
                                random_direction(p, "direction 2")};
    const std::array expected{derivative(p, directions[0]), derivative(p, directions[1])};
    for (const auto& [name, compute] : every_form<Exact>(64)) {
      const Gradients<double> r = compute(p);
      for (std::size_t i = 0; i < directions.size(); ++i) {
        const Inner own = inner(r, directions[i]);
        EXPECT_LE(std::abs(own.sum - expected[i]), 1e-13 * own.size) << name << " " << regime.name;
      }
    }
  }
}

// <J dx, dy> = <dx, J^T dy> for dy = (do, dht), with J of any form of the forward.
TEST(SimpleGlaDerivative, EveryFormOfTheForwardHasTheSameAdjoint) {
  using P = const Problem<DualNumber>&;
  const std::array<std::pair<const char*, Forward>, 8> forwards{{
      {"recurrent", [](P p) { return recurrent<Dual>(p); }},
      {"step", [](P p) { return stepwise<Dual>(p, 3); }},
      {"scan", [](P p) { return pairwise<Dual>(p); }},
      {"chunk_scan", [](P p) { return chunk_scan<Dual>(p, 16); }},
      {"chunked", [](P p) { return chunked<Dual>(p, 16); }},
      {"fused",
       [](P p) {
         return fused<Dual>(p, {16, 2, 5, 7});
       }},
      {"segmented", [](P p) { return segmented<Dual>(p, 3, 16); }},
      {"parallel", [](P p) { return parallel<Dual>(p); }},
  }};
  for (const Gates& regime : gates) {
    const BackwardProblem<double> p = random_problem(70, 12, 20, regime);
    const Direction d = random_direction(p, "direction");
    const Inner expected = inner(backward<Exact>(p), d);
    for (const auto& [name, forward] : forwards) {
      const double own = derivative(p, d, forward);
      EXPECT_LE(std::abs(own - expected.sum), 1e-14 * expected.size) << name << " " << regime.name;
    }
  }
}

}  // namespace
}  // namespace groundstate::simple_gla
