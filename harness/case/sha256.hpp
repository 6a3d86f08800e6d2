// SHA-256 of bytes, in hexadecimal.
#pragma once

#include <string>
#include <string_view>

namespace groundstate::harness {

std::string sha256_of(std::string_view bytes);

}  // namespace groundstate::harness
