// Philox4x32-10: a counter-based random generator (fewer rounds where a caller asks for them). Sixteen bytes of output are a pure function of a
// 128-bit counter and a 64-bit key, so any element of any tensor can be made anywhere, in any
// order, on any number of threads, with the same bits. Source: Salmon, Moraes, Dror, Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The known answers in
// tests/core/philox_test.cpp are those published with it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace groundstate {

struct Philox {
  using Counter = std::array<std::uint32_t, 4>;
  using Key = std::array<std::uint32_t, 2>;

  static constexpr Counter block(Counter counter, Key key, int rounds = 10) {
    for (int round = 0; round < rounds; ++round) {
      const std::uint64_t a = std::uint64_t{0xD2511F53u} * counter[0];
      const std::uint64_t b = std::uint64_t{0xCD9E8D57u} * counter[2];
      counter = {
          static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
          static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
      key[0] += 0x9E3779B9u;
      key[1] += 0xBB67AE85u;
    }
    return counter;
  }
};

// 64-bit FNV-1a of a name: tensors of one case draw from unrelated streams.
constexpr std::uint64_t fnv1a_64(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// The random numbers of one named stream: element i is block(counter = i, key = (seed, name)).
class RandomStream {
 public:
  constexpr RandomStream(std::uint64_t seed, std::string_view name) {
    const std::uint64_t mixed = seed ^ fnv1a_64(name);
    key_ = {static_cast<std::uint32_t>(mixed), static_cast<std::uint32_t>(mixed >> 32)};
  }
  constexpr Philox::Counter bits(std::uint64_t index, std::uint64_t high = 0) const {
    return Philox::block(
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
         static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)},
        key_);
  }
  // Uniform on (0, 1): the middle of one of 2^32 equal cells, so neither end is ever drawn.
  static constexpr double uniform(std::uint32_t word) { return (word + 0.5) * 0x1p-32; }
  constexpr double uniform(std::uint64_t index, std::uint64_t high) const {
    return uniform(bits(index, high)[0]);
  }
  // Mean 0, variance 1: the sum of four uniforms, bell-shaped on (-3.47, 3.47). Only + and *, so
  // that host and device agree in every bit.
  constexpr double normal(std::uint64_t index, std::uint64_t high = 0) const {
    const Philox::Counter word = bits(index, high);
    const double sum =
        ((uniform(word[0]) + uniform(word[1])) + uniform(word[2])) + uniform(word[3]);
    return (sum - 2.0) * 1.7320508075688772;
  }

 private:
  Philox::Key key_;
};

}  // namespace groundstate
