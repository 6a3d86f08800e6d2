// Refuses processors below the baseline of the build, x86-64-v3, with a message instead of a
// signal.
//
// This file alone is compiled for plain x86-64. Its constructor has the first priority that
// programs may use, so it runs before the initialisers of all other files; those may already
// contain AVX2. For the same reason it uses nothing of the C++ library.
#include <unistd.h>

#include <cstdio>

namespace groundstate {

[[gnu::constructor(101)]] void require_cpu_baseline() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v3")) return;
  std::fputs(
      "groundstate: this processor is too old. An x86-64-v3 processor is needed (AVX2, BMI2, F16C, "
      "FMA, LZCNT, MOVBE: Intel since Haswell, AMD since Excavator).\n",
      stderr);
  _exit(4);
}

}  // namespace groundstate
