// What a JSON Lines file keeps of an earlier run of the same command, for `run --resume`.
//
// A case is finished when all of its records are there; each of them says how many that are. What
// follows the last finished case is dropped: records of a case that was not finished, and a last
// line that is cut off or damaged. Everything else that such a run would not have written is a
// UsageError naming the line, and nothing is changed: other content, a case that is not asked for,
// other options, paths or raised limits (`request`), another program (`environment`, but for the
// number of threads).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/report/table.hpp"

namespace groundstate::harness {

// A part of the file, in bytes.
struct FilePart {
  long long begin = 0, end = 0;
};

struct RecordedCase {
  FilePart lines;
  Tally tally;
};

struct RecordedRun {
  std::vector<std::optional<RecordedCase>> cases;  // one for each that is asked for
  long long size = 0;                              // of the file, up to the last finished case
};

struct RequestedCase {
  std::string id, request;  // as in its CaseReport
};

// A file that does not exist has nothing.
RecordedRun read_recorded_run(const std::string& path, const std::vector<RequestedCase>& requested);

// The lines of a part.
std::vector<std::string> lines_of(const std::string& path, const FilePart& part);

// Makes the file the parts of itself in this order, unless it is that already. It is written beside
// and renamed; throws ResourceError when it cannot be, and leaves it as it was.
void put_in_order(const std::string& path, const std::vector<FilePart>& parts);

}  // namespace groundstate::harness
