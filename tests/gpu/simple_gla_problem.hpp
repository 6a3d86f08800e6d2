// A problem of simple_gla in device memory: random inputs, and room for results that starts as NaN.
//
// An input is a function of its name and of where an element lies in memory, so the host can make
// any part of it again (element(), gate()).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gpu/core/buffer.hpp"
#include "gpu/core/generate.hpp"
#include "gpu/simple_gla/simple_gla.hpp"
#include "reference/core/philox.hpp"

namespace groundstate::gpu::simple_gla {

enum class Direction { forward, backward };

struct Sizes {
  Index batch, time, heads, key, value;
  bool constant_gate;        // g_gamma and dg_gamma
  bool heads_first = false;  // the order in memory: [B, H, T, K] instead of [B, T, H, K]
};

inline constexpr std::uint64_t seed = 7;

// Element i of q, k, v, do, h0 and dht.
inline double element(ElementType type, std::string_view name, Index i) {
  const double x = RandomStream(seed, name).normal(static_cast<std::uint64_t>(i));
  return type == ElementType::bfloat16 ? static_cast<double>(bf16(x))
                                       : static_cast<double>(static_cast<float>(x));
}

// Element i of g and g_gamma: a state is remembered for some hundred tokens.
inline float gate(std::string_view name, Index i) {
  return static_cast<float>(-0.02 *
                            RandomStream(seed, name).uniform(static_cast<std::uint64_t>(i), 0));
}

// What gpu.step takes: a problem without h0, and the memory of a state as a pool of one slot for
// each sequence.
inline DeviceInputs without_state(DeviceInputs x) {
  x.initial_state = {};
  return x;
}
inline DevicePool pool_of(const DeviceView<Any, Sequence, ValueHead, Key, Value>& state) {
  return {state.type(), state.data(), state.extents(), state.strides()};
}

class Problem {
 public:
  // bf16 or fp32. Results are those of the direction: o and ht, or gradients.
  Problem(const Sizes& sizes, ElementType type, Direction direction) : n_(sizes), type_(type) {
    const bool backward = direction == Direction::backward;
    x.query = random<decltype(x.query)>("q", tokens(n_.key));
    x.key = random<decltype(x.key)>("k", tokens(n_.key));
    x.value = random<decltype(x.value)>("v", tokens(n_.value));
    x.log_decay = gates<decltype(x.log_decay)>("g", {n_.batch, n_.time, n_.heads});
    if (n_.constant_gate)
      x.constant_log_decay = gates<decltype(x.constant_log_decay)>("g_gamma", {n_.heads});
    x.initial_state = random<decltype(x.initial_state)>("h0", states());
    if (backward) {
      x.output_gradient = random<decltype(x.output_gradient)>("do", tokens(n_.value));
      x.final_state_gradient = random<decltype(x.final_state_gradient)>("dht", states());
      dy.query = result<decltype(dy.query)>("dq", tokens(n_.key));
      dy.key = result<decltype(dy.key)>("dk", tokens(n_.key));
      dy.value = result<decltype(dy.value)>("dv", tokens(n_.value));
      dy.log_decay =
          result<decltype(dy.log_decay)>("dg", row_major(std::array{n_.batch, n_.time, n_.heads}));
      if (n_.constant_gate)
        dy.constant_log_decay =
            result<decltype(dy.constant_log_decay)>("dg_gamma", row_major(std::array{n_.heads}));
      dy.initial_state = result<decltype(dy.initial_state)>("dh0", states());
    } else {
      y.output = result<decltype(y.output)>("o", tokens(n_.value));
      y.final_state = result<decltype(y.final_state)>("ht", states());
    }
    synchronize();  // other streams do not wait for the default one
  }
  const Sizes& sizes() const { return n_; }
  const std::vector<Buffer>& results() const { return results_; }

  DeviceBackwardInputs x;
  DeviceOutputs y;
  DeviceBackwardOutputs dy;

 private:
  template <std::size_t rank>
  struct Extents {
    std::array<Index, rank> extents, strides;
    ElementType type;
    Index elements() const {
      Index product = 1;
      for (const Index extent : extents) product *= extent;
      return product;
    }
  };
  Extents<4> tokens(Index columns) const {
    const std::array extents{n_.batch, n_.time, n_.heads, columns};
    if (!n_.heads_first) return {extents, row_major_strides(extents), type_};
    return {extents, {n_.heads * n_.time * columns, columns, n_.time * columns, 1}, type_};
  }
  template <std::size_t rank>
  static Extents<rank> row_major(const std::array<Index, rank>& extents) {
    return {extents, row_major_strides(extents), ElementType::float32};
  }
  Extents<4> states() const { return row_major(std::array{n_.batch, n_.heads, n_.key, n_.value}); }

  template <class View, std::size_t rank>
  static View on(std::vector<Buffer>& buffers, const char* name, const Extents<rank>& e) {
    buffers.emplace_back(name, static_cast<std::size_t>(e.elements()) * size_of(e.type));
    return {e.type, buffers.back().data(), e.extents, e.strides};
  }
  template <class View, std::size_t rank>
  View result(const char* name, const Extents<rank>& e) {
    return on<View>(results_, name, e);
  }
  template <class View>
  View random(const char* name, const Extents<4>& e) {
    const View view = on<View>(inputs_, name, e);
    std::byte* const data = inputs_.back().data();
    if (e.type == ElementType::bfloat16)
      fill_normal<bf16>({reinterpret_cast<bf16*>(data), {e.elements()}}, seed, name);
    else
      fill_normal<float>({reinterpret_cast<float*>(data), {e.elements()}}, seed, name);
    return view;
  }
  template <class View>
  View gates(const char* name, const typename View::Extents& extents) {
    const View view = on<View>(inputs_, name, row_major(extents));
    const Buffer& buffer = inputs_.back();
    std::vector<float> host(buffer.size() / sizeof(float));
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = gate(name, static_cast<Index>(i));
    buffer.upload(host.data(), buffer.size());
    return view;
  }

  Sizes n_;
  ElementType type_;
  std::vector<Buffer> inputs_, results_;
};

}  // namespace groundstate::gpu::simple_gla
