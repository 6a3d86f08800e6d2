// Seconds of work on the device.
//
// The work is captured in a graph once. A timing is one launch of that graph between two events:
// nothing of the host is in the window, because the device is still busy with what is queued before
// (a write of 256 MB, after which no L2 holds anything else; or, warm, some idle turns) when the
// last of the three is queued.
#pragma once

#include <cstddef>
#include <functional>

#include "gpu/core/stream.hpp"

namespace groundstate::gpu {

// Queues work, always the same; it can be captured in a graph.
using Work = std::function<void(Stream)>;

// Each call of the result is one timing, in seconds. The work is queued once outside of a graph
// before it is captured, so that what happens at first use only has happened. Throws
// std::runtime_error when CUDA fails.
std::function<double()> timed(const Work& work, bool cold);

// A kernel that does nothing: what a launch costs.
Work empty_launch();

// A copy from device memory to device memory that reads and writes `bytes` in all, half each. The
// driver's is slow at some sizes (2.4 of 2.9 TB/s at 800 MB), a plain kernel's is not.
enum class Copier { driver, kernel };
Work copy_launch(std::size_t bytes, Copier copier);

}  // namespace groundstate::gpu
