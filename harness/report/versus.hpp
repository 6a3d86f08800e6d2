// Two implementations against each other as text for a terminal: how far apart, which is nearer to
// the oracle, and which tolerance an honest pair needs, with its derivation.
#pragma once

#include <string>

#include "harness/report/table.hpp"
#include "harness/run/versus_case.hpp"

namespace groundstate::harness {

std::string render(const VersusReport& report, const TableStyle& style);

}  // namespace groundstate::harness
