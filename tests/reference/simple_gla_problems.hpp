// Problems of the backward of simple_gla made of random numbers, for the tests beside it. One
// sequence and value head; no tensors, no harness.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "reference/core/philox.hpp"
#include "reference/simple_gla/fused_backward.hpp"
#include "reference/simple_gla/segmented_backward.hpp"

namespace groundstate::simple_gla {

inline constexpr double infinity = std::numeric_limits<double>::infinity();

inline Matrix<double> random(Index rows, Index columns, std::string_view name,
                             std::uint64_t seed = 5) {
  const RandomStream stream(seed, name);
  Matrix<double> result(rows, columns);
  for (Index i = 0; i < result.size(); ++i)
    result.data()[i] = stream.normal(static_cast<std::uint64_t>(i));
  return result;
}

// ---- gates

struct Gates {
  const char* name;
  double (*log_decay)(Index t, double normal, double uniform);
};
inline double log_sigmoid(double x) { return -std::log1p(std::exp(-x)); }

inline constexpr std::array gates{
    Gates{"open", [](Index, double, double) { return 0.0; }},
    Gates{"normal", [](Index, double x, double) { return log_sigmoid(x); }},
    Gates{"slow", [](Index, double, double u) { return -0.01 * u; }},
    Gates{"fast", [](Index, double, double u) { return -5 * u; }},
    Gates{"growth", [](Index, double, double u) { return 0.2 * u; }},
    Gates{"dense", [](Index, double, double u) { return -200 * u; }},
    Gates{"reset by -1e4",
          [](Index t, double x, double) { return t % 8 == 3 ? -1e4 : log_sigmoid(x); }},
    Gates{"reset by -1e6",
          [](Index t, double x, double) { return t % 8 == 3 ? -1e6 : log_sigmoid(x); }},
    Gates{"reset by -infinity",
          [](Index t, double x, double) { return t % 8 == 3 ? -infinity : log_sigmoid(x); }},
    Gates{"closed", [](Index, double, double) { return -infinity; }},
};
inline const Gates& gates_named(std::string_view name) {
  return *std::find_if(gates.begin(), gates.end(), [&](const Gates& g) { return g.name == name; });
}

inline Vector<double> log_decays(Index time, const Gates& regime, std::uint64_t seed = 5) {
  const RandomStream stream(seed, "g");
  Vector<double> result(time);
  for (Index t = 0; t < time; ++t) {
    const auto i = static_cast<std::uint64_t>(t);
    result[t] = regime.log_decay(t, stream.normal(i, 0), stream.uniform(i, 1));
  }
  return result;
}

// ---- problems

inline BackwardProblem<double> random_problem(Index time, Index key, Index value,
                                              const Gates& regime = gates_named("normal"),
                                              std::uint64_t seed = 5) {
  return {{random(time, key, "q", seed), random(time, key, "k", seed),
           random(time, value, "v", seed), log_decays(time, regime, seed),
           random(key, value, "h0", seed), 1 / std::sqrt(static_cast<double>(key))},
          random(time, value, "do", seed),
          random(key, value, "dht", seed)};
}

// Every element of every input but the gates by `convert`.
template <class Scalar, class Convert>
BackwardProblem<Scalar> converted(const BackwardProblem<double>& p, const Convert& convert) {
  return {
      {p.q.unaryExpr(convert), p.k.unaryExpr(convert), p.v.unaryExpr(convert),
       p.log_decay.template cast<Scalar>(), p.h0.unaryExpr(convert), Scalar(p.scale), p.gate_sum},
      p.d_o.unaryExpr(convert),
      p.dht.unaryExpr(convert)};
}
template <class Scalar>
BackwardProblem<Scalar> as(const BackwardProblem<double>& p) {
  return converted<Scalar>(p, [](double x) { return static_cast<Scalar>(x); });
}
// Its results bound every partial sum of the same computation on p.
inline BackwardProblem<double> sizes(const BackwardProblem<double>& p) {
  return converted<double>(p, [](double x) { return std::abs(x); });
}
// Integers from -3 to 3 and a scale of 1/4: with factors of 0 and 1 every sum is exact in any
// order.
inline BackwardProblem<double> integer_problem(Index time, Index key, Index value) {
  BackwardProblem<double> p = converted<double>(
      random_problem(time, key, value), [](double x) { return std::fmod(std::floor(8 * x), 4.0); });
  for (Index t = 0; t < time; ++t) p.log_decay[t] = t % 11 != 5 ? 0 : t % 2 == 0 ? -infinity : -1e6;
  p.scale = 0.25;
  return p;
}

// ---- the forms of the backward

template <class Recipe>
using Form = std::function<Gradients<ScalarOf<Recipe>>(const BackwardProblem<ScalarOf<Recipe>>& p)>;
template <class Recipe>
struct NamedForm {
  std::string name;
  Form<Recipe> compute;
};

// Cut into several chunks and segments already by short sequences when `chunk` is small.
template <class Recipe>
std::vector<NamedForm<Recipe>> chunk_forms(Index chunk) {
  using P = const BackwardProblem<ScalarOf<Recipe>>&;
  std::vector<NamedForm<Recipe>> forms{
      {"chunked", [=](P p) { return chunked_backward<Recipe>(p, {chunk}); }},
      {"fused", [=](P p) { return fused_backward<Recipe>(p, {chunk}); }}};
  for (const Index segments : {1, 2, 3, 7})
    forms.push_back({"in segments: " + std::to_string(segments),
                     [=](P p) { return segmented_backward<Recipe>(p, segments, {chunk}); }});
  for (NamedForm<Recipe>& form : forms) form.name += " by " + std::to_string(chunk);
  return forms;
}
template <class Recipe>
Gradients<ScalarOf<Recipe>> global_backward(const BackwardProblem<ScalarOf<Recipe>>& p,
                                            Index chunk) {
  return chunked_backward<Recipe>(p, {chunk, StateStorage::accumulator, GateGradient::global});
}
template <class Recipe>
std::vector<NamedForm<Recipe>> every_form(Index chunk) {
  using P = const BackwardProblem<ScalarOf<Recipe>>&;
  std::vector<NamedForm<Recipe>> forms = chunk_forms<Recipe>(chunk);
  forms.push_back({"sequential", [](P p) { return backward<Recipe>(p); }});
  forms.push_back({"global", [=](P p) { return global_backward<Recipe>(p, chunk); }});
  return forms;
}

// ---- gradients

// The six tensors as named vectors, which share the memory of the gradients.
template <class Gradients>
auto tensors(Gradients& r) {
  using Scalar = std::remove_cvref_t<decltype(r.dg_gamma)>;
  using Elements =
      std::conditional_t<std::is_const_v<Gradients>, const Vector<Scalar>, Vector<Scalar>>;
  using Map = Eigen::Map<Elements>;
  struct Named {
    std::string_view name;
    Map elements;
  };
  return std::array{
      Named{"dq", Map(r.dq.data(), r.dq.size())}, Named{"dk", Map(r.dk.data(), r.dk.size())},
      Named{"dv", Map(r.dv.data(), r.dv.size())}, Named{"dg", Map(r.dg.data(), r.dg.size())},
      Named{"dg_gamma", Map(&r.dg_gamma, 1)},     Named{"dh0", Map(r.dh0.data(), r.dh0.size())}};
}

template <class Scalar>
bool all_finite(const Gradients<Scalar>& r) {
  for (const auto& tensor : tensors(r))
    if (!tensor.elements.allFinite()) return false;
  return true;
}

// The names of the tensors that differ in a bit.
template <class Scalar>
std::string differing(const Gradients<Scalar>& a, const Gradients<Scalar>& b) {
  std::string names;
  for (std::size_t i = 0; i < 6; ++i) {
    const auto x = tensors(a)[i], y = tensors(b)[i];
    const auto bytes = static_cast<std::size_t>(x.elements.size()) * sizeof(Scalar);
    const bool same = x.elements.size() == y.elements.size() &&
                      (bytes == 0 || std::memcmp(x.elements.data(), y.elements.data(), bytes) == 0);
    if (!same) names += std::string(names.empty() ? "" : " ") + std::string(x.name);
  }
  return names;
}

}  // namespace groundstate::simple_gla
