// Speed of the reference of simple_gla at K = V = 128, beside what the machine can do.
//
//   recurrent   the oracle; 5 K V flop a token, which is what all rates here count
//   chunked     Exact and TensorCore; more flop by 2 C (K + V) / (5 K V), counted by the same 5 K V
//   peak        fused multiply-adds of doubles on registers
//   copy        memory read and written, 256 MiB each
// `threads:n` runs n independent problems (or parts), one a thread; `one_problem` shares the
// columns of a single problem among all threads, as the oracle of one sequence and head does.
#include <benchmark/benchmark.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "reference/core/philox.hpp"
#include "reference/simple_gla/chunked.hpp"
#include "reference/simple_gla/recurrent.hpp"

namespace groundstate::simple_gla {
namespace {

constexpr Index size = 128;  // K and V

const int all_threads = threads();

template <class Scalar>
Problem<Scalar> problem(Index time) {
  const auto random = [](Index rows, Index columns, std::string_view name) {
    const RandomStream stream(1, name);
    Matrix<Scalar> result(rows, columns);
    for (Index i = 0; i < result.size(); ++i)
      result.data()[i] = static_cast<Scalar>(stream.normal(static_cast<std::uint64_t>(i)));
    return result;
  };
  return {random(time, size, "q"),          random(time, size, "k"),
          random(time, size, "v"),          Vector<Scalar>::Constant(time, Scalar(-0.05)),
          Matrix<Scalar>::Zero(size, size), Scalar(0.125)};
}

void count(benchmark::State& state, std::string_view what, double per_iteration) {
  state.counters[std::string(what)] = benchmark::Counter(
      per_iteration, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

// range(0) tokens, range(1) independent problems, one a thread; 0: one problem on all threads.
template <class Recipe, Result<ScalarOf<Recipe>> (*path)(const Problem<ScalarOf<Recipe>>&)>
void tokens(benchmark::State& state) {
  const auto p = problem<ScalarOf<Recipe>>(state.range(0));
  const Index problems = std::max<Index>(state.range(1), 1);
  set_threads(state.range(1) == 0 ? all_threads : static_cast<int>(problems));
  for (auto _ : state) {
    if (problems == 1)
      benchmark::DoNotOptimize(path(p).ht.data());
    else
      parallel_for(problems, [&](Index) { benchmark::DoNotOptimize(path(p).ht.data()); });
  }
  set_threads(all_threads);
  count(state, "flop/s", 5.0 * double(size * size) * double(state.range(0)) * double(problems));
}

template <class Recipe>
Result<ScalarOf<Recipe>> oracle(const Problem<ScalarOf<Recipe>>& p) {
  return recurrent<Recipe>(p);
}
template <class Recipe>
Result<ScalarOf<Recipe>> chunks_of_64(const Problem<ScalarOf<Recipe>>& p) {
  return chunked<Recipe>(p, 64);
}

void lengths(benchmark::internal::Benchmark* b) {
  b->ArgNames({"T", "threads"})->UseRealTime()->Unit(benchmark::kMillisecond);
  for (const Index time : {256, 1024, 4096}) {
    b->Args({time, 1});
    if (all_threads > 1) b->Args({time, all_threads});
  }
}
BENCHMARK(tokens<Exact, oracle<Exact>>)->Name("simple_gla/recurrent:exact")->Apply(lengths);
BENCHMARK(tokens<Exact, oracle<Exact>>)
    ->Name("simple_gla/recurrent:exact/one_problem")
    ->Args({4096, 0})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(tokens<Exact, chunks_of_64<Exact>>)->Name("simple_gla/chunked:exact")->Apply(lengths);
BENCHMARK(tokens<TensorCore, chunks_of_64<TensorCore>>)
    ->Name("simple_gla/chunked:tensorcore-bf16")
    ->Apply(lengths);

// ---- the machine

// Twelve chains of four doubles: more than latency times issue width of the multiply-add units.
double multiply_add(Index rounds) {
  constexpr int chains = 12;
  __m256d sum[chains];
  const __m256d factor = _mm256_set1_pd(0.999), term = _mm256_set1_pd(0.001);
  for (int i = 0; i < chains; ++i) sum[i] = _mm256_set1_pd(i);
  for (Index round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = _mm256_fmadd_pd(sum[i], factor, term);
  __m256d total = sum[0];
  for (int i = 1; i < chains; ++i) total = _mm256_add_pd(total, sum[i]);
  return total[0] + total[1] + total[2] + total[3];
}
void peak(benchmark::State& state) {
  constexpr Index rounds = 1 << 20;
  const Index parts = state.range(0);
  set_threads(static_cast<int>(parts));
  for (auto _ : state)
    parallel_for(parts, [&](Index) { benchmark::DoNotOptimize(multiply_add(rounds)); });
  set_threads(all_threads);
  count(state, "flop/s", 2.0 * 12 * 4 * double(rounds) * double(parts));
}

void copy(benchmark::State& state) {
  constexpr std::size_t bytes = std::size_t{256} << 20;
  const auto parts = static_cast<std::size_t>(state.range(0));
  const std::vector<char> from(bytes, 1);
  std::vector<char> to(bytes, 2);
  set_threads(static_cast<int>(parts));
  for (auto _ : state) {
    parallel_for(static_cast<Index>(parts), [&](Index i) {
      const std::size_t part = bytes / parts, begin = static_cast<std::size_t>(i) * part;
      std::memcpy(to.data() + begin, from.data() + begin, part);
    });
    benchmark::ClobberMemory();
  }
  set_threads(all_threads);
  count(state, "B/s", 2.0 * double(bytes / parts * parts));
}

void machine(benchmark::internal::Benchmark* b) {
  b->ArgName("threads")->UseRealTime()->Unit(benchmark::kMillisecond)->Arg(1);
  if (all_threads > 1) b->Arg(all_threads);
}
BENCHMARK(peak)->Name("machine/fp64_multiply_add")->Apply(machine);
BENCHMARK(copy)->Name("machine/copy")->Apply(machine);

}  // namespace
}  // namespace groundstate::simple_gla
