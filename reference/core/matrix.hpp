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

namespace detail {

inline constexpr Index summed_columns = 16, summed_rows = 8;

// out[j] = sum_i a[i,j] b[i,j] of up to 16 columns: chains of 8 rows, then halves.
template <class Scalar>
void column_sums(const Scalar* a, Index a_stride, const Scalar* b, Index b_stride, Index rows,
                 Index columns, Scalar* out) {
  using std::fma;
  for (Index j = 0; j < columns; ++j) out[j] = Scalar(0);
  if (rows <= summed_rows) {
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < columns; ++j)
        out[j] = fma(a[i * a_stride + j], b[i * b_stride + j], out[j]);
    return;
  }
  const Index half = (rows / 2 + summed_rows - 1) / summed_rows * summed_rows;
  Scalar second[summed_columns];
  column_sums(a, a_stride, b, b_stride, half, columns, out);
  column_sums(a + half * a_stride, a_stride, b + half * b_stride, b_stride, rows - half, columns,
              second);
  for (Index j = 0; j < columns; ++j) out[j] += second[j];
}

template <class Scalar>
Scalar pairwise_sum(const Scalar* x, Index count) {
  if (count == 0) return Scalar(0);
  if (count == 1) return x[0];
  return pairwise_sum(x, count / 2) + pairwise_sum(x + count / 2, count - count / 2);
}

}  // namespace detail

// sum_ij A[i,j] B[i,j], as a tree: a serial chain of K V terms would lose digits in fp32.
template <class Scalar>
Scalar inner_product(const ConstMatrixRef<Scalar>& a, const ConstMatrixRef<Scalar>& b) {
  eigen_assert(a.rows() == b.rows() && a.cols() == b.cols());
  constexpr Index block = detail::summed_columns;
  const auto part = [&](Index column) {
    Scalar sums[block];
    const Index columns = std::min(block, a.cols() - column);
    detail::column_sums(a.data() + column, a.outerStride(), b.data() + column, b.outerStride(),
                        a.rows(), columns, sums);
    return detail::pairwise_sum(sums, columns);
  };
  if (a.cols() <= block) return a.cols() > 0 ? part(0) : Scalar(0);
  Vector<Scalar> parts((a.cols() + block - 1) / block);
  for (Index p = 0; p < parts.size(); ++p) parts[p] = part(p * block);
  return detail::pairwise_sum(parts.data(), parts.size());
}

}  // namespace groundstate
