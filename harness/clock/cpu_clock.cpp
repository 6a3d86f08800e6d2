// The processor that the program runs on, with the threads that the reference may use.
#include <fmt/format.h>
#include <immintrin.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <numeric>
#include <optional>
#include <vector>

#include "harness/case/text.hpp"
#include "harness/clock/clock.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

// The first line of /proc/cpuinfo that is about `what`; empty where there is none.
std::string processor(std::string_view what) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon != line.npos && trim(line.substr(0, colon)) == what)
      return std::string(trim(line.substr(colon + 1)));
  }
  return "";
}

__m256d multiply_add(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
__m256 multiply_add(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }

// Fused multiply-adds on registers, twelve chains of them: more than latency times issue width of
// the units, at the width that this program is compiled for.
constexpr int chains = 12;
template <class Register>
double multiply_adds(Index rounds) {
  Register sum[chains];
  const Register factor = Register{} + 0.999f, term = Register{} + 0.001f;
  for (int i = 0; i < chains; ++i) sum[i] = Register{} + static_cast<float>(i);
  for (Index round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = multiply_add(sum[i], factor, term);
  return std::accumulate(sum, sum + chains, 0.0, [](double x, Register y) { return x + y[0]; });
}

class CpuClock final : public Clock {
 public:
  CpuClock()
      : cache_(sysconf(_SC_LEVEL3_CACHE_SIZE)),
        flushed_(static_cast<std::size_t>(2 * cache() / sizeof(std::uint64_t)), 1) {}

  std::string device() const override {
    const std::string model = processor("model name");
    return fmt::format("{}, {} thread{}", model.empty() ? "x86-64" : model, threads(),
                       threads() == 1 ? "" : "s");
  }
  std::string driver() const override { return ""; }
  std::map<std::string, double> clocks() const override {
    const std::optional<double> mhz = real_of(processor("cpu MHz"));
    return mhz ? std::map<std::string, double>{{"cpu_mhz", *mhz}} : std::map<std::string, double>{};
  }
  // A processor that does not say is taken to have much.
  double cache() const override { return cache_ > 0 ? static_cast<double>(cache_) : 0x1p27; }

  Timed timed(const Launch& launch, bool cold) override {
    return [this, launch, cold] {
      if (cold) flush();
      const auto begin = std::chrono::steady_clock::now();
      launch({});
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
  }

  // Waking the threads and waiting for them.
  Launch empty() const override {
    return [](gpu::Stream) { parallel_for(threads(), [](Index) {}); };
  }

  // By one thread, and by all: waking them may take longer than a small copy does.
  std::vector<Launch> copies(double bytes) const override {
    const auto half = static_cast<std::size_t>(bytes / 2);
    const auto from = std::make_shared<std::vector<char>>(half, 1),
               to = std::make_shared<std::vector<char>>(half, 2);
    const auto in_parts = [=](std::size_t parts) -> Launch {
      return [=](gpu::Stream) {
        parallel_for(static_cast<Index>(parts), [&](Index i) {
          const auto part = static_cast<std::size_t>(i);
          const std::size_t begin = half * part / parts, end = half * (part + 1) / parts;
          std::memcpy(to->data() + begin, from->data() + begin, end - begin);
        });
      };
    };
    std::vector<Launch> ways{in_parts(1)};
    if (threads() > 1) ways.push_back(in_parts(static_cast<std::size_t>(threads())));
    return ways;
  }

  // All arithmetic but that of fp64 is fp32 here: formats of 16 bits are emulated.
  Peak peak(Arithmetic arithmetic, const Protocol& protocol) override {
    const bool fp64 = arithmetic == Arithmetic::fp64;
    std::optional<double>& core = fp64 ? fp64_ : fp32_;
    if (!core) core = fp64 ? peak_of_core<__m256d, 4>(protocol) : peak_of_core<__m256, 8>(protocol);
    return {*core * threads(), fmt::format("{} multiply-add", fp64 ? "fp64" : "fp32")};
  }

 private:
  template <class Register, int lanes>
  double peak_of_core(const Protocol& protocol) {
    constexpr Index rounds = 1 << 18;
    const Launch launch = [](gpu::Stream) {
      const volatile double kept = multiply_adds<Register>(rounds);
      static_cast<void>(kept);
    };
    return 2.0 * chains * lanes * rounds /
           std::ranges::min(measure(protocol, {timed(launch, false)}));
  }

  // Every thread reads twice what the last cache holds.
  void flush() {
    parallel_for(threads(), [&](Index) {
      const volatile std::uint64_t kept =
          std::accumulate(flushed_.begin(), flushed_.end(), std::uint64_t{0});
      static_cast<void>(kept);
    });
  }

  long cache_;
  std::optional<double> fp64_, fp32_;  // flop/s of one core
  std::vector<std::uint64_t> flushed_;
};

}  // namespace

std::unique_ptr<Clock> make_cpu_clock() { return std::make_unique<CpuClock>(); }

}  // namespace groundstate::harness
