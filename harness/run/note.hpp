// The note of a result or a timing: remarks, a semicolon between them.
#pragma once

#include <string>
#include <string_view>

namespace groundstate::harness {

// An empty remark leaves the note as it is.
inline void add_remark(std::string& note, std::string_view remark) {
  if (remark.empty()) return;
  if (!note.empty()) note += "; ";
  note += remark;
}

}  // namespace groundstate::harness
