// Two implementations against each other in words: how far apart, which is nearer to the oracle,
// and which tolerance an honest pair needs, with its derivation; as text for a terminal, and in
// parts.
#pragma once

#include <string>
#include <vector>

#include "harness/report/table.hpp"
#include "harness/run/versus_case.hpp"

namespace groundstate::harness {

// "median 0.2, 99.9 % 0.9, max 1.3 units; at most 3e-06; farthest at ..."
std::string apart(const VersusTensor& own);
// "recurrent:single, in 63 % of the 120 elements where one is"; empty where none is.
std::string nearer(const VersusReport& report, const VersusTensor& own);
// "rtol=2.9e-06 atol=1.1e-05", rounded up; empty where nothing was measured.
std::string recommended(const VersusTensor& own);
// "rtol = 24 x 2^-24 + 24 x 2^-24; atol is that of batch=0 ..."; empty where nothing was measured.
std::string reason(const VersusTensor& own);
// "torch.allclose(rtol=1e-05, atol=1e-08): passes; ..."
std::vector<std::string> usual_tolerances(const VersusTensor& own);

std::string render(const VersusReport& report, const TableStyle& style);

}  // namespace groundstate::harness
