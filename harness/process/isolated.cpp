#include "harness/process/isolated.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <thread>

#include "harness/case/error.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Far beyond any sensible message; a child gone mad does not fill the parent's memory.
constexpr std::size_t max_bytes = std::size_t{64} << 20;
constexpr std::size_t max_said = std::size_t{64} << 10;
constexpr milliseconds longest_wait(100);

// The sanitizers reserve address space by the terabyte.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool limits_memory = false;
#else
constexpr bool limits_memory = true;
#endif

// Bytes of this process by a column of /proc/self/statm.
enum class Pages { address_space = 0, data = 5 };
std::uint64_t in_use(Pages column) {
  std::ifstream file("/proc/self/statm");
  std::uint64_t pages = 0;
  for (int i = 0; i <= static_cast<int>(column); ++i) file >> pages;
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

template <class Resource>
void limit(Resource resource, Pages column, const std::optional<std::uint64_t>& more) {
  rlimit space{};
  if (!limits_memory || !more || getrlimit(resource, &space) != 0) return;
  space.rlim_cur = std::min<rlim_t>(space.rlim_max, in_use(column) + *more);
  setrlimit(resource, &space);
}

void confine(const IsolationLimits& limits, pid_t parent, int said) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(EXIT_FAILURE);  // it was faster
  // Ctrl-C is for the parent to answer; a crash must reach neither its handlers nor a core file.
  std::signal(SIGINT, SIG_IGN);
  for (const int signal : {SIGTERM, SIGPIPE, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXFSZ})
    std::signal(signal, SIG_DFL);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  limit(RLIMIT_AS, Pages::address_space, limits.memory);
  limit(RLIMIT_DATA, Pages::data, limits.private_memory);
  prctl(PR_SET_DUMPABLE, 0);
  if (const int null = open("/dev/null", O_RDWR | O_CLOEXEC); null >= 0) {
    dup2(null, STDIN_FILENO);
    for (const int standard : {STDOUT_FILENO, STDERR_FILENO})
      dup2(said >= 0 ? said : null, standard);
  }
}

// A message is its length and its bytes.
void send_message(int pipe, std::string_view message) {
  const std::uint64_t size = message.size();
  std::string bytes(reinterpret_cast<const char*>(&size), sizeof size);
  bytes += message;
  for (std::string_view left = bytes; !left.empty();) {
    const ssize_t count = write(pipe, left.data(), left.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) _exit(EXIT_FAILURE);
    left.remove_prefix(static_cast<std::size_t>(count));
  }
}

// Cuts whole messages off the bytes that have come. False when the bytes are none of ours.
class Messages {
 public:
  template <class Take>
  bool add(std::string_view bytes, Take&& take) {
    total_ += bytes.size();
    if (total_ > max_bytes) return false;
    text_ += bytes;
    std::size_t begin = 0;
    for (std::uint64_t size; text_.size() - begin >= sizeof size; begin += sizeof size + size) {
      std::memcpy(&size, text_.data() + begin, sizeof size);
      if (size > max_bytes) return false;
      if (text_.size() - begin - sizeof size < size) break;
      take(text_.substr(begin + sizeof size, size));
    }
    text_.erase(0, begin);
    return true;
  }

 private:
  std::string text_;
  std::size_t total_ = 0;
};

