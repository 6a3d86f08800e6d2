// What is recorded of one output of a path, and how the rest of the harness sees it then.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/case/tensor.hpp"
#include "harness/judge/window_moments.hpp"
#include "harness/run/output_sample.hpp"
#include "harness/run/places.hpp"

namespace groundstate::harness {

struct RecordedOutput {
  std::string name;
  ElementType type = ElementType::float64;
  std::string shape, sha256;  // of all of it (generate/tensor_digest.hpp)
  // Part after part of OutputSample::kept, row by row.
  std::vector<double> elements;
  // One for each of OutputSample::others, in the windows of clause E.
  std::vector<std::vector<WindowMoments>> moments;
};

// `number` is that of the output in the order of the operator.
RecordedOutput record_output(const OutputSample& sample, std::size_t number, const Tensor& output);

// A recorded output by place. Refers to the sample and to the output.
class KnownOutput {
 public:
  // Throws UsageError where the output has not the elements and moments that the sample asks for.
  KnownOutput(const OutputSample& sample, std::size_t number, const TensorSpec& spec,
              const RecordedOutput& output);

  // At the place of a pair; absent where only moments are known.
  struct Kept {
    const Subset& subset;
    Matrix<double> elements;
  };
  std::optional<Kept> kept(const Pair& pair) const;
  // All of every pair that is kept: only then its errors are those of a run with fewer pairs. Down
  // one column they may be one error that the state carries on.
  bool whole() const { return whole_; }
  const std::vector<WindowMoments>& moments(const Pair& pair) const;

 private:
  struct Part {
    const Subset* subset;
    Index begin;  // in the elements
  };
  std::pair<Index, Index> key(const Pair& pair) const;

  std::vector<AxisExtent> axes_;
  const RecordedOutput* output_;
  bool whole_ = true;
  std::map<std::pair<Index, Index>, Part> kept_;
  std::map<std::pair<Index, Index>, std::size_t> others_;
};

}  // namespace groundstate::harness
