#include "harness/process/workers.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <thread>

#include "harness/case/error.hpp"

namespace groundstate::harness {
namespace {

// Ends what is left of the workers.
struct Workers {
  std::vector<pid_t> running;
  ~Workers() {
    for (const pid_t process : running) {
      kill(process, SIGKILL);
      waitpid(process, nullptr, 0);
    }
  }
};

std::string ended_text(int status) {
  if (WIFSIGNALED(status)) {
    const char* const name = sigabbrev_np(WTERMSIG(status));
    return fmt::format("crashed: SIG{}", name == nullptr ? std::to_string(WTERMSIG(status)) : name);
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0
             ? std::string()
             : fmt::format("ended with exit status {}", WEXITSTATUS(status));
}

}  // namespace

std::vector<std::string> run_workers(int count, const std::function<void(int)>& body,
                                     const std::function<void()>& tick) {
  if (count <= 0) return {};
  std::fflush(nullptr);
  // What an exception said, a line each.
  constexpr std::size_t said_bytes = 1024;
  const std::shared_ptr<void> said = shared_memory(said_bytes * static_cast<std::size_t>(count));
  const auto line = [&](int i) {
    return static_cast<char*>(said.get()) + said_bytes * static_cast<std::size_t>(i);
  };
  Workers workers;
  std::vector<pid_t> all;
  const pid_t parent = getpid();
  for (int i = 0; i < count; ++i) {
    const pid_t process = fork();
    if (process < 0)
      throw ResourceError(fmt::format("no process to work in: {}", std::strerror(errno)));
    if (process == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(1);
      std::signal(SIGINT, SIG_IGN);  // the parent answers for it
      try {
        body(i);
        _exit(0);
      } catch (const std::exception& error) {
        std::snprintf(line(i), said_bytes, "%s", error.what());
        _exit(1);
      }
    }
    workers.running.push_back(process);
    all.push_back(process);
  }
  std::vector<std::string> problems;
  while (!workers.running.empty()) {
    tick();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    for (std::size_t i = 0; i < all.size(); ++i) {
      int status = 0;
      if (all[i] == 0 || waitpid(all[i], &status, WNOHANG) != all[i]) continue;
      std::erase(workers.running, all[i]);
      all[i] = 0;
      const std::string text = ended_text(status), message = line(static_cast<int>(i));
      if (!text.empty())
        problems.push_back(fmt::format("worker {}: {}", i, message.empty() ? text : message));
    }
  }
  return problems;
}

std::shared_ptr<void> shared_memory(std::size_t bytes) {
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw ResourceError(fmt::format("no memory to share: {}", std::strerror(errno)));
  return {memory, [bytes](void* own) { munmap(own, bytes); }};
}

}  // namespace groundstate::harness
