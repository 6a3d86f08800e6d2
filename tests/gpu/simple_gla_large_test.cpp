// Tensors of simple_gla with more than 2^31 elements: tokens, heads and states beyond what 32 bits
// count are read and written where they are.
//
// The first head of the first sequence and the last head of the last are judged by the oracle, for
// which the host makes just these heads again. An error is judged against the root mean square of a
// head; the limits:
//
//   2^-8   the operands of a product, and what is written, are rounded to bf16: 1.7e-3 (2^-9.2) of
//          the root mean square each, at most four independent times
//   2^-9   the same once, of what fp32 arithmetic writes in bf16
//   2^-18  fp32: some hundred roundings of 2^-25 that add like a random walk, tenfold
//   2^-6   dg in bf16: sums of up to 256 differences of dot products, each off by 3e-4 of dg
//
// Beside a row that is read or written elsewhere, whose error is about 1, all of them are small.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"
#include "reference/simple_gla/backward.hpp"
#include "tests/gpu/buffers.hpp"
#include "tests/gpu/far_slot.hpp"
#include "tests/gpu/simple_gla_problem.hpp"

namespace groundstate::gpu::simple_gla {
namespace {

constexpr Options options{0.1};
constexpr double bf16_products = 0x1p-8, bf16_results = 0x1p-9, fp32 = 0x1p-18,
                 bf16_gate_gradient = 0x1p-6;

struct Case {
  const char* name;
  ElementType type;
  Sizes sizes;
  double gigabytes;  // all tensors and the largest workspace
};

// 66000 * 256 * 128 and 520 * 256 * 128 * 128 are somewhat more than 2^31.
constexpr Sizes many_tokens{1, 66'000, 256, 128, 128, false},
    many_tokens_heads_first{1, 66'000, 256, 128, 128, false, true},
    many_states{520, 40, 256, 128, 128, false};

// ---- one head on the host

struct Sample {
  Index sequence, head;
};
std::vector<Sample> samples(const Sizes& n) { return {{0, 0}, {n.batch - 1, n.heads - 1}}; }

template <class T, class HeadAxis, class Column>
Matrix<double> tokens(const DeviceView<T, Batch, Time, HeadAxis, Column>& x, std::string_view name,
                      const Sample& at) {
  Matrix<double> rows(x.template extent<Time>(), x.template extent<Column>());
  parallel_for(rows.rows(), [&](Index t) {
    for (Index j = 0; j < rows.cols(); ++j)
      rows(t, j) = element(x.type(), name,
                           x.offset(Batch{at.sequence}, Time{t}, HeadAxis{at.head}, Column{j}));
  });
  return rows;
}

template <class T>
Matrix<double> state(const DeviceView<T, Sequence, ValueHead, Key, Value>& x, std::string_view name,
                     const Sample& at) {
  Matrix<double> result(x.template extent<Key>(), x.template extent<Value>());
  for (Index i = 0; i < result.rows(); ++i)
    for (Index j = 0; j < result.cols(); ++j)
      result(i, j) = element(x.type(), name,
                             x.offset(Sequence{at.sequence}, ValueHead{at.head}, Key{i}, Value{j}));
  return result;
}

// What the oracle takes; the forward reads its first half.
groundstate::simple_gla::BackwardProblem<double> on_host(const Problem& p, const Sample& at) {
  groundstate::simple_gla::BackwardProblem<double> r;
  const auto& x = p.x;
  r.q = tokens(x.query, "q", at);
  r.k = tokens(x.key, "k", at);
  r.v = tokens(x.value, "v", at);
  r.log_decay.resize(p.sizes().time);
  for (Index t = 0; t < p.sizes().time; ++t)
    r.log_decay[t] = static_cast<double>(
        gate("g", x.log_decay.offset(Batch{at.sequence}, Time{t}, ValueHead{at.head})));
  r.h0 = state(x.initial_state, "h0", at);
  r.scale = options.scale;
  if (x.output_gradient) {
    r.d_o = tokens(x.output_gradient, "do", at);
    r.dht = state(x.final_state_gradient, "dht", at);
  }
  return r;
}

// ---- one head from the device

// `rows` rows of `columns` elements, each `stride` elements behind the one before.
Matrix<double> download(ElementType type, const void* data, Index offset, Index rows, Index columns,
                        Index stride) {
  const std::size_t size = size_of(type), width = static_cast<std::size_t>(columns) * size;
  std::vector<std::byte> host(static_cast<std::size_t>(rows) * width);
  check(cudaMemcpy2D(host.data(), width,
                     static_cast<const std::byte*>(data) + static_cast<std::size_t>(offset) * size,
                     static_cast<std::size_t>(stride) * size, width, static_cast<std::size_t>(rows),
                     cudaMemcpyDeviceToHost));
  Matrix<double> result(rows, columns);
  for (Index i = 0; i < result.size(); ++i) result.data()[i] = load_element(type, host.data(), i);
  return result;
}
template <class HeadAxis, class Column>
Matrix<double> download(const DeviceView<Any, Batch, Time, HeadAxis, Column>& x, const Sample& at) {
  return download(
      x.type(), x.data(), x.offset(Batch{at.sequence}, Time{0}, HeadAxis{at.head}, Column{0}),
      x.template extent<Time>(), x.template extent<Column>(), x.template stride<Time>());
}
Matrix<double> download(const DeviceView<Any, Batch, Time, ValueHead>& x, const Sample& at) {
  return download(x.type(), x.data(), x.offset(Batch{at.sequence}, Time{0}, ValueHead{at.head}),
                  x.extent<Time>(), 1, x.stride<Time>());
}
Matrix<double> download(const DeviceView<Any, Sequence, ValueHead, Key, Value>& x,
                        const Sample& at) {
  return download(x.type(), x.data(),
                  x.offset(Sequence{at.sequence}, ValueHead{at.head}, Key{0}, Value{0}),
                  x.extent<Key>(), x.extent<Value>(), x.stride<Key>());
}

// No element is off by more than 16 limits; a NaN is.
void expect_close(const char* name, const Matrix<double>& got, const Matrix<double>& right,
                  double limit) {
  const double rms = std::sqrt(right.squaredNorm() / static_cast<double>(right.size()));
  const double error = std::sqrt((got - right).squaredNorm() / static_cast<double>(right.size()));
  EXPECT_TRUE(error <= limit * rms) << name << ": " << error / rms << " of its root mean square";
  Index wrong = 0, first = 0;
  for (Index i = right.size() - 1; i >= 0; --i) {
    const double r = right.data()[i];
    if (std::abs(got.data()[i] - r) <= 16 * limit * (rms + std::abs(r))) continue;
    ++wrong;
    first = i;
  }
  EXPECT_EQ(wrong, 0) << name << ": the first is in row " << first / right.cols() << ", column "
                      << first % right.cols() << ": " << got.data()[first] << " instead of "
                      << right.data()[first];
}

// ---- the paths

class Large : public testing::TestWithParam<Case> {
  void SetUp() override {
    if (!device_name()) GTEST_SKIP() << "no device";
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total));
    const double gigabytes = 1e-9 * static_cast<double>(free);
    if (gigabytes < GetParam().gigabytes)
      GTEST_SKIP() << "needs " << GetParam().gigabytes << " GB of device memory, " << gigabytes
                   << " are free";
  }
};

// Runs on results that are NaN and a workspace of its own.
void run(const Problem& p, std::size_t workspace_bytes,
         const std::function<void(const Launch&)>& path) {
  for (const Buffer& result : p.results()) check(cudaMemset(result.data(), 0xff, result.size()));
  const Buffer workspace("the workspace", workspace_bytes);
  path({{}, workspace.data(), workspace.size()});
  for (const Buffer& result : p.results()) EXPECT_EQ(result.violation(), std::nullopt);
  EXPECT_EQ(workspace.violation(), std::nullopt);
}

template <class View>
Index elements(const View& x) {
  Index product = 1;
  for (const Index extent : x.extents()) product *= extent;
  return product;
}

class LargeForward : public Large {};

TEST_P(LargeForward, ReadsAndWritesWhatLiesBeyond31Bits) {
  const ElementType type = GetParam().type;
  const Sizes& sizes = GetParam().sizes;
  const Problem p(sizes, type, Direction::forward);
  ASSERT_GT(std::max(elements(p.y.output), elements(p.y.final_state)), Index{1} << 31);
  std::vector<groundstate::simple_gla::Result<double>> oracle;
  for (const Sample& at : samples(sizes))
    oracle.push_back(groundstate::simple_gla::recurrent<Exact>(on_host(p, at)));
  const auto judge = [&](double of_output, double of_state) {
    for (std::size_t i = 0; i < oracle.size(); ++i) {
      const Sample at = samples(sizes)[i];
      SCOPED_TRACE("sequence " + std::to_string(at.sequence) + ", head " + std::to_string(at.head));
      expect_close("o", download(p.y.output, at), oracle[i].o, of_output);
      expect_close("ht", download(p.y.final_state, at), oracle[i].ht, of_state);
    }
  };
  const bool single = type == ElementType::float32;
  const double products = single ? fp32 : bf16_products, results = single ? fp32 : bf16_results;
  for (const Index segments : {1, 3}) {
    SCOPED_TRACE("gpu.fused, segments: " + std::to_string(segments));
    const FusedForm form{4, 0, segments};
    run(p, fused_workspace(p.x, p.y, form),
        [&](const Launch& launch) { fused(p.x, options, p.y, form, launch); });
    judge(products, products);
  }
  {
    SCOPED_TRACE("gpu.recurrent");
    run(p, recurrent_workspace(p.x, p.y),
        [&](const Launch& launch) { recurrent(p.x, options, p.y, launch); });
    judge(results, fp32);
  }
  {
    SCOPED_TRACE("gpu.step");  // the pool is ht, and was h0
    run(p, step_workspace(without_state(p.x), pool_of(p.y.final_state)), [&](const Launch& launch) {
      check(cudaMemcpy(p.y.final_state.data(), p.x.initial_state.data(),
                       static_cast<std::size_t>(elements(p.y.final_state)) * sizeof(float),
                       cudaMemcpyDeviceToDevice));
      step(without_state(p.x), pool_of(p.y.final_state), {}, options, p.y.output, launch);
    });
    judge(results, fp32);
  }
}

INSTANTIATE_TEST_SUITE_P(
    , LargeForward,
    testing::Values(Case{"tokens_bf16", ElementType::bfloat16, many_tokens, 18},
                    Case{"heads_first_bf16", ElementType::bfloat16, many_tokens_heads_first, 18},
                    Case{"states_bf16", ElementType::bfloat16, many_states, 50},
                    Case{"tokens_fp32", ElementType::float32, many_tokens, 35},
                    Case{"heads_first_fp32", ElementType::float32, many_tokens_heads_first, 35},
                    Case{"states_fp32", ElementType::float32, many_states, 55}),
    [](const auto& c) { return std::string(c.param.name); });

class LargeBackward : public Large {};

TEST_P(LargeBackward, ReadsAndWritesWhatLiesBeyond31Bits) {
  const Sizes& sizes = GetParam().sizes;
  const Problem p(sizes, GetParam().type, Direction::backward);
  ASSERT_GT(std::max(elements(p.dy.query), elements(p.dy.initial_state)), Index{1} << 31);
  std::vector<groundstate::simple_gla::Gradients<double>> oracle;
  for (const Sample& at : samples(sizes))
    oracle.push_back(groundstate::simple_gla::backward<Exact>(on_host(p, at)));
  const auto judge = [&](double of_results, double of_state, double of_gates) {
    for (std::size_t i = 0; i < oracle.size(); ++i) {
      const Sample at = samples(sizes)[i];
      SCOPED_TRACE("sequence " + std::to_string(at.sequence) + ", head " + std::to_string(at.head));
      expect_close("dq", download(p.dy.query, at), oracle[i].dq, of_results);
      expect_close("dk", download(p.dy.key, at), oracle[i].dk, of_results);
      expect_close("dv", download(p.dy.value, at), oracle[i].dv, of_results);
      expect_close("dg", download(p.dy.log_decay, at), oracle[i].dg, of_gates);
      expect_close("dh0", download(p.dy.initial_state, at), oracle[i].dh0, of_state);
    }
  };
  for (const Index dg_chunks : {1, 4}) {
    SCOPED_TRACE("gpu.fused, dg_chunks: " + std::to_string(dg_chunks));
    const FusedBackwardForm form{4, 0, dg_chunks};
    run(p, fused_backward_workspace(p.x, p.dy, form),
        [&](const Launch& launch) { fused_backward(p.x, options, p.dy, form, launch); });
    judge(bf16_products, bf16_products, bf16_gate_gradient);
  }
  {
    SCOPED_TRACE("gpu.chunked");
    run(p, chunked_backward_workspace(p.x, p.dy, {}),
        [&](const Launch& launch) { chunked_backward(p.x, options, p.dy, {}, launch); });
    judge(bf16_products, bf16_products, bf16_gate_gradient);
  }
  {
    SCOPED_TRACE("gpu.recurrent");
    run(p, recurrent_backward_workspace(p.x, p.dy),
        [&](const Launch& launch) { recurrent_backward(p.x, options, p.dy, launch); });
    judge(bf16_results, fp32, fp32);
  }
}

INSTANTIATE_TEST_SUITE_P(
    , LargeBackward,
    testing::Values(Case{"tokens_bf16", ElementType::bfloat16, many_tokens, 66},
                    Case{"heads_first_bf16", ElementType::bfloat16, many_tokens_heads_first, 66},
                    Case{"states_bf16", ElementType::bfloat16, many_states, 58}),
    [](const auto& c) { return std::string(c.param.name); });

// ---- a slot far behind another

class LargePool : public testing::TestWithParam<ElementType> {
  void SetUp() override {
    if (!device_name()) GTEST_SKIP() << "no device";
  }
};

// A slot behind 2^31 elements gets the bits of the same one in a dense pool: one token by way of
// registers, several through shared memory.
TEST_P(LargePool, OffsetsBeyond2To31ElementsReachTheirSlot) {
  const ElementType type = GetParam();
  for (const Index time : {1, 4}) {
    SCOPED_TRACE("T = " + std::to_string(time));
    const Problem p({1, time, 4, 128, 128, false}, ElementType::bfloat16, Direction::forward);
    const auto& extents = p.y.final_state.extents();
    const Index slot = elements(p.y.final_state);
    const Buffer& o = p.results().front();
    expect_a_far_slot_gets_the_same_bits(
        type, slot, [&](std::byte* pool, const FarPlace& at, std::vector<std::byte>& output) {
          const Buffer named = uploaded("slots", std::vector{static_cast<std::int32_t>(at.slot)});
          check(cudaMemset(o.data(), 0xff, o.size()));
          auto strides = p.y.final_state.strides();
          strides[0] = at.stride;
          step(without_state(p.x),
               {type, pool, {slots_to_far, extents[1], extents[2], extents[3]}, strides},
               {reinterpret_cast<const std::int32_t*>(named.data()), {1}}, options, p.y.output, {});
          output = bytes_of(o);
        });
  }
}

INSTANTIATE_TEST_SUITE_P(, LargePool,
                         testing::Values(ElementType::float32, ElementType::bfloat16,
                                         ElementType::float16),
                         [](const auto& type) { return std::string(name_of(type.param)); });

}  // namespace
}  // namespace groundstate::gpu::simple_gla
