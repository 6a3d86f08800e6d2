// Speed of the three contractions of reference/core/matrix.hpp on one core, at the sizes of a
// chunk.
#include <benchmark/benchmark.h>

#include "reference/core/matrix.hpp"

namespace groundstate {
namespace {

template <class Scalar, void (*contract)(MatrixRef<Scalar>, const ConstMatrixRef<Scalar>&,
                                         const ConstMatrixRef<Scalar>&)>
void contraction(benchmark::State& state) {
  const Index size = state.range(0);
  const Matrix<Scalar> a = Matrix<Scalar>::Constant(size, size, Scalar(0.5)), b = a;
  Matrix<Scalar> c = Matrix<Scalar>::Zero(size, size);
  for (auto _ : state) {
    contract(c, a, b);
    benchmark::DoNotOptimize(c.data());
  }
  const auto operations = 2 * static_cast<double>(size * size * size);
  state.counters["flop/s"] = benchmark::Counter(
      operations, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

BENCHMARK(contraction<double, add_product<double>>)->Arg(64)->Arg(128)->Name("product/fp64");
BENCHMARK(contraction<float, add_product<float>>)->Arg(64)->Arg(128)->Name("product/fp32");
BENCHMARK(contraction<double, add_outer_products<double>>)
    ->Arg(64)
    ->Arg(128)
    ->Name("outer_products/fp64");
BENCHMARK(contraction<float, add_outer_products<float>>)
    ->Arg(64)
    ->Arg(128)
    ->Name("outer_products/fp32");
BENCHMARK(contraction<double, add_row_products<double>>)
    ->Arg(64)
    ->Arg(128)
    ->Name("row_products/fp64");
BENCHMARK(contraction<float, add_row_products<float>>)
    ->Arg(64)
    ->Arg(128)
    ->Name("row_products/fp32");

}  // namespace
}  // namespace groundstate
