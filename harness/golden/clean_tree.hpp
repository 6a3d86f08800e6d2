// Whether the git tree around a file is what was last committed: a golden is to belong to a commit.
#pragma once

#include <filesystem>

namespace groundstate::harness {

// Throws UsageError naming what has changed since the last commit, or that the file lies in no git
// tree, or that there is no git. `file` itself may have changed, and what git does not track does
// not count.
void require_clean_tree(const std::filesystem::path& file);

}  // namespace groundstate::harness
