// Mutants of decayed_sum, forward and backward.
#include "harness/mutants/edit.hpp"
#include "reference/decayed_sum/backward.hpp"

namespace groundstate::harness {
namespace {

using decayed_sum::HostBackwardInputs;
using decayed_sum::HostBackwardOutputs;
using decayed_sum::HostInputs;
using decayed_sum::HostOutputs;
using Problem = decayed_sum::Problem<float>;
using BackwardProblem = decayed_sum::BackwardProblem<float>;
using Result = decayed_sum::Result<float>;
using Gradients = decayed_sum::Gradients<float>;

constexpr const char* recurrent = "recurrent:single";

float factor_of(const Problem& p, Index t) { return decay(LogDecay<float>{p.log_decay[t]}).factor; }

template <class Path>
Defect forward(Path path) {
  return [path](const RightPath&, const Case&, const Tensors& inputs, Tensors& outputs) {
    decayed_sum::for_each_problem<float>(bound_inputs<HostInputs>(inputs),
                                         bound_outputs<HostOutputs>(outputs), path);
  };
}
// The right gradients, changed.
Defect gradients(std::function<void(const BackwardProblem&, Gradients&)> change) {
  return [change = std::move(change)](const RightPath&, const Case&, const Tensors& inputs,
                                      Tensors& outputs) {
    decayed_sum::for_each_problem<float>(bound_inputs<HostBackwardInputs>(inputs),
                                         bound_outputs<HostBackwardOutputs>(outputs),
                                         [&](const BackwardProblem& p) {
                                           Gradients r = decayed_sum::backward<Single>(p);
                                           change(p, r);
                                           return r;
                                         });
  };
}

}  // namespace

std::vector<Mutant> decayed_sum_mutants() {
  const char* const contract = "reference/decayed_sum/contract.hpp";
  return {
      {"decay_behind_the_term", recurrent, "S := exp(g) (S + x)", contract,
       forward([](const Problem& p) {
         Result r{Matrix<float>(p.time(), p.value()), p.h0};
         for (Index t = 0; t < p.time(); ++t)
           r.y.row(t) = r.ht = factor_of(p, t) * (r.ht + p.x.row(t));
         return r;
       })},
      {"output_before_the_term", recurrent, "y_t is S_{t-1}", contract,
       forward([](const Problem& p) {
         Result r = decayed_sum::recurrent<Single>(p);
         for (Index t = p.time() - 1; t >= 0; --t)
           r.y.row(t) = t > 0 ? Matrix<float>(r.y.row(t - 1)) : p.h0;
         return r;
       })},
      {"prefix_quotients", recurrent, "y is exp(G) times the sum of x exp(-G), G the sum of gates",
       contract, forward([](const Problem& p) {
         Result r{Matrix<float>(p.time(), p.value()), p.h0};
         float sum_of_gates = 0;
         for (Index t = 0; t < p.time(); ++t) {
           sum_of_gates += p.log_decay[t];
           r.ht += p.x.row(t) * std::exp(-sum_of_gates);
           r.y.row(t) = r.ht * std::exp(sum_of_gates);
         }
         if (p.time() > 0) r.ht = r.y.bottomRows(1);
         return r;
       })},
      {"initial_state_left_out", recurrent, "h0 does not enter", contract,
       on_inputs([](const Case&, const Tensors& x) { return without(x, {"h0"}); })},
      {"state_of_the_head_before", recurrent, "a head starts from h0 of the head before", contract,
       on_inputs([](const Case&, const Tensors& x) {
         return moved(x, {"h0"}, Head::name, [](Index h) { return h > 0 ? h - 1 : h; });
       })},
      {"bf16_state", recurrent, "the state is kept in bf16", "reference/core/recipe.hpp",
       forward([](const Problem& p) {
         Result r{Matrix<float>(p.time(), p.value()), p.h0};
         for (Index t = 0; t < p.time(); ++t) {
           r.ht = (factor_of(p, t) * r.ht + p.x.row(t)).unaryExpr([](float s) {
             return round_to<Bfloat16Format>(s);
           });
           r.y.row(t) = r.ht;
         }
         return r;
       })},
      {"workspace_not_cleared", recurrent, "a state is added to what fresh memory holds", contract,
       forward([](const Problem& p) {
         Result r = decayed_sum::recurrent<Single>(p);
         const std::unique_ptr<float[]> workspace(new float[1024]);
         const float held = static_cast<volatile float*>(workspace.get())[512];
         if (r.ht.size() > 0 && std::abs(held) > 1e30f) r.ht(0, 0) += r.ht(0, 0) * 0x1p-20f;
         return r;
       })},
  };
}

std::vector<Mutant> decayed_sum_backward_mutants() {
  const char* const header = "reference/decayed_sum/backward.hpp";
  return {
      {"dg_of_the_state_behind", recurrent, "dg_t is <dS, exp(g) S_t>, not of S_{t-1}", header,
       gradients([](const BackwardProblem& p, Gradients& r) {
         const Matrix<float> y = decayed_sum::recurrent<Single>(p).y;
         for (Index t = 0; t < p.time(); ++t) r.dg[t] = factor_of(p, t) * r.dx.row(t).dot(y.row(t));
       })},
      {"dg_of_eight_columns", recurrent, "dg sums over the first 8 columns", header,
       gradients([](const BackwardProblem& p, Gradients& r) {
         const Matrix<float> y = decayed_sum::recurrent<Single>(p).y;
         for (Index t = 0; t < p.time(); ++t) {
           const Matrix<float> before = t > 0 ? Matrix<float>(y.row(t - 1)) : p.h0;
           const Index columns = std::min<Index>(8, p.value());
           r.dg[t] = factor_of(p, t) * r.dx.row(t).head(columns).dot(before.row(0).head(columns));
         }
       })},
      {"dh0_not_decayed", recurrent, "dh0 is dx of the first token", header,
       gradients([](const BackwardProblem& p, Gradients& r) {
         if (p.time() > 0) r.dh0 = r.dx.topRows(1);
       })},
      {"dht_left_out", recurrent, "the gradient of the final state does not enter", header,
       on_inputs([](const Case&, const Tensors& x) { return without(x, {"dht"}); })},
      {"dx_of_the_token_behind", recurrent, "dx_t is that of t + 1: its own dy is left out", header,
       gradients([](const BackwardProblem& p, Gradients& r) {
         for (Index t = 0; t < p.time(); ++t) r.dx.row(t) -= p.dy.row(t);
       })},
  };
}

}  // namespace groundstate::harness
