#include "harness/run/recorded_output.hpp"

#include <fmt/format.h>

#include "harness/case/error.hpp"
#include "harness/generate/tensor_digest.hpp"
#include "harness/judge/locality.hpp"

namespace groundstate::harness {

RecordedOutput record_output(const OutputSample& sample, std::size_t number, const Tensor& output) {
  RecordedOutput result{
      output.name(), output.type(), shape_of(output.axes()), sha256_of(output), {}, {}};
  for (const OutputSample::Part& part : sample.kept(number)) {
    const PairSlice at(output, part.pair);
    for (const Index row : part.subset.rows)
      for (const Index column : part.subset.columns)
        result.elements.push_back(output.load(at.offset(row, column)));
  }
  for (const Pair& pair : sample.others(number))
    result.moments.push_back(
        window_moments(gather_output(output, pair), PairSlice(output, pair).rows_are_time));
  return result;
}

KnownOutput::KnownOutput(const OutputSample& sample, std::size_t number, const TensorSpec& spec,
                         const RecordedOutput& output)
    : axes_(spec.axes), output_(&output) {
  Index elements = 0;
  for (const OutputSample::Part& part : sample.kept(number)) {
    const PairSlice at(axes_, part.pair);
    const auto rows = static_cast<Index>(part.subset.rows.size()),
               columns = static_cast<Index>(part.subset.columns.size());
    kept_[key(part.pair)] = {&part.subset, elements};
    elements += rows * columns;
    whole_ = whole_ && rows == at.rows && columns == at.columns;
  }
  if (static_cast<Index>(output.elements.size()) != elements)
    throw UsageError(fmt::format("{} elements of {} are recorded; {} are expected",
                                 output.elements.size(), output.name, elements));
  const std::vector<Pair>& others = sample.others(number);
  if (output.moments.size() != others.size())
    throw UsageError(fmt::format("moments of {} pairs of {} are recorded; {} are expected",
                                 output.moments.size(), output.name, others.size()));
  for (std::size_t i = 0; i < others.size(); ++i) {
    const PairSlice at(axes_, others[i]);
    const std::size_t windows = Locality::windows(at.rows, at.columns, at.rows_are_time).size();
    if (output.moments[i].size() != windows)
      throw UsageError(fmt::format("moments of {} windows of {} are recorded; {} are expected",
                                   output.moments[i].size(), output.name, windows));
    others_[key(others[i])] = i;
  }
}

std::optional<KnownOutput::Kept> KnownOutput::kept(const Pair& pair) const {
  const auto found = kept_.find(key(pair));
  if (found == kept_.end()) return std::nullopt;
  const auto& [subset, begin] = found->second;
  Kept result{*subset, Matrix<double>(static_cast<Index>(subset->rows.size()),
                                      static_cast<Index>(subset->columns.size()))};
  for (Index i = 0; i < result.elements.size(); ++i)
    result.elements.data()[i] = output_->elements[static_cast<std::size_t>(begin + i)];
  return result;
}

const std::vector<WindowMoments>& KnownOutput::moments(const Pair& pair) const {
  return output_->moments[others_.at(key(pair))];
}

std::pair<Index, Index> KnownOutput::key(const Pair& pair) const {
  const PairAt place = PairSlice(axes_, pair).place;
  return {place.sequence, place.head};
}

}  // namespace groundstate::harness
