// Standard output that fails (a full disk, a closed pipe): an error like any other.
#pragma once

namespace groundstate::harness::cli {

// Throws std::system_error, as fmt::print does, when what was printed cannot be written.
void flush_standard_output();

}  // namespace groundstate::harness::cli
