// The three contractions promise bits: one chain of fused multiply-adds per element, in ascending
// order of the summed index, whatever is computed beside it, however it is cut, wherever it lies.
#include "reference/core/matrix.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <vector>

#include "reference/core/philox.hpp"

namespace groundstate {
namespace {

// ---- the three contractions under one shape: C is rows x columns, `inner` terms are summed

struct Product {
  template <class T>
  static void add(MatrixRef<T> c, const ConstMatrixRef<T>& a, const ConstMatrixRef<T>& b) {
    add_product<T>(c, a, b);
  }
  static constexpr bool a_transposed = false, b_transposed = false;
};
struct OuterProducts {
  template <class T>
  static void add(MatrixRef<T> c, const ConstMatrixRef<T>& a, const ConstMatrixRef<T>& b) {
    add_outer_products<T>(c, a, b);
  }
  static constexpr bool a_transposed = true, b_transposed = false;
};
struct RowProducts {
  template <class T>
  static void add(MatrixRef<T> c, const ConstMatrixRef<T>& a, const ConstMatrixRef<T>& b) {
    add_row_products<T>(c, a, b);
  }
  static constexpr bool a_transposed = false, b_transposed = true;
};

template <class T>
Matrix<T> random(Index rows, Index columns, std::string_view name) {
  const RandomStream stream(3, name);
  Matrix<T> result(rows, columns);
  for (Index i = 0; i < result.size(); ++i)
    result.data()[i] = static_cast<T>(stream.normal(static_cast<std::uint64_t>(i)));
  return result;
}

template <class T>
bool same_bits(const ConstMatrixRef<T>& a, const ConstMatrixRef<T>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols();
         ++j)  // == would take the zeros for one; long double has padding bytes
      if (a(i, j) != b(i, j) || std::signbit(a(i, j)) != std::signbit(b(i, j))) return false;
  return true;
}

template <class Contraction, class T>
struct Problem {
  Problem(Index rows, Index columns, Index inner)
      : c(random<T>(rows, columns, "c")),
        a(Contraction::a_transposed ? random<T>(inner, rows, "a") : random<T>(rows, inner, "a")),
        b(Contraction::b_transposed ? random<T>(columns, inner, "b")
                                    : random<T>(inner, columns, "b")) {}

  // The parts of A and B that a tile of C and a stretch of the sum need.
  auto a_block(Index row, Index rows, Index begin, Index terms) const {
    return Contraction::a_transposed ? a.block(begin, row, terms, rows)
                                     : a.block(row, begin, rows, terms);
  }
  auto b_block(Index column, Index columns, Index begin, Index terms) const {
    return Contraction::b_transposed ? b.block(column, begin, columns, terms)
                                     : b.block(begin, column, terms, columns);
  }
  Index inner() const { return Contraction::a_transposed ? a.rows() : a.cols(); }

  Matrix<T> contracted() const {
    Matrix<T> result = c;
    Contraction::template add<T>(result, a, b);
    return result;
  }
  Matrix<T> by_definition() const {
    Matrix<T> result = c;
    for (Index i = 0; i < c.rows(); ++i)
      for (Index j = 0; j < c.cols(); ++j)
        for (Index k = 0; k < inner(); ++k)
          result(i, j) = std::fma(Contraction::a_transposed ? a(k, i) : a(i, k),
                                  Contraction::b_transposed ? b(j, k) : b(k, j), result(i, j));
    return result;
  }

  Matrix<T> c, a, b;
};

// A matrix that starts `shift` elements into its memory and whose rows are `gap` elements apart.
template <class T>
class Shifted {
 public:
  using Map = Eigen::Map<Matrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;
  Shifted(const Matrix<T>& m, Index shift, Index gap)
      : memory_(static_cast<std::size_t>(shift + m.rows() * (m.cols() + gap) + 1)),
        map_(memory_.data() + shift, m.rows(), m.cols(), Eigen::OuterStride<>(m.cols() + gap)) {
    map_ = m;
  }
  Map& operator*() { return map_; }

