#include "harness/cli/standard_output.hpp"

#include <cerrno>
#include <cstdio>
#include <system_error>

namespace groundstate::harness::cli {

void flush_standard_output() {
  if (std::fflush(stdout) != 0) throw std::system_error(errno, std::generic_category());
}

}  // namespace groundstate::harness::cli
