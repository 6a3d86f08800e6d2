// Rounding profiles of other libraries' kernels (reference/simple_gla/profiles.hpp).
//
// Each kernel is written down here once more, on whole chunks as its library states it: products in
// double, rounded to fp32 where the kernel has an fp32 number and to bf16 where it has one. The two
// share no code and no order of summation. Against its own profile such a kernel may be off by fp32
// roundoff, and by one rounding of bf16 wherever that roundoff crosses a rounding boundary: one
// operand in some thousand. Against the oracle it is off by what bf16 operands cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "reference/core/philox.hpp"
#include "reference/simple_gla/fused.hpp"
#include "reference/simple_gla/fused_backward.hpp"
#include "reference/simple_gla/profiles.hpp"

namespace groundstate::simple_gla {
namespace {

using D = Matrix<double>;

D fp32(const D& x) {
  return x.unaryExpr([](double y) { return static_cast<double>(static_cast<float>(y)); });
}
D bf16(const D& x) {
  return x.unaryExpr([](double y) {
    return static_cast<double>(round_to<Bfloat16Format>(static_cast<float>(y)));
  });
}
double fp32(double x) { return static_cast<float>(x); }

constexpr Index chunk_length = 64;

BackwardProblem<double> problem(Index time, Index keys, Index values, double gate) {
  const auto normal = [](const char* name, Index rows, Index columns) {
    const RandomStream stream(7, name);
    D x(rows, columns);
    for (Index i = 0; i < x.size(); ++i)
      x.data()[i] = stream.normal(static_cast<std::uint64_t>(i), 0);
    return x;
  };
  BackwardProblem<double> p;
  p.q = bf16(normal("q", time, keys));
  p.k = bf16(normal("k", time, keys));
  p.v = bf16(normal("v", time, values));
  p.d_o = bf16(normal("do", time, values));
  p.h0 = fp32(normal("h0", keys, values));
  p.dht = fp32(normal("dht", keys, values));
  p.log_decay = fp32(D(-gate * normal("g", time, 1).cwiseAbs()));
  p.scale = fp32(1 / std::sqrt(static_cast<double>(keys)));
  return p;
}

BackwardProblem<float> single(const BackwardProblem<double>& p) {
  BackwardProblem<float> r;
  r.q = p.q.cast<float>();
  r.k = p.k.cast<float>();
  r.v = p.v.cast<float>();
  r.d_o = p.d_o.cast<float>();
  r.h0 = p.h0.cast<float>();
  r.dht = p.dht.cast<float>();
  r.log_decay = p.log_decay.cast<float>();
  r.scale = static_cast<float>(p.scale);
  return r;
}

// One chunk of a kernel: its rows, and the decays it computes from its running sum of gates.
struct Rows {
  D q, k, v, d_o, until,
      mask;     // until: [n, 1] exp(G_i); mask: exp(G_i - G_j), 0 above the diagonal
  double last;  // exp(G_L)
  D to_end;     // [n, 1] exp(G_L - G_j)
};

Rows rows(const BackwardProblem<double>& p, Index begin, bool base2) {
  const Index n = std::min(chunk_length, p.time() - begin);
  std::vector<double> sum(static_cast<std::size_t>(n));
  double running = 0;
  for (Index i = 0; i < n; ++i) {
    running = fp32(running + p.log_decay[begin + i]);
    sum[static_cast<std::size_t>(i)] =
        base2 ? fp32(running * static_cast<double>(1.4426950408889634f)) : running;
  }
  const auto power = [base2](double x) { return fp32(base2 ? std::exp2(x) : std::exp(x)); };
  const auto g = [&](Index i) { return sum[static_cast<std::size_t>(i)]; };
  Rows r{p.q.middleRows(begin, n),
         p.k.middleRows(begin, n),
         p.v.middleRows(begin, n),
         p.d_o.middleRows(begin, n),
         D(n, 1),
         D::Zero(n, n),
         power(g(n - 1)),
         D(n, 1)};
  for (Index i = 0; i < n; ++i) {
    r.until(i, 0) = power(g(i));
    r.to_end(i, 0) = power(fp32(g(n - 1) - g(i)));
    for (Index j = 0; j <= i; ++j) r.mask(i, j) = power(fp32(g(i) - g(j)));
  }
  return r;
}

// x with row i times factor i.
D scaled(const D& x, const D& factor) { return (x.array().colwise() * factor.col(0).array()); }

enum class Kernel { fla_chunk, fla_fused_chunk, tpu_fused };

D kernel_forward(Kernel kernel, const BackwardProblem<double>& p, D& state) {
  const bool tpu = kernel == Kernel::tpu_fused;
  const auto stored = [&](const D& x) { return tpu ? fp32(x) : bf16(x); };
  D o(p.time(), p.value());
  state = p.h0;
  for (Index begin = 0; begin < p.time(); begin += chunk_length) {
    const Rows c = rows(p, begin, !tpu);
    const D q = kernel == Kernel::fla_fused_chunk ? bf16(c.q * p.scale) : c.q;
    const D A = stored(fp32(fp32(q * c.k.transpose()).cwiseProduct(c.mask)));
    const D inter = fp32(scaled(fp32(q * stored(state)), c.until)), intra = fp32(A * c.v);
    if (kernel == Kernel::fla_fused_chunk)
      o.middleRows(begin, c.q.rows()) = fp32(inter + intra);
    else if (kernel == Kernel::fla_chunk)
      o.middleRows(begin, c.q.rows()) = fp32(fp32(inter * p.scale) + fp32(intra * p.scale));
    else
      o.middleRows(begin, c.q.rows()) = fp32(fp32(inter + intra) * p.scale);
    state = fp32(fp32(state * c.last) + c.k.transpose() * bf16(fp32(scaled(c.v, c.to_end))));
  }
  return o;
}

Gradients<double> kernel_backward(Kernel kernel, const BackwardProblem<double>& p) {
  const bool tpu = kernel == Kernel::tpu_fused, fused = kernel == Kernel::fla_fused_chunk;
  const Index chunks = number_of_chunks(p.time(), chunk_length);
  std::vector<D> h;
  D state = p.h0;
  for (Index c = 0; c < chunks; ++c) {
    h.push_back(state);
    const Rows r = rows(p, c * chunk_length, !tpu);
    state = fp32(fp32(state * r.last) + r.k.transpose() * bf16(fp32(scaled(r.v, r.to_end))));
  }
  Gradients<double> r;
  r.dq.resize(p.time(), p.key());
  r.dk.resize(p.time(), p.key());
  r.dv.resize(p.time(), p.value());
  r.dg.resize(p.time());
  r.dg_gamma = 0;
  D dS = p.dht;
  D raw(p.time(), 1);
  for (Index c = chunks - 1; c >= 0; --c) {
    const Index begin = c * chunk_length;
    const Rows x = rows(p, begin, !tpu);
    const Index n = x.q.rows();
    const D S = h[static_cast<std::size_t>(c)];
    const D A = bf16(fp32(fp32(fp32(x.q * x.k.transpose()).cwiseProduct(x.mask)) * p.scale));
    const D dA = bf16(fp32(fp32(fp32(x.d_o * x.v.transpose()).cwiseProduct(x.mask)) * p.scale));
    const D decayed_do = bf16(fp32(fp32(scaled(x.d_o, x.until)) * p.scale));

    const D inter_v = tpu ? fp32(bf16(fp32(scaled(x.k, x.to_end))) * bf16(dS))
                          : fp32(scaled(fp32(x.k * bf16(dS)), x.to_end));
    r.dv.middleRows(begin, n) = fp32(fp32(A.transpose() * x.d_o) + inter_v);

    const D inter_q = fused ? fp32(decayed_do * bf16(S).transpose())
                            : fp32(scaled(fp32(x.d_o * bf16(S).transpose()), x.until) * p.scale);
    const D dq = fp32(fp32(dA * x.k) + inter_q);
    const D inter_k = fp32(scaled(fp32(x.v * bf16(dS).transpose()), x.to_end));
    const D dk = fp32(fp32(dA.transpose() * x.q) + inter_k);
    r.dq.middleRows(begin, n) = dq;
    r.dk.middleRows(begin, n) = dk;

    const D own = fp32(x.q.cwiseProduct(dq).rowwise().sum() - x.k.cwiseProduct(dk).rowwise().sum());
    raw.middleRows(begin, n) = own;
    const double bracket =
        fp32(x.last * S.cwiseProduct(dS).sum() + x.k.cwiseProduct(inter_k).sum());
    for (Index i = 0; i < n; ++i) r.dg[begin + i] = fp32(own.bottomRows(n - i).sum() + bracket);

    if (fused)
      dS = fp32(fp32(dS * x.last) + x.q.transpose() * decayed_do);
    else if (kernel == Kernel::fla_chunk)
      dS = fp32(fp32(dS * x.last) +
                bf16(fp32(scaled(bf16(fp32(x.q * p.scale)), x.until))).transpose() * x.d_o);
    else
      dS = fp32(fp32(dS * x.last) + fp32(scaled(x.q, x.until) * p.scale).transpose() * x.d_o);
  }
  if (fused)
    for (Index t = 0; t < p.time(); ++t)
      r.dg[t] = fp32(raw.bottomRows(p.time() - t).sum() + state.cwiseProduct(p.dht).sum());
  r.dh0 = dS;
  return r;
}

double relative(const D& a, const D& b) { return (a - b).norm() / b.norm(); }

// What of fp32 roundoff is left: that itself (measured: at most 2.4e-7), or the operands whose bf16
// rounding it turned over (at most 1/53 of the distance to the oracle).
void expect_near(const D& kernel, const D& profile, const D& oracle, const char* what) {
  EXPECT_LT(relative(kernel, profile), std::max(0x1p-21, relative(kernel, oracle) / 40)) << what;
}

template <class Forward, class Backward>
void check(Kernel kernel, GateSum gates, GateGradient form) {
  for (const double gate : {0.02, 0.3}) {
    const BackwardProblem<double> p = problem(300, 32, 48, gate);
    BackwardProblem<float> q = single(p);
    q.gate_sum = gates;
    D state;
    const D o = kernel_forward(kernel, p, state);
    const Result<double> exact = recurrent<Exact>(p);
    const Result<float> own = kernel == Kernel::fla_chunk ? chunked<Forward>(q, chunk_length)
                                                          : fused<Forward>(q, {chunk_length, 1});
    expect_near(o, own.o.template cast<double>(), exact.o, "o");
    expect_near(state, own.ht.template cast<double>(), exact.ht, "ht");

    const Gradients<double> g = kernel_backward(kernel, p), truth = backward<Exact>(p);
    const BackwardForm how{chunk_length, StateStorage::accumulator, form};
    const Gradients<float> mine = kernel == Kernel::fla_chunk ? chunked_backward<Backward>(q, how)
                                                              : fused_backward<Backward>(q, how);
    expect_near(g.dq, mine.dq.template cast<double>(), truth.dq, "dq");
    expect_near(g.dk, mine.dk.template cast<double>(), truth.dk, "dk");
    expect_near(g.dv, mine.dv.template cast<double>(), truth.dv, "dv");
    expect_near(g.dh0, mine.dh0.template cast<double>(), truth.dh0, "dh0");
    expect_near(g.dg, mine.dg.template cast<double>(), truth.dg, "dg");
  }
}

// Otherwise nearness would say nothing.
TEST(SimpleGlaProfile, ARecipeOfOursIsAsFarAsTheOracle) {
  const BackwardProblem<double> p = problem(300, 32, 48, 0.02);
  BackwardProblem<float> q = single(p);
  q.gate_sum = GateSum::base2;
  const Gradients<double> g = kernel_backward(Kernel::fla_chunk, p), truth = backward<Exact>(p);
  const Gradients<float> ours = chunked_backward<TensorCore>(q, {chunk_length});
  for (const auto& [kernel, recipe, oracle] :
       {std::tuple<D, D, D>{g.dv, ours.dv.cast<double>(), truth.dv},
        {g.dh0, ours.dh0.cast<double>(), truth.dh0}})
    EXPECT_GT(relative(kernel, recipe), relative(kernel, oracle) / 2);
}

TEST(SimpleGlaProfile, FlaChunkIsNearItsProfile) {
  check<profile::FlaChunk<Bfloat16Format>, profile::FlaChunkBackward<Bfloat16Format>>(
      Kernel::fla_chunk, GateSum::base2, GateGradient::chunk);
}
TEST(SimpleGlaProfile, FlaFusedChunkIsNearItsProfile) {
  check<profile::FlaFusedChunk<Bfloat16Format>, profile::FlaFusedChunkBackward<Bfloat16Format>>(
      Kernel::fla_fused_chunk, GateSum::base2, GateGradient::global);
}
TEST(SimpleGlaProfile, TheTpuKernelIsNearItsProfile) {
  check<profile::TpuFused, profile::TpuFusedBackward>(Kernel::tpu_fused, GateSum::plain,
                                                      GateGradient::chunk);
}

}  // namespace
}  // namespace groundstate::simple_gla
