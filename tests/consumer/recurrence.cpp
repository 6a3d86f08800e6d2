// The worked example through an installed package: one head, K = V = 1, three tokens of ones, each
// of which halves the state before it.
//
//   S = o = 1, 3/2, 7/4                 ht = 7/4
//   dq = 1, 3/2, 7/4                    dk = dv = 7/4, 3/2, 1
//   dg = 0, 3/4, 3/4                    dg_gamma = 3/2, dh0 = 7/8
//
// Every number is a sum of powers of two, so it comes out exactly. Exit code: how many did not.
#include <cmath>
#include <cstdio>

#include "reference/simple_gla/backward.hpp"
#include "reference/simple_gla/recurrent.hpp"

namespace {

namespace gla = groundstate::simple_gla;
using Numbers = groundstate::Matrix<double>;

int wrong = 0;

void expect(const char* name, const Numbers& got, const Numbers& expected) {
  if (got.rows() == expected.rows() && got.cols() == expected.cols() && got == expected) return;
  ++wrong;
  std::printf("%s is not what it should be\n", name);
}

// The product of two doubles less its rounded self is 0 unless the compiler has fused the two.
void expect_no_contraction() {
  const volatile double factor = 1 + 0x1p-30;
  const double a = factor, b = factor, product = factor * factor;
  const volatile double rounded = product;
  expect("an expression a * b - c", Numbers::Constant(1, 1, a * b - rounded), Numbers{{0}});
}

}  // namespace

int main() {
  const Numbers ones = Numbers::Ones(3, 1), zero = Numbers::Zero(1, 1);
  gla::BackwardProblem<double> problem;
  problem.q = problem.k = problem.v = problem.d_o = ones;
  problem.log_decay = groundstate::Vector<double>::Constant(3, -std::log(2.0));
  problem.h0 = problem.dht = zero;
  problem.scale = 1;

  const gla::Result<double> forward = gla::recurrent<groundstate::Exact>(problem);
  const Numbers state{{1}, {1.5}, {1.75}}, reversed{{1.75}, {1.5}, {1}};
  expect("o", forward.o, state);
  expect("ht", forward.ht, Numbers{{1.75}});

  const gla::Gradients<double> gradients = gla::backward<groundstate::Exact>(problem);
  expect("dq", gradients.dq, state);
  expect("dk", gradients.dk, reversed);
  expect("dv", gradients.dv, reversed);
  expect("dg", gradients.dg, Numbers{{0}, {0.75}, {0.75}});
  expect("dg_gamma", Numbers::Constant(1, 1, gradients.dg_gamma), Numbers{{1.5}});
  expect("dh0", gradients.dh0, Numbers{{0.875}});

  expect_no_contraction();
  return wrong;
}
