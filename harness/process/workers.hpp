// Some copies of this process that work side by side.
//
// Each is a fork of the calling thread, ends with its parent, does not hear Ctrl-C (the parent
// answers for it) and has no terminal of its own: what it has to say goes through files and memory
// that is shared. OpenMP and CUDA may be used in a worker if neither was used before (end_threads()
// after OpenMP).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace groundstate::harness {

// Calls body(0) .. body(count - 1), each in a process of its own, and waits for all. `tick` is
// called some ten times a second; when it throws, the workers are ended and it is rethrown. Gives
// what went wrong, a sentence a worker; none when all came to the end of their body. An exception
// that leaves the body is such a sentence. Throws ResourceError when there is no process to be had.
std::vector<std::string> run_workers(int count, const std::function<void(int)>& body,
                                     const std::function<void()>& tick);

// Memory that workers and their parent share, zeroed. T is trivially destructible.
std::shared_ptr<void> shared_memory(std::size_t bytes);

}  // namespace groundstate::harness
