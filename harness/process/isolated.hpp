// Runs a function in a child process that may crash or hang without harm, and hears what it sends.
//
// The child sends messages of any bytes. It has no core file and no terminal, does not hear Ctrl-C
// (the parent answers for it), and ends with its parent. What it prints is kept, its first 64 KiB.
//
// It starts as a copy of the calling thread alone. OpenMP may be used in it, and in the parent
// between two children, as the threads of a finished loop are ended first (end_threads); CUDA may
// be used in the child only if it was not used in the parent.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace groundstate::harness {

struct IsolationLimits {
  std::optional<std::chrono::milliseconds> time;  // absent: none
  std::optional<std::uint64_t> memory;            // address space beyond that of the parent, bytes
  // Of all its threads: an endless loop is known by it, whatever the machine or a disk takes.
  std::optional<std::chrono::milliseconds> processor_time = {};
  // Beyond that of the parent, without what is shared with it, bytes.
  std::optional<std::uint64_t> private_memory = {};
};

using Send = std::function<void(std::string_view)>;
// Called in the parent; gives the further time, of either kind, to which a message entitles the
// child.
using Receive = std::function<std::chrono::milliseconds(const std::string&)>;

struct IsolatedEnd {
  enum class Kind : std::uint8_t { well, signal, status, time_out, overwork, raving };
  Kind kind = Kind::well;
  int number = 0;                       // of the signal, or the exit status
  std::chrono::milliseconds allowed{};  // of a time-out or overwork
  std::string said;                     // what it printed

  // "crashed: SIGSEGV (segmentation fault)", "timed out after 2 s", "ended with exit status 3",
  // ...; empty when the child came to the end of its function.
  std::string text() const;
};

// Throws ResourceError when there is no child to be had, and whatever `receive` and `tick` throw;
// the child is dead by then. `tick` is called at least ten times a second while the parent waits.
// `body` must not throw: what leaves it ends the child as std::terminate does.
IsolatedEnd run_isolated(const IsolationLimits& limits,
                         const std::function<void(const Send&)>& body, const Receive& receive,
                         const std::function<void()>& tick = {});

}  // namespace groundstate::harness
