// What a result can be (README, "Statuses"). The judge gives the first four; the others belong to
// the caller, who knows about devices and about what a path can take.
#pragma once

#include <cstdint>
#include <string_view>

namespace groundstate::harness {

enum class Status : std::uint8_t { passed, marginal, failed, mistrusted, unavailable, unsupported };

constexpr std::string_view name_of(Status status) {
  switch (status) {
    case Status::passed:
      return "PASSED";
    case Status::marginal:
      return "MARGINAL";
    case Status::failed:
      return "FAILED";
    case Status::mistrusted:
      return "MISTRUSTED";
    case Status::unavailable:
      return "UNAVAILABLE";
    case Status::unsupported:
      return "UNSUPPORTED";
  }
  return "?";
}

}  // namespace groundstate::harness
