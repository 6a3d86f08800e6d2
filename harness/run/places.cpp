#include "harness/run/places.hpp"

#include <algorithm>

#include "harness/operators/stage_axes.hpp"

namespace groundstate::harness {

PairSlice::PairSlice(const std::vector<AxisExtent>& axes, const Pair& pair) {
  const auto has = [&](std::string_view name) {
    return std::any_of(axes.begin(), axes.end(),
                       [&](const AxisExtent& axis) { return axis.name == name; });
  };
  rows_are_time = has(Time::name);
  const std::string_view row_axis = has(State::name) ? Value::name : groundstate::Key::name;
  const auto rows_along = [this](Index extent, Index stride) {
    rows = extent;
    row_stride = stride;
  };
  const auto columns_along = [this](Index extent, Index stride) {
    columns = extent;
    column_stride = stride;
  };
  for (const AxisExtent& axis : axes) {
    if (axis.name == Batch::name || axis.name == Sequence::name) {
      place.sequence = pair.sequence;
      start += (axis.name == Batch::name ? pair.batch : pair.sequence) * axis.stride;
    }
    if (axis.name == Head::name || axis.name == ValueHead::name) {
      place.head = axis.name == Head::name ? pair.head : pair.value_head;
      start += place.head * axis.stride;
    }
    if (axis.name == Time::name) {
      rows_along(pair.length, axis.stride);
      start += pair.begin * axis.stride;
    }
    if (axis.name == row_axis && !rows_are_time) {
      rows_along(axis.extent, axis.stride);
    } else if (axis.name == groundstate::Key::name || axis.name == Value::name ||
               axis.name == State::name || axis.name == ChunkToken::name) {
      columns_along(axis.extent, axis.stride);
    }
    if (axis.name == ChunkNumber::name) {
      chunk_stride = axis.stride;
      start += pair.first_chunk * axis.stride;
    }
  }
  if (has(ChunkNumber::name)) {
    chunk_rows = rows;
    rows *= pair.chunks;
  }
}

Matrix<double> gather_output(const Tensor& tensor, const Pair& pair) {
  const PairSlice at(tensor, pair);
  Matrix<double> result(at.rows, at.columns);
  for (Index i = 0; i < at.rows; ++i)
    for (Index j = 0; j < at.columns; ++j) result(i, j) = tensor.load(at.offset(i, j));
  return result;
}

void update_output(const Matrix<double>& matrix, const Pair& pair, Tensor& tensor,
                   double (*combine)(double there, double own)) {
  const PairSlice at(tensor, pair);
  for (Index i = 0; i < at.rows; ++i)
    for (Index j = 0; j < at.columns; ++j)
      tensor.store(at.offset(i, j), combine(tensor.load(at.offset(i, j)), matrix(i, j)));
}

}  // namespace groundstate::harness
