// Writes files of a folder so that each is there whole or as it was before.
//
// All are written under temporary names first and renamed when all are on the disk. Creates missing
// folders. Throws UsageError where the folder or a file cannot be created, ResourceError where
// writing fails; temporary files are removed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace groundstate::harness {

struct NamedFile {
  std::string name, content;
};

void write_files(const std::filesystem::path& folder, const std::vector<NamedFile>& files);

}  // namespace groundstate::harness
