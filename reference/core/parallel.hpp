// The one place where OpenMP is used: a loop over independent problems.
//
// Each index is run exactly once by one thread and writes only what belongs to it; nothing is
// reduced across threads. A result therefore has the same bits for any number of threads. The first
// exception thrown by a body is rethrown on the calling thread after the loop; the indices not yet
// started by then are skipped.
#pragma once

#include <omp.h>

#include <atomic>
#include <exception>

#include "reference/core/axis.hpp"

namespace groundstate {

inline void set_threads(int threads) { omp_set_num_threads(threads); }
inline int threads() { return omp_get_max_threads(); }
// Within a body of parallel_for() that runs beside others: a loop in it stays on its thread.
inline bool in_parallel() { return omp_in_parallel() != 0; }

// Ends the threads that wait for the next loop; it will start others. Before a fork: the child is a
// copy of one thread, and its first loop would wait forever for the ones it does not have.
inline void end_threads() { omp_pause_resource_all(omp_pause_hard); }

// `worthwhile` = false keeps the loop on the calling thread: waking others costs some microseconds,
// and milliseconds on a busy machine.
template <class Body>
void parallel_for(Index count, Body&& body, bool worthwhile = true) {
  std::atomic<bool> failed{false};
  std::exception_ptr error;
#pragma omp parallel for schedule(dynamic, 1) if (worthwhile && count > 1)
  for (Index i = 0; i < count; ++i) {
    if (failed.load(std::memory_order_relaxed)) continue;
    try {
      body(i);
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace groundstate
