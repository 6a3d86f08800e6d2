// Matrices of the reference, and its contractions with a fixed order of operations.
//
//   add_product(C, A, B)         C[i,j] += sum_k A[i,k] B[k,j]
//   add_outer_products(C, A, B)  C[i,j] += sum_t A[t,i] B[t,j]    a state and its rank-one terms
//   add_row_products(C, A, B)    C[i,j] += sum_k A[i,k] B[j,k]    rows against rows
//   inner_product(A, B)          sum_ij A[i,j] B[i,j]
//
// add_causal_product is add_product with the sum cut at k <= i, add_causal_outer_products is
// add_outer_products with the sum cut at t >= i: a row never touches what lies on the other side
// of the diagonal, so an infinity there cannot reach it as 0 * inf. Each element of C is one chain
// of fused multiply-adds in ascending order of the summed index, started from the value C had. It
// therefore does not depend on how C is tiled, where it lies in memory or what else is computed
// beside it (tests/core/matrix_test.cpp). Eigen's products, sums and dot products change their bits
// with all three, which is why no path with a bitwise promise uses them; Eigen supplies storage,
// blocks and element-wise arithmetic. Vectorised only over the innermost axis of C. Register blocks
// of `block_rows` x `block_columns` keep the chains in registers without touching their order.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "reference/core/axis.hpp"

namespace groundstate {

template <class Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Scalar>
using Vector = Eigen::Matrix<Scalar, Eigen::Dynamic, 1>;

// A block of rows and columns of a row-major matrix, or all of it.
template <class Scalar>
using MatrixRef = Eigen::Ref<Matrix<Scalar>, 0, Eigen::OuterStride<>>;
template <class Scalar>
using ConstMatrixRef = Eigen::Ref<const Matrix<Scalar>, 0, Eigen::OuterStride<>>;

namespace detail {

// C[i, j] += sum_k a(i, k) B[k, j] for one register block.
template <int rows, int columns, class Scalar>
inline void accumulate_block(Scalar* c, Index c_stride, const Scalar* a, Index a_row, Index a_inner,
                             const Scalar* b, Index b_stride, Index inner) {
  using std::fma;
  Scalar sum[rows][columns];
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) sum[i][j] = c[i * c_stride + j];
  for (Index k = 0; k < inner; ++k) {
    const Scalar* const b_row = b + k * b_stride;
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const Scalar factor = a[i * a_row + k * a_inner];
#pragma GCC ivdep
      for (int j = 0; j < columns; ++j) sum[i][j] = fma(factor, b_row[j], sum[i][j]);
    }
  }
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) c[i * c_stride + j] = sum[i][j];
}

template <class Scalar>
inline void accumulate(Scalar* c, Index c_stride, Index rows, Index columns, const Scalar* a,
                       Index a_row, Index a_inner, const Scalar* b, Index b_stride, Index inner) {
  constexpr int block_rows = 4, block_columns = 64 / sizeof(Scalar);
  Index j = 0;
  for (; j + block_columns <= columns; j += block_columns) {
    Index i = 0;
    for (; i + block_rows <= rows; i += block_rows)
      accumulate_block<block_rows, block_columns>(c + i * c_stride + j, c_stride, a + i * a_row,
                                                  a_row, a_inner, b + j, b_stride, inner);
    for (; i < rows; ++i)
      accumulate_block<1, block_columns>(c + i * c_stride + j, c_stride, a + i * a_row, a_row,
                                         a_inner, b + j, b_stride, inner);
  }
  for (; j < columns; ++j)
    for (Index i = 0; i < rows; ++i)
      accumulate_block<1, 1>(c + i * c_stride + j, c_stride, a + i * a_row, a_row, a_inner, b + j,
                             b_stride, inner);
}

}  // namespace detail

