// What the running program was built from, as one word: the identity that the linker makes of all
// code and constants in it (--build-id). Two programs with the same one give the same results.
#pragma once

#include <string>

namespace groundstate::harness {

// In hexadecimal; "unknown" for a program that was linked without.
std::string build_id();

}  // namespace groundstate::harness
