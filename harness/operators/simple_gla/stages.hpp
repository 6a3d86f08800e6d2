// The named intermediates of simple_gla's chunked forms as something to be judged: those that
// reference/simple_gla/chunked.hpp and chunked_backward.hpp hand out, for one length C of a chunk.
//
//   cumulative_decay [batch, time, value_head]               G_t, the log decay in the chunk so far
//   chunk_states     [batch, chunk, value_head, key, value]  the state before each chunk
//   scores           [batch, time, value_head, column]       gated q_t . k_j, 0 for j > t
//   dh_states        as chunk_states, backward only          gradient of the state after each chunk
//   dscores          as scores, backward only                gated scale do_t . v_j
//
// where j is the column-th token of the chunk of t. Packed sequences begin a chunk each; their
// chunks lie one sequence after another. With reverse=yes a row of time is that token, and chunks
// and columns count in the order of processing. The backward has its scores with the scale, the
// forward without.
//
// The oracle is the chunked form in double. A score is kept as an operand of the next product, so
// that one rounding of the recipe's operands is its form term. G is compared down to where its
// factor falls below the normal numbers of fp32: below it kernels clamp, or sum on, as they like.
#pragma once

#include <functional>
#include <memory>

#include "harness/operators/judgeable.hpp"
#include "reference/simple_gla/gather.hpp"

namespace groundstate::harness::simple_gla_binding {

// Of what the operator knows already.
template <class In>
struct StageSource {
  const Judgeable& outputs;
  Index chunk;
  std::function<In(const Tensors&)> bind;
  // In a variant's recipe, in the order of processing.
  std::function<PairOutputs(const PathVariant&, const In&, const groundstate::simple_gla::Options&,
                            const groundstate::simple_gla::Place&)>
      emulate;
};

// In is HostInputs or HostBackwardInputs.
template <class In>
std::unique_ptr<Judgeable> make_stages(StageSource<In> source);

}  // namespace groundstate::harness::simple_gla_binding
