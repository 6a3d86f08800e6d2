#include <fstream>

#include "harness/evidence/evidence.hpp"
#include "harness/run/today.hpp"

namespace groundstate::harness {
namespace {

// The version of the kernel module: no call of CUDA, which may only be used in a child.
std::string driver_version() {
  std::ifstream file("/sys/module/nvidia/version");
  std::string version;
  std::getline(file, version);
  return version;
}

}  // namespace

Origin origin_here() { return {today(), driver_version(), GROUNDSTATE_TOOLKIT, {}}; }

}  // namespace groundstate::harness
