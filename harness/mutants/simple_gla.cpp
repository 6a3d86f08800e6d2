// Mutants of simple_gla. The right path is chunked, in fp32 unless its rounding is the matter.
#include <cmath>
#include <limits>

#include "harness/mutants/edit.hpp"
#include "reference/simple_gla/chunked.hpp"

namespace groundstate::harness {
namespace {

namespace gla = groundstate::simple_gla;
using Chunk = gla::Chunk<Single>;
using Rows = Matrix<float>;

constexpr Index chunk_length = 64;
constexpr const char* chunked = "chunked:single";

gla::Options options(const Case& c) {
  gla::Options result;
  result.scale = c.get("scale").empty() ? 1 / std::sqrt(c.real("K")) : c.real("scale");
  result.reverse = c.get("reverse") == "yes";
  return result;
}

// ---- the chunked path in fp32, one of its phases wrong

struct Work {
  const gla::Problem<float>& p;
  const Chunk& chunk;
  float constant;  // g_gamma of the head
  Index number;    // of the chunk
};
using Update = std::function<void(const Work&, Rows& state)>;
using Output = std::function<Rows(const Work&, const Rows& state)>;

void right_update(const Work& w, Rows& state) { gla::update_state<Single>(w.chunk, state); }
Rows right_output(const Work& w, const Rows& state) {
  return w.p.scale * gla::unscaled_output<Single>(w.chunk, state);
}

Defect by_chunk(Update update, Output output, bool update_first = false) {
  return [=](const RightPath&, const Case& c, const Tensors& inputs, Tensors& outputs) {
    const auto x = bound_inputs<gla::HostInputs>(inputs);
    const auto y = bound_outputs<gla::HostOutputs>(outputs);
    const gla::Shape n = gla::shape(x);
    for (Index i = 0; i < n.sequences * n.value_heads; ++i) {
      const gla::Place at = gla::place(x, options(c), i / n.value_heads, i % n.value_heads);
      const auto p = gla::gather<float>(x, options(c), at);
      const float constant =
          x.constant_log_decay
              ? static_cast<float>(x.constant_log_decay.load(ValueHead{at.value_head}))
              : 0;
      gla::Result<float> r{Rows(p.time(), p.value()), p.h0};
      for (Index begin = 0; begin < p.time(); begin += chunk_length) {
        const Chunk chunk(p, begin, std::min(chunk_length, p.time() - begin));
        const Work work{p, chunk, constant, begin / chunk_length};
        if (update_first) update(work, r.ht);
        r.o.middleRows(begin, chunk.count()) = output(work, r.ht);
        if (!update_first) update(work, r.ht);
      }
      gla::scatter_tokens(r.o, at, ValueHead{at.value_head}, y.output);
      gla::scatter_state(r.ht, at, y.final_state);
    }
  };
}

// o of a chunk by scores that are not the right ones.
Output with_scores(std::function<float(const Work&, Index i, Index j, float product)> score) {
  return [=](const Work& w, const Rows& state) {
    const Chunk& c = w.chunk;
    Rows o = Rows::Zero(c.count(), c.v.cols());
    add_product<float>(o, c.q, state);
    for (Index i = 0; i < c.count(); ++i) {
      o.row(i) *= c.decay.until(i);
      for (Index j = 0; j < c.count(); ++j)
        o.row(i) += score(w, i, j, c.q.row(i).dot(c.k.row(j))) * c.v.row(j);
    }
    return Rows(w.p.scale * o);
  };
}
// Cumulative log decay of the chunk's token i.
float sum_of_gates(const Work& w, Index i) {
  return w.p.log_decay.segment(w.chunk.first_time, i + 1).sum();
}

// In fla's kernels of states one variable holds the cumulative g, then the ramp of g_gamma.
void update_with_one_gate_variable(const Work& w, Rows& state) {
  const Index last = w.chunk.count() - 1;
  Chunk wrong = w.chunk;
  for (Index j = 0; j <= last; ++j) {
    const float cumulative_g = sum_of_gates(w, j) - w.constant * static_cast<float>(j + 1);
    wrong.v.row(j) *= std::exp(w.constant * static_cast<float>(last + 1) - cumulative_g);
  }
  state *= w.chunk.decay.until(last);
  add_outer_products<float>(state, w.chunk.k, wrong.v);
}

// ---- edits

// T up to whole chunks, the rows behind it zero: g is 0 there, a constant decay goes on.
void pad_time(const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
  const Index time = find(inputs, "q")->extent(Time::name);
  const Index padded = (time + chunk_length - 1) / chunk_length * chunk_length;
  if (find(inputs, "cu_seqlens") != nullptr || padded == time) return right(c, inputs, outputs);
  const Tensors wide = moved(
      inputs, {"q", "k", "v", "g"}, Time::name, [=](Index t) { return t < time ? t : -1; }, padded);
  Tensors o{empty_like(outputs[0], Time::name, padded), outputs[1]};
  right(c, wide, o);
  copy_bytes(o[0].slice(Time::name, 0, time), outputs[0]);
}

// The state of the last sequence goes on into the next one of a packed row.
void leak_between_sequences(const RightPath& right, const Case& c, const Tensors& inputs,
                            Tensors& outputs) {
  right(c, inputs, outputs);
  const Tensor& ht = outputs[1];
  if (find(inputs, "cu_seqlens") == nullptr) return;
  Tensor h0 = moved(ht, Sequence::name, [](Index n) { return n - 1; });
  if (const Tensor* const own = find(inputs, "h0"))
    for_each_pair(h0, *own, [&](Index, Index to, Index from) {
      h0.store(to, h0.load(to) + own->load(from));
    });
  Tensor named = Tensor::allocate("h0", h0.type(), h0.axes());
  copy_bytes(h0, named);
  right(c, with(inputs, named), outputs);
}

void sum_tiles_in_output_type(const RightPath& right, const Case& c, const Tensors& inputs,
                              Tensors& outputs) {
  constexpr Index tile = 8;
  right(c, inputs, outputs);
  const Case scaled = c.with("scale", fmt::format("{:.17g}", options(c).scale));
  const Index keys = find(inputs, "q")->extent(groundstate::Key::name);
  for (Index first = 0; first < keys; first += tile) {
    const auto cut = [&](Tensor tensor) {
      return tensor.has_axis(groundstate::Key::name)
                 ? tensor.slice(groundstate::Key::name, first, std::min(tile, keys - first))
                 : tensor;
    };
    Tensors own, part{empty_like(outputs[0]), empty_like(cut(outputs[1]))};
    for (const Tensor& tensor : inputs) own.push_back(cut(tensor));
    right(scaled, own, part);
    for_each_pair(outputs[0], part[0], [&](Index, Index to, Index from) {
      outputs[0].store(to, (first > 0 ? outputs[0].load(to) : 0) + part[0].load(from));
    });
  }
}

// A shift in time by one, the first row as it was.
Tensors shifted_gates(const Tensors& inputs) {
  return moved(inputs, {"g"}, Time::name, [](Index t) { return t - 1; });
}

Index heads_of(const Tensors& inputs, std::string_view tensor, std::string_view axis) {
  return find(inputs, tensor)->extent(axis);
}

std::string squared_scale(const Case& c) {
  return fmt::format("{:.17g}", std::pow(options(c).scale, 2));
}

Edit to_bf16() {
  return [](double x, const At&) { return rounded(ElementType::bfloat16, x); };
}

}  // namespace

std::vector<Mutant> simple_gla_mutants() {
  const char* const form = "reference/simple_gla/chunked.hpp";
  const char* const step = "reference/simple_gla/step.hpp";
  const char* const gather = "reference/simple_gla/gather.hpp";
  const char* const recipe = "reference/core/recipe.hpp";
  const char* const contract = "reference/simple_gla/contract.hpp";
  return {
      {"padding_decay", chunked,
       "T is padded to whole chunks, and a constant decay runs on in the padded rows", form,
       pad_time},
      {"one_variable_for_two_gates", chunked,
       "g and g_gamma are held in one variable: states get exp(ramp_L - G_j)", gather,
       by_chunk(update_with_one_gate_variable, right_output)},
      {"second_gate_ignored", chunked, "g_gamma is not read where there is a g", gather,
       on_inputs([](const Case&, const Tensors& x) {
         return find(x, "g") != nullptr ? without(x, {"g_gamma"}) : x;
       })},
      {"partial_chunk_left_out", chunked, "ht is the state before the last, partial chunk", form,
       by_chunk(
           [](const Work& w, Rows& state) {
             if (w.chunk.count() == chunk_length) right_update(w, state);
           },
           right_output)},
      {"last_row_of_full_chunk", chunked,
       "a partial chunk decays the state by the mean gate of its rows times 64", form,
       by_chunk(
           [](const Work& w, Rows& state) {
             const auto n = static_cast<float>(w.chunk.count());
             const float extra = w.chunk.decay.total() / n * (chunk_length - n);
             right_update(w, state);
             state *= std::exp(extra);
           },
           right_output)},
      {"diagonal_masked", chunked, "the mask is j < i: a token does not see itself", form,
       by_chunk(right_update, with_scores([](const Work& w, Index i, Index j, float product) {
                  return j < i ? product * w.chunk.decay.between(j, i) : 0.0f;
                }))},
      {"mask_by_product", chunked, "scores are masked by a factor 0 behind their exponential", form,
       by_chunk(right_update, with_scores([](const Work& w, Index i, Index j, float product) {
                  const float difference = sum_of_gates(w, i) - sum_of_gates(w, j);
                  return product * std::exp(difference) * (j <= i ? 1.0f : 0.0f);
                }))},
      {"separable_exponents", chunked, "scores are q exp(G_i) times k exp(-G_j)", form,
       by_chunk(right_update, with_scores([](const Work& w, Index i, Index j, float product) {
                  if (j > i) return 0.0f;
                  return product * std::exp(sum_of_gates(w, i)) * std::exp(-sum_of_gates(w, j));
                }))},
      {"state_behind_the_chunk", chunked, "outputs see the state after their own chunk", form,
       by_chunk(right_update, right_output, true)},
      {"state_not_decayed_in_outputs", chunked, "q S lacks the factor exp(G_i)", form,
       by_chunk(right_update,
                [](const Work& w, const Rows& state) {
                  Rows o = right_output(w, state);
                  for (Index i = 0; i < o.rows(); ++i)
                    o.row(i) +=
                        w.p.scale * (1 - w.chunk.decay.until(i)) * (w.chunk.q.row(i) * state);
                  return o;
                })},
      {"gate_restarts_late", chunked, "from the second chunk on, q S is decayed by one gate less",
       form,
       by_chunk(right_update,
                [](const Work& w, const Rows& state) {
                  Rows o = right_output(w, state);
                  for (Index i = 0; w.number > 0 && i < o.rows(); ++i) {
                    const float less = i > 0 ? w.chunk.decay.until(i - 1) : 1.0f;
                    o.row(i) +=
                        w.p.scale * (less - w.chunk.decay.until(i)) * (w.chunk.q.row(i) * state);
                  }
                  return o;
                })},
      {"scale_of_states_missing", chunked, "the scale is applied to scores only", form,
       by_chunk(right_update,
                [](const Work& w, const Rows& state) {
                  Rows o = right_output(w, state);
                  for (Index i = 0; i < o.rows(); ++i)
                    o.row(i) +=
                        (1 - w.p.scale) * w.chunk.decay.until(i) * (w.chunk.q.row(i) * state);
                  return o;
                })},
      {"update_adds_v_of_64_rows", chunked,
       "the last chunk's update takes the rows before it where it has none of its own", form,
       by_chunk(
           [](const Work& w, Rows& state) {
             right_update(w, state);
             const Index missing = chunk_length - w.chunk.count();
             for (Index j = 1; j <= std::min(missing, w.chunk.first_time); ++j)
               state += w.p.k.row(w.chunk.first_time - j).transpose() *
                        w.p.v.row(w.chunk.first_time - j);
           },
           right_output)},
      {"scale_twice", chunked, "the scale is applied to q and again to o", contract,
       another_option("scale", squared_scale)},
      {"gate_off_by_one", chunked, "the gate of a token is that of the token before", step,
       on_inputs([](const Case&, const Tensors& x) { return shifted_gates(x); })},
      {"own_token_decayed", chunked, "S := exp(g) (S + k v^T): a token's own term decays too", step,
       on_inputs([](const Case&, const Tensors& x) {
         const Tensor* const g = find(x, "g");
         if (g == nullptr) return x;
         const Tensor gates = copy_of(*g);
         const Index heads = g->extent(ValueHead::name), time = g->extent(Time::name);
         return edited(x, "v", [=](double v, const At& at) {
           return v * std::exp(gates.load((at[0] * time + at[1]) * heads + at[2]));
         });
       })},
      {"growth_refused", chunked, "gates above 0 are taken for 0", contract,
       on_inputs([](const Case&, const Tensors& x) {
         return edited(x, "g", [](double g, const At&) { return std::min(g, 0.0); });
       })},
      {"gate_clamped", chunked, "gates below -5 are taken for -5", contract,
       on_inputs([](const Case&, const Tensors& x) {
         return edited(x, "g", [](double g, const At&) { return std::max(g, -5.0); });
       })},
      {"gates_summed_plainly", chunked,
       "the cumulative gate is a plain running sum: -infinity less -infinity", form,
       another_variant("chunked[gate_sum=plain]:single")},
      {"gates_in_bf16", chunked, "g and g_gamma are rounded to bf16 on the way", contract,
       on_inputs([](const Case&, const Tensors& x) {
         return edited(edited(x, "g", to_bf16()), "g_gamma", to_bf16());
       })},
      {"tf32_operands", chunked, "products of fp32 are made of TF32 operands", recipe,
       another_variant("chunked:tf32")},
      {"bf16_operands", chunked, "products of fp32 are made of bf16 operands", recipe,
       another_variant("chunked:tensorcore-bf16")},
      {"bf16_state", "recurrent:single", "the state is kept in bf16 between tokens", recipe,
       another_variant("recurrent:single-bf16-state")},
      {"bf16_state_between_chunks", "chunked:tensorcore-bf16",
       "the state is kept in bf16 between chunks", recipe,
       another_variant("chunked:tensorcore-bf16-state")},
      {"final_state_rounded", chunked, "ht passes through bf16", contract,
       on_outputs([](const Case&, const Tensors&, Tensors& y) { edit(y[1], to_bf16()); })},
      {"truncated", chunked, "o is cut off instead of rounded", "reference/core/scalar.hpp",
       stored_by(truncated)},
      {"partial_sums_rounded", chunked, "sums over tiles of 8 keys are kept in the type of o",
       recipe, sum_tiles_in_output_type},
      {"rounded_twice",
       chunked,
       "o is rounded to its type before the scale, and after it",
       recipe,
       {},
       "no tolerance, as two roundings are less than twice an honest error: compare --against "
       "chunked:single --bitwise"},
      {"group_map_by_modulo", chunked, "value head j reads q and k of head j % H", gather,
       on_inputs([](const Case&, const Tensors& x) {
         const Index heads = heads_of(x, "q", Head::name);
         return moved(
             x, {"q", "k"}, Head::name, [=](Index j) { return j % heads; },
             heads_of(x, "v", ValueHead::name));
       })},
      {"initial_state_of_another_head", chunked, "h0 of head 0 enters every head", gather,
       on_inputs([](const Case&, const Tensors& x) {
         return moved(x, {"h0"}, ValueHead::name, [](Index) { return 0; });
       })},
      {"state_layout_swapped", chunked, "ht is written [value, key]", contract,
       on_outputs([](const Case&, const Tensors&, Tensors& y) {
         copy_bytes(transposed_bytes(y[1]), y[1]);
       })},
      {"no_reset_between_sequences", chunked, "a packed sequence starts from the state of the last",
       gather, leak_between_sequences},
      {"empty_sequence_unwritten", chunked,
       "ht is written by the last chunk: not where there is none", contract,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         const Tensor before = copy_of(outputs[1]);
         right(c, inputs, outputs);
         const auto x = bound_inputs<gla::HostInputs>(inputs);
         for (Index n = 0; n < outputs[1].extent(Sequence::name); ++n)
           if (gla::place(x, options(c), n, 0).length == 0)
             copy_bytes(before.slice(Sequence::name, n, 1), outputs[1].slice(Sequence::name, n, 1));
       }},
      {"direction_ignored", chunked, "a reversed case is run forward", gather,
       another_option("reverse", [](const Case&) { return std::string("no"); })},
      {"offset_of_16_bits", chunked, "offsets into v wrap at 2^16 elements", gather,
       on_inputs([](const Case&, const Tensors& x) {
         Tensor v = copy_of(*find(x, "v"));
         const Tensor dense = copy_of(v);
         for (Index i = 0; i < v.elements(); ++i) v.store(i, dense.load(i % 0x10000));
         return with(x, v);
       })},
      {"offset_of_32_bits",
       chunked,
       "offsets into q wrap at 2^31 elements",
       gather,
       {},
       "tensors of more than 2^31 elements: 'simple_gla T=65537 H=256 K=128', --max-memory 32"},
      {"output_added_up", chunked, "o is added to what the output buffer holds", contract,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         const Tensor before = copy_of(outputs[0]);
         right(c, inputs, outputs);
         for_each_pair(outputs[0], before, [&](Index, Index to, Index from) {
           outputs[0].store(to, outputs[0].load(to) + before.load(from));
         });
       }},
      {"written_behind_the_end", chunked, "one element behind o is written", contract,
       on_outputs([](const Case&, const Tensors&, Tensors& y) { y[0].store(y[0].elements(), 0); })},
      {"differs_from_run_to_run", chunked, "every second run changes one element by 2^-8 of itself",
       contract, on_outputs([](const Case&, const Tensors&, Tensors& y) {
         static int runs = 0;
         if (y[0].elements() == 0 || ++runs % 2 != 0) return;
         const double o = y[0].load(0);
         y[0].store(0, o + std::abs(o) * 0x1p-8);
       })},
      {"split_chosen_by_batch", chunked, "chunks are of 64 rows for one sequence, of 128 for more",
       contract,
       [](const RightPath& right, const Case& c, const Tensors& inputs, Tensors& outputs) {
         right.as(outputs[1].extent(Sequence::name) > 1 ? "chunked[chunk=128]:single" : chunked, c,
                  inputs, outputs);
       }},
  };
}

}  // namespace groundstate::harness
