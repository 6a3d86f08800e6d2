// States that pass through shared memory and go back to their pool: the frame of a decode step.
//
// A step reads and writes every state once and computes little, so its speed is the number of bytes
// under way. Here the copy engine moves them and no thread holds any: CTAs stay on their
// multiprocessor and work through items (a state, or adjacent rows of one), blockIdx.x,
// + gridDim.x, ..., each of which passes through a stage of a ring in shared memory:
//
//   load warps     one for each stage: brings the tokens, asks for the state as soon as the stage
//                  is empty
//   compute warps  wait for both, advance the state where it is
//   store warp     asks for the copy back; the stage is empty when that has been read
//
// A Step has what differs, and is a kernel parameter:
//
//   most_compute_threads, usual_stages, resident_ctas   what registers are provided for
//   Place place(item)                               by a load warp: where the state is
//   Token fetch(place, crew)                        by a load warp: loads not yet waited for
//   unsigned bytes(place)                           of the state that load() asks for, 0 for none
//   load(place, state, full, crew)                  by a load warp
//   stage(place, token, tokens, crew)               by a load warp: into the stage
//   compute(item, state, tokens, release)           by the compute threads, each of which calls
//                                                   release() after its last access to the state
//   store(item, state, tokens)                      by one thread: queues copies back
//
// `state` and `tokens` are the two parts of a stage, aligned to 128 bytes. After release() a
// compute thread may use what is in `tokens` and stage() does not write, until the next item but
// one.
//
// Learned on an H100. A ring that does nothing but copy states in place reaches 95 to 101 % of a
// copy of the same bytes with adjacent bytes, 16 to 64 KB at a time, from some 100 KB in a
// multiprocessor; in tiles of 128 bytes of longer rows 80 to 92 %, less the longer it runs: CTAs
// drift apart, and rows of memory are opened once for each tile. Tokens take microseconds to arrive
// where memory is busy, longer than a state is worked on: a warp or two that bring those of one
// item after the other are the limit, at 75 to 85 %. Warps that store, load and bring tokens of a
// stage in turn are 1 to 3 % slower: what is computed waits for tokens of the next item. Rows of
// tokens by the copy engine, widened by one warp for all stages: that warp needs 5 us an item, 58 %
// for states of 16 KB; by four warps in turn it is where it was. With as many stages as states of
// 16 KB fit, all of a small batch is read before any of it is written: what is left between 30 us
// and a copy is one state computed after the other.
#pragma once

#include <algorithm>
#include <stdexcept>

#include "gpu/core/arriving.cuh"
#include "gpu/core/check.hpp"
#include "gpu/core/device.hpp"
#include "gpu/core/mbarrier.cuh"

namespace groundstate::gpu {

// ---- shared storage

struct StreamForm {
  int compute_threads, resident_ctas, stages;
  unsigned state_bytes, stage_bytes;  // multiples of 128

  int threads() const { return compute_threads + (stages + 1) * warp_threads; }
};
inline constexpr int most_stages = 8;
template <class Step>
constexpr int most_threads = Step::most_compute_threads + (Step::usual_stages + 1) * warp_threads;

struct StageBarriers {
  Barrier full, computed, empty;
};
constexpr unsigned stream_header = 128 * ((most_stages * sizeof(StageBarriers) + 127) / 128);

// ---- kernel

template <class Step>
__global__ void __launch_bounds__(most_threads<Step>, Step::resident_ctas)
    stream_states(const __grid_constant__ Step step, const __grid_constant__ StreamForm form,
                  unsigned items) {
  extern __shared__ __align__(128) std::byte shared[];
  auto* const barriers = reinterpret_cast<StageBarriers*>(shared);
  const auto state = [&](int stage) {
    return shared + stream_header + static_cast<unsigned>(stage) * form.stage_bytes;
  };
  if (threadIdx.x == 0) {
    for (int i = 0; i < form.stages; ++i) {
      barriers[i].full.init(warp_threads + 1);
      barriers[i].computed.init(static_cast<unsigned>(form.compute_threads));
      barriers[i].empty.init(1);
    }
    fence_barrier_init();
  }
  __syncthreads();

  const int warp = warp_index() - form.compute_threads / warp_threads;
  if (warp >= 0 && warp < form.stages) {
    const Crew crew{lane_index(), warp_threads};
    StageBarriers& own = barriers[warp];
    RingPosition turn;  // of a ring of one stage
    for (unsigned item = blockIdx.x + warp * gridDim.x; item < items;
         item += form.stages * gridDim.x) {
      const auto place = step.place(item);
      const auto token = step.fetch(place, crew);
      own.empty.wait(turn.empty());
      if (crew.thread == 0) own.full.arrive_expecting(step.bytes(place));
      step.load(place, state(warp), own.full, crew);
      step.stage(place, token, state(warp) + form.state_bytes, crew);
      own.full.arrive();
      turn.advance(1);
    }
    return;
  }
  const bool stores = warp == form.stages;
  if (stores && lane_index() > 0) return;
  RingPosition at;
  for (unsigned item = blockIdx.x; item < items; item += gridDim.x) {
    StageBarriers& own = barriers[at.stage];
    std::byte* const first = state(at.stage);
    std::byte* const second = first + form.state_bytes;
    if (stores) {
      own.computed.wait(at.full());
      step.store(item, first, second);
      cuda::ptx::cp_async_bulk_commit_group();
      cuda::ptx::cp_async_bulk_wait_group_read(cuda::ptx::n32_t<0>{});
      own.empty.arrive();
    } else {
      own.full.wait(at.full());
      step.compute(item, first, second, [&] {
        fence_async_proxy();
        own.computed.arrive();
      });
    }
    at.advance(form.stages);
  }
}

// ---- launch

// At least three stages in as many CTAs as the multiprocessor takes; two stages where three do not
// fit; fewer: the stage is too large.
template <class Step>
StreamForm stream_form(int compute_threads, Index state_bytes, Index token_bytes) {
  constexpr Index multiprocessor = 228 * 1024, reserved = 1024;  // bytes, of it for each CTA
  const auto aligned = [](Index bytes) { return (bytes + 127) / 128 * 128; };
  const Index stage = aligned(state_bytes) + aligned(token_bytes);
  StreamForm form{compute_threads, 4, 0, static_cast<unsigned>(aligned(state_bytes)),
                  static_cast<unsigned>(stage)};
  for (;; --form.resident_ctas) {
    const Index room = multiprocessor / form.resident_ctas - reserved - Index{stream_header};
    const int threads =
        std::min(Step::resident_ctas * most_threads<Step> / form.resident_ctas, most_threads<Step>);
    form.stages = static_cast<int>(std::min<Index>(
        {room / stage, (threads - compute_threads) / warp_threads - 1, most_stages}));
    if (form.stages >= 3 || form.resident_ctas == 1) return form;
  }
}

template <class Step>
void launch_stream(const Step& step, const StreamForm& form, Index items, cudaStream_t stream) {
  if (items == 0) return;
  if (items >= Index{1} << 31)
    throw std::invalid_argument("too many sequences and heads for one launch");
  const unsigned bytes = stream_header + static_cast<unsigned>(form.stages) * form.stage_bytes;
  const auto kernel = stream_states<Step>;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)));
  const Index ctas = std::min(items, Index{multiprocessors()} * form.resident_ctas);
  kernel<<<static_cast<unsigned>(ctas), static_cast<unsigned>(form.threads()), bytes, stream>>>(
      step, form, static_cast<unsigned>(items));
  check(cudaGetLastError());
}

}  // namespace groundstate::gpu