template <class Scalar>
void add_product(MatrixRef<Scalar> c, const ConstMatrixRef<Scalar>& a,
                 const ConstMatrixRef<Scalar>& b) {
  eigen_assert(c.rows() == a.rows() && c.cols() == b.cols() && a.cols() == b.rows());
  detail::accumulate(c.data(), c.outerStride(), c.rows(), c.cols(), a.data(), a.outerStride(),
                     Index{1}, b.data(), b.outerStride(), a.cols());
}

template <class Scalar>
void add_causal_product(MatrixRef<Scalar> c, const ConstMatrixRef<Scalar>& a,
                        const ConstMatrixRef<Scalar>& b) {
  constexpr Index block = 4;  // rows that share the sum over k < their first
  for (Index i = 0; i < c.rows(); i += block) {
    const Index rows = std::min(block, c.rows() - i);
    add_product<Scalar>(c.middleRows(i, rows), a.block(i, 0, rows, i), b.topRows(i));
    for (Index r = 0; r < rows; ++r)
      add_product<Scalar>(c.middleRows(i + r, 1), a.block(i + r, i, 1, r + 1),
                          b.middleRows(i, r + 1));
  }
}

template <class Scalar>
void add_outer_products(MatrixRef<Scalar> c, const ConstMatrixRef<Scalar>& a,
                        const ConstMatrixRef<Scalar>& b) {
  eigen_assert(c.rows() == a.cols() && c.cols() == b.cols() && a.rows() == b.rows());
  detail::accumulate(c.data(), c.outerStride(), c.rows(), c.cols(), a.data(), Index{1},
                     a.outerStride(), b.data(), b.outerStride(), a.rows());
}

// C[i,j] += sum_{t>=i} A[t,i] B[t,j]: what comes before a row never touches it.
template <class Scalar>
void add_causal_outer_products(MatrixRef<Scalar> c, const ConstMatrixRef<Scalar>& a,
                               const ConstMatrixRef<Scalar>& b) {
  constexpr Index block = 4;
  for (Index i = 0; i < c.rows(); i += block) {
    const Index rows = std::min(block, c.rows() - i), rest = a.rows() - i - rows;
    for (Index r = 0; r < rows; ++r)
      add_outer_products<Scalar>(c.middleRows(i + r, 1), a.block(i + r, i + r, rows - r, 1),
                                 b.middleRows(i + r, rows - r));
    add_outer_products<Scalar>(c.middleRows(i, rows), a.block(i + rows, i, rest, rows),
                               b.bottomRows(rest));
  }
}

template <class Scalar>
void add_row_products(MatrixRef<Scalar> c, const ConstMatrixRef<Scalar>& a,
                      const ConstMatrixRef<Scalar>& b) {
  eigen_assert(c.rows() == a.rows() && c.cols() == b.rows() && a.cols() == b.cols());
  const Matrix<Scalar> b_columns = b.transpose();  // the innermost axis of C must be contiguous
  detail::accumulate(c.data(), c.outerStride(), c.rows(), c.cols(), a.data(), a.outerStride(),
                     Index{1}, b_columns.data(), b_columns.outerStride(), a.cols());
}

// sum_ij A[i,j] B[i,j]: ascending row in each column, then ascending column.
template <class Scalar>
Scalar inner_product(const ConstMatrixRef<Scalar>& a, const ConstMatrixRef<Scalar>& b) {
  using std::fma;
  eigen_assert(a.rows() == b.rows() && a.cols() == b.cols());
  const Index columns = a.cols();
  Vector<Scalar> sums = Vector<Scalar>::Zero(columns);
  Scalar* const sum = sums.data();
  for (Index i = 0; i < a.rows(); ++i) {
    const Scalar* const a_row = a.data() + i * a.outerStride();
    const Scalar* const b_row = b.data() + i * b.outerStride();
    for (Index j = 0; j < columns; ++j) sum[j] = fma(a_row[j], b_row[j], sum[j]);
  }
  Scalar total(0);
  for (Index j = 0; j < sums.size(); ++j) total += sums[j];
  return total;
}

}  // namespace groundstate
