// The contractions promise bits: one chain of fused multiply-adds per element, in ascending order
// of the summed index, whatever is computed beside it, however it is cut, wherever it lies.
#include "reference/core/matrix.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>
#include <vector>

#include "reference/core/philox.hpp"
#include "reference/core/two_float.hpp"

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

// ---- the causal contractions: sums that begin or end at the diagonal

// C[i,j] += sum_{k<=i} A[i,k] B[k,j]
struct CausalProduct {
  template <class T>
  static void add(MatrixRef<T> c, const ConstMatrixRef<T>& a, const ConstMatrixRef<T>& b) {
    add_causal_product<T>(c, a, b);
  }
  static constexpr bool transposed = false;
};
// C[i,j] += sum_{k>=i} A[k,i] B[k,j]
struct CausalOuterProducts {
  template <class T>
  static void add(MatrixRef<T> c, const ConstMatrixRef<T>& a, const ConstMatrixRef<T>& b) {
    add_causal_outer_products<T>(c, a, b);
  }
  static constexpr bool transposed = true;
};

template <class Pair>
class CausalContraction : public testing::Test {
 public:
  using T = typename Pair::scalar;
  using C = typename Pair::contraction;
  static Matrix<T> contracted(Matrix<T> c, const Matrix<T>& a, const Matrix<T>& b) {
    C::template add<T>(c, a, b);
    return c;
  }
  static Matrix<T> by_definition(Matrix<T> c, const Matrix<T>& a, const Matrix<T>& b) {
    const Index n = c.rows();
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < c.cols(); ++j)
        for (Index k = C::transposed ? i : 0; k < (C::transposed ? n : i + 1); ++k)
          c(i, j) = std::fma(C::transposed ? a(k, i) : a(i, k), b(k, j), c(i, j));
    return c;
  }
};
using CausalPairs =
    testing::Types<Pair<CausalProduct, double>, Pair<CausalProduct, float>,
                   Pair<CausalProduct, long double>, Pair<CausalOuterProducts, double>,
                   Pair<CausalOuterProducts, float>, Pair<CausalOuterProducts, long double>>;
TYPED_TEST_SUITE(CausalContraction, CausalPairs);

TYPED_TEST(CausalContraction, IsOneChainOfFusedMultiplyAddsPerElement) {
  using T = typename TypeParam::scalar;
  const bool fast = sizeof(T) <= 8;
  for (Index n = 0; n <= 40; n += fast || n < 10 ? 1 : 5)
    for (const Index columns : {0, 1, 7, 16, 35}) {
      const Matrix<T> c = random<T>(n, columns, "c"), a = random<T>(n, n, "a"),
                      b = random<T>(n, columns, "b");
      ASSERT_TRUE(same_bits<T>(this->contracted(c, a, b), this->by_definition(c, a, b)))
          << n << " x " << columns;
    }
}

TYPED_TEST(CausalContraction, NeverTouchesWhatLiesAboveTheDiagonal) {
  using T = typename TypeParam::scalar;
  const Index n = 23;
  const Matrix<T> c = random<T>(n, 19, "c"), a = random<T>(n, n, "a"), b = random<T>(n, 19, "b");
  const Matrix<T> expected = this->contracted(c, a, b);
  for (const T bad : {std::numeric_limits<T>::infinity(), std::numeric_limits<T>::quiet_NaN()}) {
    Matrix<T> bad_above = a;
    for (Index i = 0; i < n; ++i) bad_above.row(i).tail(n - 1 - i).setConstant(bad);
    EXPECT_TRUE(same_bits<T>(this->contracted(c, bad_above, b), expected));
    for (Index term = 0; term < n; ++term) {
      Matrix<T> bad_term = b;
      bad_term.row(term).setConstant(bad);
      const Matrix<T> result = this->contracted(c, a, bad_term);
      for (Index i = 0; i < n; ++i)
        if (TypeParam::contraction::transposed ? i <= term : i >= term)
          EXPECT_FALSE(result.row(i).array().isFinite().any()) << i << " of " << term;
        else
          EXPECT_TRUE(same_bits<T>(result.row(i), expected.row(i))) << i << " of " << term;
    }
  }
}