// What a child prints: memory of fixed size, so that it can neither fill the machine nor wait for a
// reader.
class Said {
 public:
  Said() : file_(memfd_create("said", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    if (file_ >= 0 && (ftruncate(file_, max_said) != 0 ||
                       fcntl(file_, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) != 0)) {
      close(file_);
      file_ = -1;
    }
  }
  Said(const Said&) = delete;
  Said& operator=(const Said&) = delete;
  ~Said() {
    if (file_ >= 0) close(file_);
  }
  int file() const { return file_; }
  std::string text() const {
    const off_t size = file_ < 0 ? 0 : lseek(file_, 0, SEEK_CUR);  // the child moved it along
    if (size <= 0) return {};
    std::string text(std::min(static_cast<std::size_t>(size), max_said), '\0');
    const ssize_t count = pread(file_, text.data(), text.size(), 0);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    return text;
  }

 private:
  int file_;
};

class Child {
 public:
  Child(const IsolationLimits& limits, const std::function<void(const Send&)>& body) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) fail();
    end_threads();
    const pid_t parent = getpid();
    process_ = fork();
    if (process_ == 0) {
      close(ends[0]);
      confine(limits, parent, said_.file());
      // No exit handler of the parent runs twice, and no frame of it is unwound into.
      [&]() noexcept { body([&](std::string_view message) { send_message(ends[1], message); }); }();
      _exit(EXIT_SUCCESS);
    }
    const int reason = errno;
    close(ends[1]);
    pipe_ = ends[0];
    if (process_ < 0) {
      close(pipe_);
      errno = reason;
      fail();
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    close(pipe_);
    if (process_ <= 0) return;
    kill(process_, SIGKILL);
    while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  int pipe() const { return pipe_; }

  // How the child ended, nothing while it lives.
  std::optional<IsolatedEnd> end() {
    int status = 0;
    const pid_t ended = waitpid(process_, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) return {};
    process_ = 0;
    IsolatedEnd end;
    if (WIFSIGNALED(status)) {
      end.kind = IsolatedEnd::Kind::signal;
      end.number = WTERMSIG(status);
    } else if (WEXITSTATUS(status) != 0) {
      end.kind = IsolatedEnd::Kind::status;
      end.number = WEXITSTATUS(status);
    }
    end.said = said_.text();
    return end;
  }

  milliseconds processor_time() const {
    clockid_t clock{};
    timespec spent{};
    if (clock_getcpuclockid(process_, &clock) != 0 || clock_gettime(clock, &spent) != 0)
      return milliseconds(0);
    return std::chrono::duration_cast<milliseconds>(std::chrono::seconds(spent.tv_sec) +
                                                    std::chrono::nanoseconds(spent.tv_nsec));
  }

  // How it ends by the hand of the parent.
  IsolatedEnd ended_as(IsolatedEnd::Kind kind, milliseconds allowed) const {
    return {kind, 0, allowed, said_.text()};
  }

 private:
  [[noreturn]] static void fail() {
    throw ResourceError(fmt::format("no process to work in: {}", std::strerror(errno)));
  }

  Said said_;
  pid_t process_ = 0;
  int pipe_ = -1;
};

}  // namespace

std::string IsolatedEnd::text() const {
  switch (kind) {
    case Kind::well:
      return {};
    case Kind::signal: {
      const char *const name = sigabbrev_np(number), *const words = sigdescr_np(number);
      std::string description = words == nullptr ? "unknown" : words;
      description[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(description[0])));
      return fmt::format("crashed: SIG{} ({}{})", name == nullptr ? std::to_string(number) : name,
                         description,
                         number == SIGKILL ? " from outside, as where memory runs out" : "");
    }
    case Kind::status:
      return fmt::format("ended with exit status {}", number);
    case Kind::time_out:
      return fmt::format("timed out after {:.6g} s",
                         std::chrono::duration<double>(allowed).count());
    case Kind::overwork:
      return fmt::format("took more than {:.6g} s of processor time",
                         std::chrono::duration<double>(allowed).count());
    case Kind::raving:
      return fmt::format("sent nonsense, or more than {} MiB", max_bytes >> 20);
  }
  return {};
}

IsolatedEnd run_isolated(const IsolationLimits& limits,
                         const std::function<void(const Send&)>& body, const Receive& receive,
                         const std::function<void()>& tick) {
  const Clock::time_point start = Clock::now();
  milliseconds further(0);
  Child child(limits, body);
  Messages messages;
  std::array<char, 1 << 16> buffer;
  bool open = true;
  std::optional<IsolatedEnd> end;
  // A child that has closed its pipe is about to end, as a rule at once; one that has ended may
  // have left messages in it.
  for (std::chrono::microseconds pause(20); open || !end;) {
    if (tick) tick();
    milliseconds wait = end ? milliseconds(0) : longest_wait;
    if (limits.processor_time && !end) {
      const milliseconds allowed = *limits.processor_time + further;
      if (child.processor_time() > allowed)
        return child.ended_as(IsolatedEnd::Kind::overwork, allowed);
    }
    if (limits.time && !end) {
      const milliseconds allowed = *limits.time + further;
      const auto left = std::chrono::ceil<milliseconds>(start + allowed - Clock::now());
      if (left.count() <= 0) return child.ended_as(IsolatedEnd::Kind::time_out, allowed);
      wait = std::min(wait, left);
    }
    if (!open) {
      end = child.end();
      if (end) break;
      std::this_thread::sleep_for(pause);
      pause = std::min<std::chrono::microseconds>(2 * pause, wait);
      continue;
    }
    pollfd waiting{child.pipe(), POLLIN, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(wait.count()));
    if (ready == 0 && end) break;  // somebody else holds the pipe
    if (ready == 0) end = child.end();
    if (ready <= 0) continue;  // or a signal, of which tick knows
    const ssize_t count = read(child.pipe(), buffer.data(), buffer.size());
    if (count < 0) continue;
    open = count > 0;
    if (!messages.add({buffer.data(), static_cast<std::size_t>(count)},
                      [&](const std::string& message) { further += receive(message); }))
      return child.ended_as(IsolatedEnd::Kind::raving, {});
  }
  return *end;
}

}  // namespace groundstate::harness
