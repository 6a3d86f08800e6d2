// Where the outputs of a pair lie in whole tensors. Pairs that differ only in an axis that a tensor
// lacks lie at the same place of it: what they contribute is summed there.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "harness/judge/where.hpp"
#include "harness/operators/operator.hpp"

namespace groundstate::harness {

// Where a pair's matrix lies in a tensor. Rows are time where the tensor has it, else key; columns
// are what is left of key and value, or the tokens of a chunk. A tensor with the axis state has
// rows along value instead; one with an axis of chunks has the rows of one chunk after those of
// another.
struct PairSlice {
  Index rows = 1, columns = 1, row_stride = 0, column_stride = 0, start = 0;
  Index chunk_rows = 0, chunk_stride = 0;  // 0: no axis of chunks
  bool rows_are_time = false;
  PairAt place;  // sequence and head as the tensor counts them

  PairSlice(const Tensor& tensor, const Pair& pair) : PairSlice(tensor.axes(), pair) {}
  PairSlice(const std::vector<AxisExtent>& axes, const Pair& pair);
  Index offset(Index row, Index column) const {
    const Index chunk = chunk_rows > 0 ? row / chunk_rows : 0;
    return start + chunk * chunk_stride + (row - chunk * chunk_rows) * row_stride +
           column * column_stride;
  }
};

// The pairs of a case by the place of one output tensor that they contribute to.
class Places {
 public:
  Places(const TensorSpec& spec, const std::vector<Pair>& pairs) : axes_(spec.axes) {
    for (const Pair& pair : pairs) ++contributors_[key(pair)];
  }
  Index contributors(const Pair& pair) const { return contributors_.at(key(pair)); }
  std::pair<Index, Index> key(const Pair& pair) const {
    const PairAt place = PairSlice(axes_, pair).place;
    return {place.sequence, place.head};
  }

 private:
  std::vector<AxisExtent> axes_;
  std::map<std::pair<Index, Index>, Index> contributors_;
};

// The part of an output tensor at the place of a pair, as the matrix of PairOutputs.
Matrix<double> gather_output(const Tensor& tensor, const Pair& pair);
// And back, element by element: combine(what is there, what the pair brings).
void update_output(const Matrix<double>& matrix, const Pair& pair, Tensor& tensor,
                   double (*combine)(double there, double own));

}  // namespace groundstate::harness
