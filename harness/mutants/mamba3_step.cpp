// Mutants of mamba3_step. The right path is the recurrence in fp32.
#include <cmath>
#include <iterator>

#include "harness/mutants/pool_edit.hpp"
#include "harness/operators/mamba3_step/pool.hpp"
#include "reference/mamba3_step/recurrent.hpp"

namespace groundstate::harness {
namespace {

using namespace mamba3_step_binding;
using Problem = mamba3::Problem<float>;
using Discrete = mamba3::Discrete<float>;

constexpr const char* recurrent = "recurrent:single";

// The right path on what dt and theta make of each problem, changed.
Defect by_problem(std::function<void(Problem&, Discrete&)> change) {
  return [change = std::move(change)](const RightPath&, const Case& c, const Tensors& inputs,
                                      Tensors& outputs) {
    const mamba3::HostOutputs y = bind_outputs(c, outputs);
    mamba3::for_each_problem<float>(bind_inputs(inputs), options_for(c, y.state.type()), y,
                                    [&](const Problem& given, auto&& keep) {
                                      Problem p = given;
                                      Discrete r = discretise(p);
                                      change(p, r);
                                      return mamba3::recurrent<Single>(p, r, keep);
                                    });
  };
}

// What another run leaves in one of the outputs.
void replace(Tensors& outputs, const Tensors& other, std::string_view name) {
  Tensor* const own = find(outputs, name);
  if (own != nullptr) copy_bytes(*find(other, name), *own);
}

}  // namespace

std::vector<Mutant> mamba3_step_mutants() {
  const std::string step = "reference/mamba3_step/step.hpp";
  const std::string prologue = "reference/mamba3_step/prologue.hpp";
  const std::string contract = "reference/mamba3_step/contract.hpp";
  std::vector<Mutant> result{
      {"trap_weights_swapped", recurrent, "trap weighs what was before, 1 - trap the token", step,
       on_inputs([](const Case&, const Tensors& x) {
         return edited(x, "trap", [](double trap, const At&) { return 1 - trap; });
       })},
      {"beta_without_decay", recurrent, "what was before enters with (1 - trap) dt", step,
       by_problem([](Problem& p, Discrete& r) {
         if (p.time() > 0) p.before.x *= std::exp(-r.log_decay[0]);
       })},
      {"euler_step", recurrent, "only the token enters, with dt: a step of Mamba-2", step,
       on_inputs([](const Case&, const Tensors& x) {
         return edited(x, "trap",
                       [](double trap, const At&) { return std::isnan(trap) ? trap : 1.0; });
       })},
      {"first_decay_of_every_token", recurrent, "every token of a call has the decay of the first",
       step, by_problem([](Problem& p, Discrete& r) {
         if (p.time() > 0) r.log_decay.setConstant(r.log_decay[0]);
       })},
      {"k_state_not_stored", recurrent, "the pool keeps the key of before", contract,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) { restore(x, y, "k_state"); })},
      {"x_state_not_stored", recurrent, "the pool keeps the x of before", contract,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) { restore(x, y, "x_state"); })},
      {"angle_not_stored", recurrent, "the pool keeps the angle of before", contract,
       on_outputs([](const Case&, const Tensors& x, Tensors& y) { restore(x, y, "angle_state"); })},
      {"k_stored_without_rotation", recurrent, "the key is stored as it is before its rotation",
       contract,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         Tensors still;
         for (const Tensor& tensor : outputs) still.push_back(copy_of(tensor));
         right(c, inputs, outputs);
         if (find(inputs, "theta") == nullptr) return;
         fill(*find(still, "angle_state"), 0);
         right(c, edited(inputs, "theta", [](double, const At&) { return 0.0; }), still);
         replace(outputs, still, "k_state");
       }},
      {"angle_before_it_advances", recurrent, "keys are turned by the angle of the token before",
       prologue,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         Tensors behind;
         for (const Tensor& tensor : outputs) behind.push_back(copy_of(tensor));
         right(c, inputs, behind);
         by_problem([](Problem& p, Discrete& r) {
           if (p.time() > 0 && r.advance.cols() > 0) p.before.angle -= r.advance.row(0).transpose();
         })(right, c, inputs, outputs);
         replace(outputs, behind, "angle_state");
       }},
      {"angle_without_dt", recurrent, "the angle advances by pi tanh(theta)", step,
       by_problem([](Problem& p, Discrete& r) {
         for (Index t = 0; t < p.time(); ++t) r.advance.row(t) /= p.dt[t];
       })},
      {"angle_without_tanh", recurrent, "the angle advances by pi theta dt", step,
       by_problem([](Problem& p, Discrete& r) {
         for (Index t = 0; t < p.time(); ++t)
           for (Index f = 0; f < r.advance.cols(); ++f)
             r.advance(t, f) = static_cast<float>(M_PI) * p.theta(t, f) * p.dt[t];
       })},
      {"bf16_angle", recurrent, "the angle passes through bf16", contract,
       on_pool("angle_state",
               [](double phi, const At&) { return rounded(ElementType::bfloat16, phi); })},
      {"angle_cut_off_at_pi", recurrent, "the angle is held to [-pi, pi] instead of reduced",
       prologue, on_outputs([](const Case&, const Tensors& x, Tensors& y) {
         edit_stored(x, y, "angle_state", [](double phi, const At&) {
           return std::isfinite(phi) ? std::clamp(phi, -M_PI, M_PI) : phi;
         });
       })},
      {"other_half_rotated", recurrent,
       "pairs are (j, N / 2 + j) where they are (2 j, 2 j + 1), or the reverse", contract,
       another_option("rotation",
                      [](const Case& c) {
                        return std::string(c.get("rotation") == "halved" ? "pairwise" : "halved");
                      })},
      {"bias_left_out", recurrent, "B_bias and C_bias are not added", prologue,
       on_inputs([](const Case&, const Tensors& x) {
         return without(x, {"B_bias", "C_bias"});
       })},
      {"bias_of_the_other_key", recurrent, "B gets the bias of C", prologue,
       on_inputs([](const Case&, const Tensors& x) {
         const Tensor* const bias = find(x, "C_bias");
         if (bias == nullptr) return x;
         Tensor named = Tensor::allocate("B_bias", bias->type(), bias->axes());
         copy_bytes(*bias, named);
         return with(x, named);
       })},
      {"norm_weight_left_out", recurrent, "RMSNorm of C has no weight", prologue,
       on_inputs([](const Case&, const Tensors& x) {
         return edited(x, "C_norm", [](double, const At&) { return 1.0; });
       })},
      {"carried_in_arithmetic", recurrent,
       "between the tokens of a call nothing is rounded to its storage", contract,
       another_option("carry", [](const Case&) { return std::string("fp32"); })},
      {"tile_of_32_rows_doubled", recurrent,
       "a tile of 32 rows is summed by two warps of 16: S c counts twice", contract,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         const Tensors half = right.fresh(
             c, edited(inputs, "D", [](double D, const At&) { return D / 2; }), outputs);
         right(c, inputs, outputs);
         Tensor& out = outputs[0];
         for_each_pair(out, half[0],
                       [&](Index, Index to, Index from) { out.store(to, 2 * half[0].load(from)); });
       }},
  };
  std::vector<Mutant> shared = pool_mutants(recurrent, contract);
  std::move(shared.begin(), shared.end(), std::back_inserter(result));
  return result;
}

}  // namespace groundstate::harness
