// Mutants of simple_gla.backward. The right path is chunked, in fp32 unless its rounding is the
// matter.
#include <cmath>

#include "harness/mutants/edit.hpp"
#include "reference/simple_gla/chunked_backward.hpp"

namespace groundstate::harness {
namespace {

namespace gla = groundstate::simple_gla;
using Problem = gla::BackwardProblem<float>;
using Gradients = gla::Gradients<float>;

constexpr Index chunk_length = 64;
constexpr const char* chunked = "chunked:single";

gla::Options options(const Case& c) {
  gla::Options result;
  result.scale = c.get("scale").empty() ? 1 / std::sqrt(c.real("K")) : c.real("scale");
  result.reverse = c.get("reverse") == "yes";
  return result;
}

// The right path on each problem, the problem changed before and its gradients behind it.
Defect by_problem(std::function<void(Problem&)> before,
                  std::function<void(const Problem&, Gradients&)> behind) {
  return [=](const RightPath&, const Case& c, const Tensors& inputs, Tensors& outputs) {
    gla::for_each_problem<float>(bound_inputs<gla::HostBackwardInputs>(inputs), options(c),
                                 bound_outputs<gla::HostBackwardOutputs>(outputs),
                                 [&](const Problem& given) {
                                   Problem p = given;
                                   if (before) before(p);
                                   Gradients r = gla::chunked_backward<Single>(p, {chunk_length});
                                   if (behind) behind(given, r);
                                   return r;
                                 });
  };
}

float factor_of(const Problem& p, Index t) { return decay(LogDecay<float>{p.log_decay[t]}).factor; }

// dg of a chunk without what comes from behind it.
void dg_without_the_chunks_behind(const Problem& p, Gradients& r) {
  for (Index begin = 0; begin < p.time(); begin += chunk_length) {
    const Index end = std::min(begin + chunk_length, p.time());
    float sum = 0;
    for (Index t = end - 1; t >= begin; --t) {
      sum += p.q.row(t).dot(r.dq.row(t)) - p.k.row(t).dot(r.dk.row(t));
      r.dg[t] = factor_of(p, t) > 0 ? sum : 0.0f;
    }
  }
  r.dg_gamma = r.dg.sum();
}

Tensor states_like_h0(const Tensors& inputs, const Tensors& outputs, std::string_view name,
                      double value) {
  const Tensor* const dh0 = find(outputs, "dh0");
  const Tensor* const like = dh0 != nullptr ? dh0 : find(inputs, "h0");
  Tensor result = Tensor::allocate(std::string(name), like->type(), like->axes());
  fill(result, value);
  return result;
}

// The slot of the last chunk's dh is not written where there is no dht: it holds what was there.
void stale_state_gradient(const RightPath& right, const Case& c, const Tensors& inputs,
                          Tensors& outputs) {
  const bool stale = find(inputs, "dht") == nullptr && find(inputs, "h0") != nullptr;
  right(c, stale ? with(inputs, states_like_h0(inputs, outputs, "dht", 1)) : inputs, outputs);
}

// dq and dk of the first value head of each group, not of all.
void first_of_the_group(const RightPath& right, const Case& c, const Tensors& inputs,
                        Tensors& outputs) {
  right(c, inputs, outputs);
  const Index heads = find(inputs, "q")->extent(Head::name),
              group = find(inputs, "v")->extent(ValueHead::name) / heads;
  Tensors first, results;
  for (const Tensor& tensor : inputs)
    first.push_back(tensor.has_axis(ValueHead::name)
                        ? moved(
                              tensor, ValueHead::name, [=](Index i) { return i * group; }, heads)
                        : tensor);
  for (const Tensor& tensor : outputs)
    results.push_back(tensor.has_axis(ValueHead::name) ? empty_like(tensor, ValueHead::name, heads)
                                                       : copy_of(tensor));
  right(c, first, results);
  copy_bytes(results[0], outputs[0]);
  copy_bytes(results[1], outputs[1]);
}

Edit to_bf16() {
  return [](double x, const At&) { return rounded(ElementType::bfloat16, x); };
}

}  // namespace

std::vector<Mutant> simple_gla_backward_mutants() {
  const char* const form = "reference/simple_gla/chunked_backward.hpp";
  const char* const step = "reference/simple_gla/backward.hpp";
  const char* const gather = "reference/simple_gla/gather.hpp";
  const char* const recipe = "reference/core/recipe.hpp";
  const char* const contract = "reference/simple_gla/contract.hpp";
  return {
      {"global_dg_declared_as_chunk", chunked,
       "dg is summed to the end of the sequence, in a path that declares the chunk form", form,
       another_variant("chunked[dg_form=global]:single")},
      {"stale_dh_states", chunked,
       "without dht the last chunk's dh is not set to 0: it is what the workspace held", form,
       stale_state_gradient},
      {"dht_left_out", chunked, "the gradient of the final state does not enter", contract,
       on_inputs([](const Case&, const Tensors& x) { return without(x, {"dht"}); })},
      {"dg_without_the_bracket", chunked, "dg lacks exp(G_L) <S, dS> + sum k dk'", form,
       by_problem({}, dg_without_the_chunks_behind)},
      {"dg_off_by_one", chunked, "dg of a token is that of the next", form,
       by_problem({},
                  [](const Problem& p, Gradients& r) {
                    for (Index t = 0; t < p.time(); ++t)
                      r.dg[t] = t + 1 < p.time() ? r.dg[t + 1] : 0.0f;
                  })},
      {"dg_behind_a_reset", chunked, "dg is not 0 where the gate forgets everything", step,
       by_problem({},
                  [](const Problem& p, Gradients& r) {
                    for (Index t = 0; t < p.time(); ++t)
                      if (factor_of(p, t) == 0)
                        r.dg[t] = p.q.row(t).dot(r.dq.row(t)) - p.k.row(t).dot(r.dk.row(t));
                  })},
      {"dg_gamma_of_zeros", chunked, "dg_gamma is returned, and is 0", contract,
       on_outputs([](const Case&, const Tensors&, Tensors& y) {
         if (const Tensor* const dg_gamma = find(y, "dg_gamma")) fill(*dg_gamma, 0);
       })},
      {"dg_gamma_of_the_last_chunk", chunked, "dg_gamma sums the dg of the last chunk only", form,
       by_problem({},
                  [](const Problem& p, Gradients& r) {
                    const Index begin =
                        std::max<Index>(p.time() - 1, 0) / chunk_length * chunk_length;
                    r.dg_gamma = r.dg.tail(p.time() - begin).sum();
                  })},
      {"dh0_of_the_first_state", chunked, "dh0 lacks the decay of the first token", step,
       by_problem({},
                  [](const Problem& p, Gradients& r) {
                    if (p.time() > 0 && factor_of(p, 0) > 0) r.dh0 /= factor_of(p, 0);
                  })},
      {"dk_without_its_own_token", chunked, "dk_j sums over i > j", form,
       by_problem({},
                  [](const Problem& p, Gradients& r) {
                    for (Index t = 0; t < p.time(); ++t)
                      r.dk.row(t) -= p.scale * p.d_o.row(t).dot(p.v.row(t)) * p.q.row(t);
                  })},
      {"h_minus_term_for_v", chunked, "dv is (dS - q do^T) k: the token's own output is left out",
       step,
       by_problem({},
                  [](const Problem& p, Gradients& r) {
                    for (Index t = 0; t < p.time(); ++t)
                      r.dv.row(t) -= p.scale * p.q.row(t).dot(p.k.row(t)) * p.d_o.row(t);
                  })},
      {"scale_missing_in_dq", chunked, "dq lacks the scale", step,
       by_problem({}, [](const Problem& p, Gradients& r) { r.dq /= p.scale; })},
      {"scale_twice_in_dk", chunked, "dk has the scale twice", step,
       by_problem({}, [](const Problem& p, Gradients& r) { r.dk *= p.scale; })},
      {"partial_chunk_without_gradient", chunked,
       "state gradients start before the last, partial chunk", form,
       by_problem({},
                  [](const Problem& p, Gradients& r) {
                    const Index whole = p.time() / chunk_length * chunk_length;
                    if (whole == 0 || whole == p.time()) return;
                    Problem first = p.tokens(0, whole);
                    first.h0 = p.h0;
                    first.dht = p.dht;
                    const Gradients part = gla::chunked_backward<Single>(first, {chunk_length});
                    r.dq.topRows(whole) = part.dq;
                    r.dk.topRows(whole) = part.dk;
                    r.dv.topRows(whole) = part.dv;
                    r.dh0 = part.dh0;
                  })},
      {"gate_off_by_one", chunked, "the gate of a token is that of the token before", step,
       by_problem(
           [](Problem& p) {
             for (Index t = p.time() - 1; t > 0; --t) p.log_decay[t] = p.log_decay[t - 1];
           },
           {})},
      {"gates_summed_plainly", chunked, "the cumulative gate is a plain running sum", form,
       another_variant("chunked[gate_sum=plain]:single")},
      {"second_gate_ignored", chunked, "g_gamma does not enter where there is a g", gather,
       on_inputs([](const Case&, const Tensors& x) {
         return find(x, "g") != nullptr
                    ? edited(x, "g_gamma", [](double, const At&) { return 0.0; })
                    : x;
       })},
      {"first_value_head_of_a_group", chunked,
       "dq and dk are those of one value head, not the sum of its group", gather,
       first_of_the_group},
      {"direction_ignored", chunked, "a reversed case is run forward", gather,
       another_option("reverse", [](const Case&) { return std::string("no"); })},
      {"states_of_an_older_h0", chunked, "states are recomputed from 0, not from h0", step,
       on_inputs([](const Case&, const Tensors& x) {
         return edited(x, "h0", [](double, const At&) { return 0.0; });
       })},
      {"output_gradient_in_bf16", chunked, "do is rounded to bf16 on the way", recipe,
       on_inputs([](const Case&, const Tensors& x) { return edited(x, "do", to_bf16()); })},
      {"tf32_operands", chunked, "products of fp32 are made of TF32 operands", recipe,
       another_variant("chunked:tf32")},
      {"bf16_operands", chunked, "products of fp32 are made of bf16 operands", recipe,
       another_variant("chunked:tensorcore-bf16")},
      {"dh0_rounded", chunked, "dh0 passes through bf16", contract,
       on_outputs([](const Case&, const Tensors&, Tensors& y) {
         if (Tensor* const dh0 = find(y, "dh0")) edit(*dh0, to_bf16());
       })},
      {"truncated", chunked, "gradients are cut off instead of rounded",
       "reference/core/scalar.hpp", stored_by(truncated)},
      {"empty_sequence_unwritten", chunked,
       "dh0 is written by the first chunk: not where there is none", contract,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         Tensor* const dh0 = find(outputs, "dh0");
         const Tensor before = dh0 != nullptr ? copy_of(*dh0) : Tensor();
         right(c, inputs, outputs);
         const auto x = bound_inputs<gla::HostBackwardInputs>(inputs);
         for (Index n = 0; dh0 != nullptr && n < dh0->extent(Sequence::name); ++n)
           if (gla::place(x, options(c), n, 0).length == 0)
             copy_bytes(before.slice(Sequence::name, n, 1), dh0->slice(Sequence::name, n, 1));
       }},
      {"sum_depends_on_threads", chunked,
       "one element of dq has the number of threads in its order of summation", contract,
       on_outputs([](const Case&, const Tensors&, Tensors& y) {
         if (y[0].elements() == 0) return;
         const double dq = y[0].load(0);
         y[0].store(0, dq + (threads() % 2) * std::abs(dq) * 0x1p-8);
       })},
  };
}

}  // namespace groundstate::harness