 private:
  std::vector<T> memory_;
  Map map_;
};

template <class Pair>
class Contraction : public testing::Test {};
template <class C, class T>
struct Pair {
  using contraction = C;
  using scalar = T;
};
using Pairs =
    testing::Types<Pair<Product, double>, Pair<Product, float>, Pair<Product, long double>,
                   Pair<OuterProducts, double>, Pair<OuterProducts, float>,
                   Pair<OuterProducts, long double>, Pair<RowProducts, double>,
                   Pair<RowProducts, float>, Pair<RowProducts, long double>>;
TYPED_TEST_SUITE(Contraction, Pairs);

TYPED_TEST(Contraction, IsOneChainOfFusedMultiplyAddsPerElement) {
  using P = Problem<typename TypeParam::contraction, typename TypeParam::scalar>;
  // fma of long double is done in software: every size up to five blocks, then every tenth.
  const bool fast = sizeof(typename TypeParam::scalar) <= 8;
  for (Index n = 0; n <= 70; n += fast || n < 20 ? 1 : 10) {
    const Index m = n * 31 % 71, l = n * 17 % 71;  // all of 0..70 too, in another order
    for (const auto& [rows, columns, inner] :
         {std::array{n, m, l}, std::array{m, l, n}, std::array{l, n, m}}) {
      const P problem(rows, columns, inner);
      ASSERT_TRUE(
          same_bits<typename TypeParam::scalar>(problem.contracted(), problem.by_definition()))
          << rows << " x " << columns << " over " << inner;
    }
  }
}

TYPED_TEST(Contraction, DoesNotDependOnTiling) {
  using C = typename TypeParam::contraction;
  using T = typename TypeParam::scalar;
  const Index rows = 37, columns = 70, inner = 41;
  const Problem<C, T> problem(rows, columns, inner);
  const Matrix<T> whole = problem.contracted();
  for (const auto& [tile_rows, tile_columns, terms] :
       {std::array{1, 70, 41}, std::array{37, 1, 41}, std::array{5, 16, 41}, std::array{16, 33, 8},
        std::array{37, 70, 1}, std::array{3, 9, 7}}) {
    Matrix<T> tiled = problem.c;
    for (Index i = 0; i < rows; i += tile_rows)
      for (Index j = 0; j < columns; j += tile_columns)
        for (Index k = 0; k < inner; k += terms) {
          const Index height = std::min<Index>(tile_rows, rows - i),
                      width = std::min<Index>(tile_columns, columns - j),
                      depth = std::min<Index>(terms, inner - k);
          C::template add<T>(tiled.block(i, j, height, width), problem.a_block(i, height, k, depth),
                             problem.b_block(j, width, k, depth));
        }
    ASSERT_TRUE(same_bits<T>(tiled, whole))
        << tile_rows << " x " << tile_columns << " over " << terms;
  }
}

TYPED_TEST(Contraction, DoesNotDependOnTheAddress) {
  using C = typename TypeParam::contraction;
  using T = typename TypeParam::scalar;
  const Problem<C, T> problem(11, 45, 23);
  const Matrix<T> expected = problem.contracted();
  for (Index shift = 0; shift < 17; ++shift)
    for (const Index gap : {0, 1, 5}) {
      Shifted<T> c(problem.c, shift, gap), a(problem.a, (shift * 3) % 17, gap),
          b(problem.b, (shift * 5) % 17, gap);
      C::template add<T>(*c, *a, *b);
      ASSERT_TRUE(same_bits<T>(*c, expected)) << "moved by " << shift << ", rows apart by " << gap;
    }
}

TYPED_TEST(Contraction, DoesNotDependOnWhatIsComputedBesideIt) {
  using C = typename TypeParam::contraction;
  using T = typename TypeParam::scalar;
  const Problem<C, T> all(40, 64, 29);
  const Matrix<T> together = all.contracted();
  for (const auto& [row, rows, column, columns] :
       {std::array{0, 1, 0, 64}, std::array{7, 1, 13, 1}, std::array{5, 9, 3, 20},
        std::array{39, 1, 63, 1}, std::array{16, 24, 31, 33}}) {
    Matrix<T> alone = all.c.block(row, column, rows, columns);
    C::template add<T>(alone, all.a_block(row, rows, 0, 29), all.b_block(column, columns, 0, 29));
    ASSERT_TRUE(same_bits<T>(alone, together.block(row, column, rows, columns)))
        << row << " " << column;
  }
}

// ---- the references to blocks

TEST(MatrixRef, OfABlockWritesIntoTheMatrix) {
  Matrix<double> whole = Matrix<double>::Zero(8, 9);
  const auto fill = [](MatrixRef<double> part) { part.setOnes(); };
  fill(whole.block(2, 3, 4, 5));
  EXPECT_EQ(whole.sum(), 20);
  EXPECT_EQ(whole.block(2, 3, 4, 5).sum(), 20);
  fill(whole.row(0));
  EXPECT_EQ(whole.row(0).sum(), 9);
}

TEST(ConstMatrixRef, OfABlockOrAColumnVectorIsNoCopy) {
  const auto data = [](const ConstMatrixRef<float>& part) { return part.data(); };
  const Matrix<float> whole = Matrix<float>::Zero(8, 9);
  const Vector<float> vector = Vector<float>::Zero(8);
  EXPECT_EQ(data(whole), whole.data());
  EXPECT_EQ(data(whole.block(2, 3, 4, 5)), &whole(2, 3));
  EXPECT_EQ(data(whole.middleRows(1, 2)), &whole(1, 0));
  EXPECT_EQ(data(whole.row(3)), &whole(3, 0));
  EXPECT_EQ(data(vector), vector.data());
  EXPECT_EQ(data(vector.transpose()), vector.data());
}

TEST(ConstMatrixRef, OfATransposeIsACopyWithTheRightElements) {
  const Matrix<double> a = random<double>(5, 7, "a"), b = random<double>(5, 6, "b");
  Matrix<double> by_copy = Matrix<double>::Zero(7, 6), expected = by_copy;
  add_product<double>(by_copy, a.transpose(), b);
  add_outer_products<double>(expected, a, b);
  EXPECT_TRUE(same_bits<double>(by_copy, expected));
}

TEST(Contraction, TakesVectorsAsMatricesOfOneColumn) {
  const Matrix<double> a = random<double>(6, 5, "a");
  const Vector<double> x = random<double>(5, 1, "x");
  Vector<double> y = Vector<double>::Zero(6);
  add_product<double>(y, a, x);
  Matrix<double> z = Matrix<double>::Zero(1, 6);
  add_row_products<double>(z, x.transpose(), a);
  for (Index i = 0; i < 6; ++i) {
    double sum = 0;
    for (Index k = 0; k < 5; ++k) sum = std::fma(a(i, k), x(k), sum);
    EXPECT_EQ(y(i), sum);
    EXPECT_EQ(z(0, i), sum);
  }
}

}  // namespace
}  // namespace groundstate
