// Mutants of selective_state_update. The right path is the recurrence in fp32.
#include <cmath>
#include <iterator>

#include "harness/mutants/pool_edit.hpp"
#include "harness/operators/selective_state_update/pool.hpp"
#include "reference/selective_state_update/recurrent.hpp"

namespace groundstate::harness {
namespace {

using namespace selective_state_update_binding;
using Problem = ssu::Problem<float>;
using Discrete = ssu::Discrete<float>;

constexpr const char* recurrent = "recurrent:single";

// The right path on what dt makes of each problem, changed.
Defect by_problem(std::function<void(Problem&, Discrete&)> change) {
  return [change = std::move(change)](const RightPath&, const Case& c, const Tensors& inputs,
                                      Tensors& outputs) {
    const ssu::HostOutputs y = bind_outputs(outputs);
    ssu::for_each_problem<float>(bind_inputs(inputs), options_for(c, y.state.type()), y,
                                 [&](const Problem& given, auto&& store) {
                                   Problem p = given;
                                   Discrete r = discretise(p);
                                   change(p, r);
                                   return ssu::recurrent<Single>(p, r, store);
                                 });
  };
}

}  // namespace

std::vector<Mutant> selective_state_update_mutants() {
  const std::string step = "reference/selective_state_update/step.hpp";
  std::vector<Mutant> result{
      {"softplus_without_threshold", recurrent, "softplus is log(1 + exp(d)) for every d", step,
       by_problem([](Problem& p, Discrete& r) {
         for (Index t = 0; t < p.time(); ++t) {
           for (Index i = 0; i < p.value(); ++i)
             if (p.softplus) r.d(t, i) = std::log(std::exp(p.dt(t, i) + p.dt_bias[i]) + 1.0f);
           for (Index k = 0; k < p.A.size(); ++k)
             r.log_decay(t, k) = p.A.data()[k] * r.d(t, k / p.A.cols());
         }
       })},
      {"softplus_left_out", recurrent, "dt does not pass through softplus", step,
       another_option("softplus", [](const Case&) { return std::string("no"); })},
      {"dt_bias_left_out", recurrent, "dt_bias is not added", step,
       on_inputs([](const Case&, const Tensors& x) { return without(x, {"dt_bias"}); })},
      {"dt_bias_behind_softplus", recurrent, "dt_bias is added to softplus(dt)", step,
       by_problem([](Problem& p, Discrete& r) {
         for (Index t = 0; t < p.time(); ++t) {
           for (Index i = 0; i < p.value(); ++i)
             if (p.softplus) r.d(t, i) = softplus(p.dt(t, i)) + p.dt_bias[i];
           for (Index k = 0; k < p.A.size(); ++k)
             r.log_decay(t, k) = p.A.data()[k] * r.d(t, k / p.A.cols());
         }
       })},
      {"decay_of_raw_dt", recurrent, "the decay is exp(A dt), dt before bias and softplus", step,
       by_problem([](Problem& p, Discrete& r) {
         for (Index t = 0; t < p.time(); ++t)
           for (Index k = 0; k < p.A.size(); ++k)
             r.log_decay(t, k) = p.A.data()[k] * p.dt(t, k / p.A.cols());
       })},
      {"term_without_dt", recurrent, "S gets x B^T, not d x B^T", step,
       by_problem([](Problem&, Discrete& r) { r.d.setOnes(); })},
      {"decay_to_base_2", recurrent, "the decay is 2^(A d)", step,
       by_problem([](Problem&, Discrete& r) { r.log_decay *= std::log(2.0f); })},
      {"first_decay_of_every_token", recurrent, "every token of a call has the decay of the first",
       step, by_problem([](Problem&, Discrete& r) {
         for (Index t = 1; t < r.log_decay.rows(); ++t) r.log_decay.row(t) = r.log_decay.row(0);
       })},
      {"D_behind_the_gate", recurrent, "out is y silu(z) + D x", step,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         const Tensor* const D = find(inputs, "D");
         right(c, without(inputs, {"D"}), outputs);
         if (D == nullptr || find(inputs, "cu_seqlens") != nullptr) return;
         const Tensor x = copy_of(*find(inputs, "x"));
         Index i = 0;
         edit(outputs[0], [&](double out, const At& at) {
           const double own = x.load(i++);
           const Index channel = D->extent(Value::name) > 1 ? at[3] : 0;
           return is_padded(inputs, at[0])
                      ? out
                      : out + own * D->load(at[2] * D->axes()[0].stride + channel);
         });
       }},
      {"gate_without_silu", recurrent, "out is multiplied by z, not by silu(z)", step,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) {
         const Tensor* const z = find(x, "z");
         if (z == nullptr) return;
         const Tensor gates = copy_of(*z);
         Index i = 0;
         edit(y[0], [&](double out, const At& at) {
           const double own = gates.load(i++);
           return is_padded(x, at[0]) ? out : out * (1 + std::exp(-own));
         });
       })},
      {"scale_of_another_row", recurrent, "codes are read with the scale of the row beside", step,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         if (Tensor* const scale = find(outputs, "state_scale"))
           copy_bytes(
               moved(*scale, Value::name,
                     [rows = scale->extent(Value::name)](Index p) { return (p + 1) % rows; }),
               *scale);
         right(c, inputs, outputs);
       }},
      {"scale_not_stored", recurrent, "codes are stored, their new scale is not", step,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) { restore(x, y, "state_scale"); })},
      {"scale_of_the_largest_row", recurrent, "all rows of a head are coded by the scale of one",
       step, on_outputs([](const Case&, const Tensors& x, Tensors& y) {
         if (find(x, "state_scale") == nullptr) return;
         const Tensor scale = copy_of(*find(y, "state_scale"));
         edit_stored(x, y, "state_scale", [&](double, const At& at) {
           return scale.load((at[0] * scale.axes()[1].extent + at[1]) * scale.axes()[2].extent);
         });
       })},
  };
  std::vector<Mutant> shared =
      pool_mutants(recurrent, "reference/selective_state_update/contract.hpp");
  std::move(shared.begin(), shared.end(), std::back_inserter(result));
  return result;
}

}  // namespace groundstate::harness
