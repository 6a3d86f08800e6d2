// What the code of a path is made of, and whether evidence of it is STALE.
//
//   gpu.fused of simple_gla     gpu/simple_gla/fused.cu (of simple_gla.backward: fused_backward.cu)
//                               or, where there is no file of that name, all of
//                               gpu/simple_gla/*.cu;
//   paths without a device      all of reference/simple_gla/
//
// and every file of the tree that these include, with x.cu beside each x.hpp or x.cuh.
//
// A file counts by the SHA-256 of its code: comments, blank lines and line breaks are nothing, any
// other change is one. The compile flags that its code depends on count, too. The digests are those
// of the tree that the program was built from (cmake/source_digests.cmake); no compiler is needed
// to compare them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// A file of the tree when the program was built.
struct SourceFile {
  std::string_view name;                       // "gpu/simple_gla/fused.cu"
  std::string_view code_sha256, bytes_sha256;  // without comments; of the file as it is
  std::string_view flags;                      // empty for headers of gpu/
  std::vector<std::string_view> includes;      // files of the tree
};
const std::vector<SourceFile>& source_files();  // in the order of their names

struct Source {
  struct Digest {
    std::string code, flags;  // code: SHA-256
  };
  std::map<std::string, Digest> files;  // by name

  std::string sha256() const;  // of all of it
};

// Empty where the tree has no such files, as of an operator that a test made up.
Source source_of(const std::string& operator_name, const Path& path);

// What is not as it was: "gpu/simple_gla/fused.cu has changed"; empty where evidence holds.
std::string staleness(const Source& recorded, const Source& now);

}  // namespace groundstate::harness
