// Whole tensors of the backward of simple_gla, and what its forms make of them, for the tests
// beside it.
#pragma once

#include <cstdint>
#include <utility>

#include "tests/reference/simple_gla_problems.hpp"

namespace groundstate::simple_gla {

inline constexpr Options options{0.5};

// ---- tensors

struct Sizes {
  Index batch, time, heads, value_heads;
  std::vector<Index> lengths = {};  // of packed sequences
  Index keys = 5, values = 11;
  Index sequences() const { return lengths.empty() ? batch : static_cast<Index>(lengths.size()); }
};

// Dense tensors in the declared order, of one type.
template <class T>
struct Case {
  explicit Case(const Sizes& sizes)
      : n(sizes),
        q(normal("q", n.batch * n.time * n.heads * n.keys)),
        k(normal("k", n.batch * n.time * n.heads * n.keys)),
        v(normal("v", n.batch * n.time * n.value_heads * n.values)),
        g(normal("g", n.batch * n.time * n.value_heads)),
        g_gamma(normal("g_gamma", n.value_heads)),
        h0(normal("h0", n.sequences() * n.value_heads * n.keys * n.values)),
        d_o(normal("do", n.batch * n.time * n.value_heads * n.values)),
        dht(normal("dht", n.sequences() * n.value_heads * n.keys * n.values)) {
    for (T& x : g) x = T(-std::abs(static_cast<double>(x)));
    for (T& x : g_gamma) x = T(0.1 * static_cast<double>(x));
    if (!n.lengths.empty()) offsets = {0};
    for (const Index length : n.lengths) offsets.push_back(offsets.back() + length);
  }
  static std::vector<T> normal(std::string_view name, Index count) {
    const Matrix<double> values = random(count, 1, name);
    std::vector<T> result;
    for (Index i = 0; i < count; ++i) result.push_back(T(values(i, 0)));
    return result;
  }

  HostBackwardInputs inputs() const {
    HostBackwardInputs x;
    const std::array keys{n.batch, n.time, n.heads, n.keys},
        values{n.batch, n.time, n.value_heads, n.values};
    const std::array states{n.sequences(), n.value_heads, n.keys, n.values};
    x.query = HostView<const T, Batch, Time, Head, Key>(q.data(), keys);
    x.key = HostView<const T, Batch, Time, Head, Key>(k.data(), keys);
    x.value = HostView<const T, Batch, Time, ValueHead, Value>(v.data(), values);
    x.log_decay =
        HostView<const T, Batch, Time, ValueHead>(g.data(), {n.batch, n.time, n.value_heads});
    x.constant_log_decay = HostView<const T, ValueHead>(g_gamma.data(), {n.value_heads});
    x.initial_state = HostView<const T, Sequence, ValueHead, Key, Value>(h0.data(), states);
    if (!n.lengths.empty())
      x.offsets = HostView<const std::int64_t, Offset>(
          offsets.data(), std::array{static_cast<Index>(offsets.size())});
    x.output_gradient = HostView<const T, Batch, Time, ValueHead, Value>(d_o.data(), values);
    x.final_state_gradient = HostView<const T, Sequence, ValueHead, Key, Value>(dht.data(), states);
    return x;
  }

  // One packed sequence as a batch of one.
  Case alone(Index sequence) const {
    const Index begin = offsets[static_cast<std::size_t>(sequence)],
                length = n.lengths[static_cast<std::size_t>(sequence)];
    Case r = *this;
    r.n.lengths.clear();
    r.n.time = length;
    const auto part = [](std::vector<T>& x, Index first, Index count) {
      x = std::vector<T>(x.begin() + first, x.begin() + first + count);
    };
    for (std::vector<T>* x : {&r.q, &r.k, &r.v, &r.d_o, &r.g}) {
      const Index row = n.time == 0 ? 0 : static_cast<Index>(x->size()) / n.time;
      part(*x, begin * row, length * row);
    }
    for (std::vector<T>* x : {&r.h0, &r.dht}) {
      const Index row = static_cast<Index>(x->size()) / n.sequences();
      part(*x, sequence * row, row);
    }
    return r;
  }

  Sizes n;
  std::vector<T> q, k, v, g, g_gamma, h0, d_o, dht;
  std::vector<std::int64_t> offsets;
};

// What for_each_problem writes, over whatever was there.
template <class T>
struct Output {
  explicit Output(const Sizes& sizes, double filler = 0)
      : n(sizes),
        dq(static_cast<std::size_t>(n.batch * n.time * n.heads * n.keys), T(filler)),
        dk(dq),
        dv(static_cast<std::size_t>(n.batch * n.time * n.value_heads * n.values), T(filler)),
        dg(static_cast<std::size_t>(n.batch * n.time * n.value_heads), T(filler)),
        dg_gamma(static_cast<std::size_t>(n.value_heads), T(filler)),
        dh0(static_cast<std::size_t>(n.sequences() * n.value_heads * n.keys * n.values),
            T(filler)) {}

  HostBackwardOutputs views() {
    const std::array keys{n.batch, n.time, n.heads, n.keys};
    return {HostView<T, Batch, Time, Head, Key>(dq.data(), keys),
            HostView<T, Batch, Time, Head, Key>(dk.data(), keys),
            HostView<T, Batch, Time, ValueHead, Value>(dv.data(),
                                                       {n.batch, n.time, n.value_heads, n.values}),
            HostView<T, Batch, Time, ValueHead>(dg.data(), {n.batch, n.time, n.value_heads}),
            HostView<T, ValueHead>(dg_gamma.data(), {n.value_heads}),
            HostView<T, Sequence, ValueHead, Key, Value>(
                dh0.data(), {n.sequences(), n.value_heads, n.keys, n.values})};
  }
  auto tensors() {
    return std::array<std::pair<const char*, std::vector<T>*>, 6>{{{"dq", &dq},
                                                                   {"dk", &dk},
                                                                   {"dv", &dv},
                                                                   {"dg", &dg},
                                                                   {"dg_gamma", &dg_gamma},
                                                                   {"dh0", &dh0}}};
  }

  Sizes n;
  std::vector<T> dq, dk, dv, dg, dg_gamma, dh0;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
template <class T>
std::string differing(Output<T> a, Output<T> b) {
  std::string names;
  for (std::size_t i = 0; i < 6; ++i)
    if (!same_bits(*a.tensors()[i].second, *b.tensors()[i].second))
      names += std::string(" ") + a.tensors()[i].first;
  return names;
}

// ---- paths

struct Path {
  std::string name;
  std::function<void(const HostBackwardInputs&, const Options&, const HostBackwardOutputs&)> run;
};
// Every form with chunks of 16 by recipes of three precisions.
inline const std::vector<Path>& paths() {
  static const std::vector<Path> all = [] {
    std::vector<Path> result;
    const auto add = [&]<class Recipe>(Recipe, const std::string& recipe) {
      for (const NamedForm<Recipe>& form : every_form<Recipe>(16))
        result.push_back({form.name + ", " + recipe,
                          [compute = form.compute](const auto& x, const auto& o, const auto& y) {
                            for_each_problem<ScalarOf<Recipe>>(x, o, y, compute);
                          }});
    };
    add(Exact{}, "exact");
    add(Single{}, "single");
    add(TensorCore{}, "bf16");
    return result;
  }();
  return all;
}

template <class T>
Output<T> run(const Path& path, const Case<T>& c, const Options& o = options,
              double filler = std::numeric_limits<double>::quiet_NaN()) {
  Output<T> y(c.n, filler);
  path.run(c.inputs(), o, y.views());
  return y;
}

}  // namespace groundstate::simple_gla
