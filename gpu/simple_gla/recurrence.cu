// The recurrence of recurrence.hpp, token by token.
//
// A CTA owns one sequence, one value head and 32 columns of the state, which stays in registers (in
// the workspace above 512 rows, 256 in fp64) from the first token to the last; tokens pass through
// shared memory in blocks of up to 16 (tile.cuh).
//
// Rounding points: those of the arithmetic, and outputs and final state once as they are stored.
// Limits: rows up to 227 KiB of one token in shared memory, some 28,000 (14,000 in fp64).
// 5 rows x columns flop a token; latency of a token is what bounds it, not bytes: the path for
// parity and for short sequences.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "gpu/core/check.hpp"
#include "gpu/simple_gla/tile.cuh"

namespace groundstate::gpu::simple_gla {
namespace {

// ---- tile

constexpr int columns = 4;
constexpr Index tile_columns = lanes * columns;
template <class Scalar>
constexpr int most_register_rows = sizeof(Scalar) == 4 ? 32 : 16;  // of a thread

Index tiles(const Recurrence& r) { return (r.columns + tile_columns - 1) / tile_columns; }

__device__ Place place(const Recurrence& r) {
  const auto tiles = static_cast<unsigned>((r.columns + tile_columns - 1) / tile_columns),
             heads = static_cast<unsigned>(r.heads), problem = blockIdx.x / tiles;
  const Index tile = blockIdx.x % tiles, head = problem % heads, sequence = problem / heads;
  if (!r.offsets) return {sequence, sequence, head, 0, r.time, r.reverse, tile * tile_columns};
  const Index begin = load_integer(r.offsets, Offset{sequence}),
              end = load_integer(r.offsets, Offset{sequence + 1});
  return {0, sequence, head, begin, end - begin, r.reverse, tile * tile_columns};
}

// ---- kernel

template <class Scalar, int rows>
__global__ void __launch_bounds__(threads)
    recurrence(const __grid_constant__ Recurrence r, Scalar* workspace, int rows_of_group,
               int block) {
  extern __shared__ __align__(16) std::byte shared[];
  const Place at = place(r);
  const int padded = groups * rows_of_group;
  Fragment<Scalar, rows, columns> state(
      workspace + Index{blockIdx.x} * rows_of_group * columns * threads, rows_of_group);
  for_each_element(
      state, at, r.rows, r.columns, [&](Scalar& s, Index row, Index column, bool inside) {
        s = inside && r.initial.data != nullptr
                ? load<Scalar>(r.initial.type, r.initial.data,
                               at.sequence * r.initial.sequence + at.head * r.initial.head +
                                   row * r.initial.row + column * r.initial.column)
                : Scalar(0);
      });
  const Tokens<Scalar> tokens(shared, block, padded, tile_columns);
  for (Index first = 0; first < at.length; first += block) {
    const int count = static_cast<int>(min(Index{block}, at.length - first));
    stage(r.query, at, first, count, 0, padded, r.rows, tokens.query);
    stage(r.key, at, first, count, 0, padded, r.rows, tokens.key);
    stage(r.value, at, first, count, at.first_column, static_cast<int>(tile_columns), r.columns,
          tokens.value);
    stage_decays(r.gates, at, first, count, r.decay_later, tokens.decay);
    __syncthreads();
    for (int t = 0; t < count; ++t) advance<Scalar>(state, tokens, t);
    __syncthreads();
    write_outputs(r.output, at, first, count, r.columns, tokens);
  }
  if (r.final.data == nullptr) return;
  const Scalar last = r.decay_later && at.length > 0
                          ? exponential(log_decay<Scalar>(r.gates, at, at.length - 1))
                          : Scalar(1);
  for_each_element(state, at, r.rows, r.columns,
                   [&](Scalar& s, Index row, Index column, bool inside) {
                     if (inside)
                       store<Scalar>(r.final.type, r.final.data,
                                     at.sequence * r.final.sequence + at.head * r.final.head +
                                         row * r.final.row + column * r.final.column,
                                     times(last, s));
                   });
}

// ---- launch

template <class Scalar, int rows>
void launch(const Recurrence& r, Scalar* workspace, Stream stream) {
  const Block block = block_of<Scalar>(r.rows, columns, r.time);
  if (static_cast<Index>(block.bytes) > shared_limit)
    throw std::invalid_argument("simple_gla: a token of size " + std::to_string(r.rows) +
                                " does not fit the shared memory of gpu.recurrent");
  const Index ctas = r.sequences * r.heads * tiles(r);
  if (ctas == 0) return;
  if (ctas > Index{1} << 30)
    throw std::invalid_argument("simple_gla: too many sequences and heads for one launch");
  check(cudaFuncSetAttribute(recurrence<Scalar, rows>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(block.bytes)));
  recurrence<Scalar, rows>
      <<<static_cast<unsigned>(ctas), threads, block.bytes,
         static_cast<cudaStream_t>(stream.handle)>>>(r, workspace, rows_of(r.rows), block.tokens);
  check(cudaGetLastError());
}

}  // namespace

template <class Scalar>
Scalar* take_recurrence(Workspace& workspace, const Recurrence& r) {
  const bool registers = rows_of(r.rows) <= most_register_rows<Scalar>;
  return workspace.take<Scalar>(
      registers ? 0 : r.sequences * r.heads * tiles(r) * fragment_elements(r.rows, columns));
}

template <class Scalar>
void launch_recurrence(const Recurrence& r, Scalar* workspace, Stream stream) {
  switch (rows_of(r.rows)) {
    case 4:
      return launch<Scalar, 4>(r, workspace, stream);
    case 8:
      return launch<Scalar, 8>(r, workspace, stream);
    case 16:
      return launch<Scalar, 16>(r, workspace, stream);
    case 32:
      if constexpr (most_register_rows<Scalar> >= 32)
        return launch<Scalar, 32>(r, workspace, stream);
      [[fallthrough]];
    default:
      return launch<Scalar, 0>(r, workspace, stream);
  }
}

// ---- explicit instantiations

template float* take_recurrence(Workspace&, const Recurrence&);
template double* take_recurrence(Workspace&, const Recurrence&);
template void launch_recurrence(const Recurrence&, float*, Stream);
template void launch_recurrence(const Recurrence&, double*, Stream);

}  // namespace groundstate::gpu::simple_gla
