#include <algorithm>
#include <stdexcept>
#include <string>

#include "gpu/core/device.hpp"
#include "gpu/simple_gla/operands.hpp"

namespace groundstate::gpu::simple_gla {

Sweep common_sweep(const DeviceInputs& x, const Options& options) {
  const Shape n = shape(x);
  const ElementType type = x.query.type();
  if ((type != ElementType::bfloat16 && type != ElementType::float16 &&
       type != ElementType::float32) ||
      x.key.type() != type || x.value.type() != type)
    throw std::invalid_argument("simple_gla: q, k and v must be of one type, bf16, fp16 or fp32");
  for (const Index columns : {n.key, n.value})
    if (columns < 1 || columns > most_key_columns)
      throw std::invalid_argument("simple_gla: K and V from 1 to 256, got " +
                                  std::to_string(columns));
  constexpr Index most = (Index{1} << 31) - 2 * chunk_length;
  if (n.batch > most || n.time > most || n.value_heads > most || n.sequences > most)
    throw std::invalid_argument("simple_gla: tokens, heads and sequences are counted in 31 bits");
  Sweep s;
  s.order = {options.reverse, options.reverse, false};
  s.type = s.output_type = type;
  s.gates = {x.log_decay, x.constant_log_decay};
  s.offsets = x.offsets;
  s.batch = n.batch;
  s.time = n.time;
  s.heads = n.value_heads;
  s.sequences = n.sequences;
  return s;
}

SweepForm sweep_form(const Sweep& sweep, Index value_columns, Index num_steps, Index value_tile) {
  if (num_steps < 1) throw std::invalid_argument("simple_gla: num_steps must be at least 1");
  if (value_tile != 0 && value_tile != 64 && value_tile != 128)
    throw std::invalid_argument("simple_gla: value_tile must be 64, 128 or 0 for either");
  const Index blocks = blocks_of(value_columns);
  const Index ctas = blocks * sweep.heads * sweep.sequences * sweep.segments.count;
  const bool wide = value_tile == 0 ? blocks > 1 && ctas > multiprocessors() : value_tile == 128;
  const bool single = sweep.type == ElementType::float32;  // has shared memory for one chunk
  return {single ? 1 : static_cast<int>(std::min<Index>(num_steps, 1024)), wide ? 2 : 1};
}

}  // namespace groundstate::gpu::simple_gla
