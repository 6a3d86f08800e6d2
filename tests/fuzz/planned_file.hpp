// An HDF5 file as it is going to be: what the harness writes and what somebody else may write.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace groundstate::fuzz {

struct PlannedAttribute {
  std::string object, name;
  std::variant<std::string, std::int64_t, double, std::vector<std::string>> value;
};

enum class Layout : std::uint8_t { contiguous, compact, chunked, compressed };

struct PlannedDataset {
  std::string path;
  int type = 0;  // an ElementType, or a number up to last_file_type: one that no tensor has
  std::vector<std::uint64_t> extents;
  Layout layout = Layout::contiguous;
  std::string elements;  // cut or filled up with zeros
};

struct PlannedFile {
  std::vector<PlannedDataset> datasets;
  std::vector<PlannedAttribute> attributes;
  struct Link {
    std::string path, object;
    bool soft = false;
  };
  std::vector<Link> links;
};

inline constexpr int last_file_type = 19;
inline constexpr std::uint64_t most_written = 1 << 20;  // bytes of a dataset; a larger one is empty

// The bytes of the file. What libhdf5 does not let be made is left out.
std::string image_of(const PlannedFile& planned);

}  // namespace groundstate::fuzz
