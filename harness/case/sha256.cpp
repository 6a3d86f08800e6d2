#include "harness/case/sha256.hpp"

#include <sha2.h>

#include <array>
#include <cstdint>

namespace groundstate::harness {

std::string sha256_of(std::string_view bytes) {
  std::array<char, SHA256_DIGEST_STRING_LENGTH> digest;
  return SHA256Data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(),
                    digest.data());
}

}  // namespace groundstate::harness
