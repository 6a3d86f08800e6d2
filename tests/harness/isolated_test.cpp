// harness/process: what runs in a child can crash, hang, rave, print or end as it likes.
#include "harness/process/isolated.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "harness/case/error.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

using std::chrono::milliseconds;

milliseconds no_further(const std::string& /*message*/) { return milliseconds(0); }

IsolatedEnd run(const std::function<void(const Send&)>& body, const IsolationLimits& limits = {}) {
  return run_isolated(limits, body, no_further);
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(Isolated, MessagesOfAnyBytesArriveInTheirOrder) {
  std::vector<std::string> sent{"", "line\n", std::string("\0\n\xff", 3)}, received;
  for (std::size_t size = 1; size < (1u << 20); size *= 7) sent.emplace_back(size, 'x');
  const IsolatedEnd end = run_isolated(
      {},
      [&](const Send& send) {
        for (const std::string& message : sent) send(message);
      },
      [&](const std::string& message) {
        received.push_back(message);
        return milliseconds(0);
      });
  EXPECT_EQ(end.text(), "");
  EXPECT_EQ(received, sent);
}

TEST(Isolated, EverySignalIsNamed) {
  const std::vector<std::pair<int, std::string>> signals = {
      {SIGSEGV, "crashed: SIGSEGV (segmentation fault)"},
      {SIGFPE, "crashed: SIGFPE (floating point exception)"},
      {SIGABRT, "crashed: SIGABRT (aborted)"},
      {SIGILL, "crashed: SIGILL (illegal instruction)"},
      {SIGBUS, "crashed: SIGBUS (bus error)"},
      {SIGTERM, "crashed: SIGTERM (terminated)"},
      {SIGKILL, "crashed: SIGKILL (killed from outside, as where memory runs out)"}};
  for (const auto& [signal, text] : signals) {
    const IsolatedEnd end = run([number = signal](const Send&) { raise(number); });
    EXPECT_EQ(end.text(), text);
    EXPECT_EQ(end.kind, IsolatedEnd::Kind::signal);
    EXPECT_EQ(end.number, signal);
  }
}

TEST(Isolated, AnInterruptIsForTheParent) {
  EXPECT_EQ(run([](const Send&) { raise(SIGINT); }).text(), "");
}

TEST(Isolated, WhatWasSentBeforeACrashArrives) {
  std::string last;
  for (int i = 0; i < 50; ++i)
    run_isolated(
        {},
        [&](const Send& send) {
          send(std::to_string(i));
          std::abort();
        },
        [&](const std::string& message) {
          last = message;
          EXPECT_EQ(message, std::to_string(i));
          return milliseconds(0);
        });
  EXPECT_EQ(last, "49");
}

TEST(Isolated, AnExceptionThatLeavesTheFunctionIsTerminate) {
  const IsolatedEnd end = run([](const Send&) { throw std::runtime_error("of no use"); });
  EXPECT_EQ(end.text(), "crashed: SIGABRT (aborted)");
  EXPECT_TRUE(contains(end.said, "of no use")) << end.said;
}

TEST(Isolated, AnEndBeforeTheEndIsNoGoodEnd) {
  EXPECT_EQ(run([](const Send&) { _exit(3); }).text(), "ended with exit status 3");
  EXPECT_EQ(run([](const Send&) { std::exit(4); }).text(), "ended with exit status 4");
  EXPECT_EQ(run([](const Send&) { _exit(0); }).text(), "");  // the caller misses the message
}

TEST(Isolated, ATimeOutEndsSleepLoopAndAClosedPipe) {
  const IsolationLimits impatient{milliseconds(200), {}};
  const std::vector<std::function<void(const Send&)>> bodies = {
      [](const Send&) { sleep(600); },
      [](const Send&) {
        for (std::atomic<int> i = 0;; ++i) {
        }
      },
      [](const Send&) {
        for (int file = 3; file < 256; ++file) close(file);
        sleep(600);
      },
      [](const Send&) {
        for (int signal = 1; signal < 32; ++signal) std::signal(signal, SIG_IGN);
        sleep(600);
      }};
  for (const auto& body : bodies) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(run(body, impatient).text(), "timed out after 0.2 s");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  }
}

