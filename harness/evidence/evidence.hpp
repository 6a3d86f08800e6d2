// Evidence: how paths fared on a machine that others do not have, small enough to be committed and
// complete enough to be judged again anywhere.
//
//   /                           attributes evidence (1), schema, sha256 (of origin)
//     origin                    JSON: date (UTC), driver, toolkit, and of each path, "<operator>
//                               <path>", its source by file and flags (source.hpp)
//   /<id>                       one case: attributes case, operator, schema, as in every fixture;
//                               elements (of an output and pair), sha256 (of record)
//     record                    the lines that `run -o` writes of the case, JSON, one a result and
//                               one a bitwise contract. A result has besides, by output: type,
//                               shape and sha256 of all of it, kept_sha256 of what is kept, and
//                               moments
//     outputs/<path>/<name>     the elements that are kept (run/output_sample.hpp), one after the
//                               other; outputs with the same bits are one dataset by several names
//
// sha256 of a tensor: generate/tensor_digest.hpp; of a text: of its bytes.
//
// Throws UsageError, naming file and object, for a file that is no evidence; what reading and
// writing throw besides.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/evidence/source.hpp"
#include "harness/fixture/write.hpp"
#include "harness/judge/status.hpp"
#include "harness/run/result.hpp"

namespace groundstate::harness {

inline constexpr int evidence_version = 1;

// Where and from what it comes.
struct Origin {
  std::string date;                       // "2026-11-22"
  std::string driver, toolkit;            // "580.159.04", "CUDA 13.0.88"; empty where there is none
  std::map<std::string, Source> sources;  // by source_key()
};
std::string source_key(const std::string& operator_name, const std::string& path);

// Of today, on this machine, without sources.
Origin origin_here();

struct EvidenceResult {
  struct Clause {
    double value = 0, limit = 0, raised = 1;
    bool passed = true;
  };
  struct Tensor {
    Status status = Status::passed;
    std::map<std::string, Clause> clauses;  // those that apply
    std::string finding;
  };
  std::string path, device, note;
  Status status = Status::passed;
  std::map<std::string, Tensor> tensors;
  std::vector<RecordedOutput> outputs;
  // What is not as it was written: "o: ... are not those that were recorded".
  std::vector<std::string> damage;
};

struct EvidenceContract {
  std::string name;
  std::optional<std::string> violation;
};

struct EvidenceCase {
  std::string id, text, operator_name;  // not checked against the operators of today
  Index elements = 0;
  std::string record;  // as it is in the file
  std::vector<EvidenceResult> results;
  std::vector<EvidenceContract> contracts;
  std::vector<std::string> problems;  // of raised limits
  std::vector<std::string> damage;
};

struct Evidence {
  std::string file;
  Origin origin;
  std::vector<std::string> damage;
  std::vector<EvidenceCase> cases;

  std::string device() const;  // of its results, each once; "-" without any
  // Why what it says of a path of today is STALE; empty where it holds.
  std::string staleness(const std::string& operator_name, const Path& path) const;
};

Evidence read_evidence(const std::string& file);

// Writes reports of cases that were run with RunOptions::recorded_elements. The file is there when
// it is committed, and as it was before until then; the same content is the same bytes.
class EvidenceWriter {
 public:
  // Pictures of errors are half of the record; without them reports show none.
  EvidenceWriter(const std::filesystem::path& file, Index elements, bool pictures)
      : writer_(file, FileFormat::compact), elements_(elements), pictures_(pictures) {}

  // Without the results that were not judged; a report without any other is left out.
  void add(CaseReport report);
  Index results() const { return results_; }  // written so far
  void commit(const Origin& origin);

 private:
  FixtureWriter writer_;
  Index elements_, results_ = 0;
  bool pictures_;
};

}  // namespace groundstate::harness