TYPED_TEST(CausalContraction, DoesNotDependOnTilingOrAddress) {
  using T = typename TypeParam::scalar;
  const Index n = 23, columns = 45;
  const Matrix<T> c = random<T>(n, columns, "c"), a = random<T>(n, n, "a"),
                  b = random<T>(n, columns, "b");
  const Matrix<T> expected = this->contracted(c, a, b);
  for (const Index tile : {1, 3, 16, 33}) {
    Matrix<T> tiled = c;
    for (Index j = 0; j < columns; j += tile) {
      const Index width = std::min(tile, columns - j);
      TypeParam::contraction::template add<T>(tiled.middleCols(j, width), a,
                                              b.middleCols(j, width));
    }
    EXPECT_TRUE(same_bits<T>(tiled, expected)) << tile;
  }
  for (Index shift = 0; shift < 17; ++shift)
    for (const Index gap : {0, 1, 5}) {
      Shifted<T> own(c, shift, gap), left(a, (shift * 3) % 17, gap),
          right(b, (shift * 5) % 17, gap);
      TypeParam::contraction::template add<T>(*own, *left, *right);
      ASSERT_TRUE(same_bits<T>(*own, expected)) << "by " << shift << ", rows apart by " << gap;
    }
}

// ---- the inner product

template <class T>
class InnerProduct : public testing::Test {};
using Scalars = testing::Types<double, float, long double>;
TYPED_TEST_SUITE(InnerProduct, Scalars);

TYPED_TEST(InnerProduct, IsExactInIntegers) {
  using T = TypeParam;
  const auto integers = [](Index rows, Index columns, std::string_view name) -> Matrix<T> {
    return random<T>(rows, columns, name).unaryExpr([](T x) { return std::floor(4 * x); });
  };
  for (const Index rows : {0, 1, 2, 7, 8, 9, 16, 17, 24, 37, 64, 70})
    for (Index columns = 0; columns <= 70; ++columns) {
      const Matrix<T> a = integers(rows, columns, "a"), b = integers(rows, columns, "b");
      T total = 0;
      for (Index i = 0; i < a.size(); ++i) total += a.data()[i] * b.data()[i];
      ASSERT_EQ(inner_product<T>(a, b), total) << rows << " x " << columns;
    }
}

// Terms of one sign, for which the errors of a serial chain would add up.
TYPED_TEST(InnerProduct, ErrsByTheDepthOfItsTree) {
  using T = TypeParam;
  const T unit = std::numeric_limits<T>::epsilon() / 2;
  for (const auto& [rows, columns] : {std::array{128, 128}, {1000, 7}, {7, 1000}, {300, 50}}) {
    const Matrix<T> a = random<T>(rows, columns, "a").cwiseAbs(),
                    b = random<T>(rows, columns, "b").cwiseAbs();
    TwoFloat<long double> sum;
    for (Index i = 0; i < a.size(); ++i)
      sum += static_cast<long double>(a.data()[i]) * static_cast<long double>(b.data()[i]);
    const long double total = sum.high;
    // Chains of up to 8 rows, then halves of rows and of columns; one for the products above.
    const auto levels = [](Index n) { return std::ceil(std::log2(static_cast<T>(n))); };
    const T roundings = 8 + levels(rows) + levels(columns) + 1;
    EXPECT_LE(std::abs(static_cast<long double>(inner_product<T>(a, b)) - total),
              roundings * unit * total)
        << rows << " x " << columns;
  }
}

TYPED_TEST(InnerProduct, DoesNotDependOnTheAddress) {
  using T = TypeParam;
  const Matrix<T> a = random<T>(24, 37, "a"), b = random<T>(24, 37, "b");
  const T expected = inner_product<T>(a, b);
  for (Index shift = 0; shift < 17; ++shift)
    for (const Index gap : {0, 1, 5}) {
      Shifted<T> left(a, shift, gap), right(b, (shift * 3) % 17, 2 * gap);
      ASSERT_EQ(inner_product<T>(*left, *right), expected)
          << "moved by " << shift << ", rows apart by " << gap;
    }
}

TYPED_TEST(InnerProduct, OfBlocksIsThatOfTheirCopies) {
  using T = TypeParam;
  const Matrix<T> a = random<T>(24, 37, "a"), b = random<T>(24, 37, "b");
  const Matrix<T> left = a.block(3, 5, 17, 20), right = b.block(1, 2, 17, 20);
  EXPECT_EQ(inner_product<T>(a.block(3, 5, 17, 20), b.block(1, 2, 17, 20)),
            inner_product<T>(left, right));
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