TEST(Isolated, ProcessorTimeEndsALoopAndNoSleep) {
  IsolationLimits limits;
  limits.processor_time = milliseconds(100);
  const auto loop = [](const Send&) {
    for (std::atomic<int> i = 0;; ++i) {
    }
  };
  EXPECT_EQ(run(loop, limits).text(), "took more than 0.1 s of processor time");
  EXPECT_EQ(run([](const Send&) { usleep(300'000); }, limits).text(), "");
}

TEST(Isolated, AMessageCanEntitleToFurtherTime) {
  const IsolatedEnd end = run_isolated(
      {milliseconds(100), {}},
      [](const Send& send) {
        send("slow");
        usleep(300'000);
      },
      [](const std::string&) { return milliseconds(60'000); });
  EXPECT_EQ(end.text(), "");
}

TEST(Isolated, NonsenseOnThePipeAndMessagesWithoutEndAreSaid) {
  const std::string line(1 << 20, 'x');
  const auto rave = [&](const Send& send) {
    while (true) send(line);
  };
  EXPECT_EQ(run(rave).text(), "sent nonsense, or more than 64 MiB");
  // Whoever writes to every file there is writes to the pipe too.
  const auto scribble = [&](const Send&) {
    for (int file = 3; file < 256; ++file)
      if ((fcntl(file, F_GETFL) & O_ACCMODE) == O_WRONLY && write(file, line.data(), 100) < 0)
        abort();
    sleep(600);
  };
  EXPECT_EQ(run(scribble).text(), "sent nonsense, or more than 64 MiB");
}

TEST(Isolated, TooMuchMemoryIsRefusedToTheChildAlone) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer's address space has no limit";
#endif
  const IsolatedEnd end = run(
      [](const Send&) {
        try {
          const std::vector<char> large(std::size_t{256} << 20, 1);
          _exit(7);
        } catch (const std::bad_alloc&) {
          _exit(5);
        }
      },
      {{}, std::uint64_t{64} << 20});
  EXPECT_EQ(end.number, 5);
}

TEST(Isolated, PrivateMemoryHasALimitOfItsOwn) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer's address space has no limit";
#endif
  constexpr std::size_t large = std::size_t{256} << 20;
  const IsolatedEnd end = run(
      [](const Send&) {
        if (mmap(nullptr, large, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) ==
            MAP_FAILED)
          _exit(7);
        _exit(mmap(nullptr, large, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                      MAP_FAILED
                  ? 5
                  : 9);
      },
      {{}, {}, {}, std::uint64_t{64} << 20});
  EXPECT_EQ(end.number, 5);
}

TEST(Isolated, WhatIsPrintedIsKeptAndBounded) {
  const IsolatedEnd end = run([](const Send&) {
    std::fputs("to standard error\n", stderr);
    if (write(STDOUT_FILENO, "to standard output\n", 19) != 19) _exit(1);
  });
  EXPECT_EQ(end.said, "to standard error\nto standard output\n");
  const IsolatedEnd much = run([](const Send&) {
    for (int i = 0; i < 100'000; ++i) std::fputs("again and again\n", stderr);
  });
  EXPECT_EQ(much.text(), "");
  EXPECT_GT(much.said.size(), 60'000u);
  EXPECT_LE(much.said.size(), 65'536u);
}

// A process that survives its parent would compute on for nobody.
TEST(Isolated, WhatTickThrowsEndsTheChildAndIsThrown) {
  pid_t child = 0;
  bool heard = false;
  EXPECT_THROW(run_isolated(
                   {},
                   [](const Send& send) {
                     send(std::to_string(getpid()));
                     sleep(600);
                   },
                   [&](const std::string& message) {
                     child = std::stoi(message);
                     heard = true;
                     return milliseconds(0);
                   },
                   [&] {
                     if (heard) throw Interrupted();
                   }),
               Interrupted);
  ASSERT_GT(child, 0);
  EXPECT_EQ(kill(child, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

// With the threads of the parent's loop still waiting, the child's loop would never end.
TEST(Isolated, ParentAndChildMayBothUseThreads) {
  const int before = threads();
  set_threads(4);
  const IsolationLimits patient{std::chrono::minutes(1), {}};
  const auto sum = [] {
    std::atomic<Index> total = 0;
    parallel_for(1000, [&](Index i) { total += i; });
    return total.load();
  };
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(sum(), 499'500);
    std::string received;
    const IsolatedEnd end = run_isolated(
        patient, [&](const Send& send) { send(std::to_string(sum())); },
        [&](const std::string& message) {
          received = message;
          return milliseconds(0);
        });
    EXPECT_EQ(end.text(), "");
    EXPECT_EQ(received, "499500");
  }
  set_threads(before);
}

TEST(Isolated, LeavesNeitherFilesNorProcesses) {
  const auto files = [] {
    int count = 0;
    for (int file = 0; file < 256; ++file) count += fcntl(file, F_GETFD) != -1;
    return count;
  };
  const int before = files();
  for (int i = 0; i < 20; ++i) {
    run([](const Send&) { raise(SIGSEGV); });
    run([](const Send&) { sleep(600); }, {milliseconds(1), {}});
  }
  EXPECT_EQ(files(), before);
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace groundstate::harness
