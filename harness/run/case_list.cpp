#include "harness/run/case_list.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <new>
#include <string_view>

#include "harness/case/error.hpp"
#include "harness/operators/registry.hpp"
#include "harness/process/workers.hpp"
#include "harness/run/report_message.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {
namespace {

// What came of a case in a worker.
enum class OutcomeKind : std::uint8_t { report, usage_error, resource_error };
struct Outcome {
  OutcomeKind kind;
  std::string text;
};

// The outcomes of one worker, in memory that it shares with its parent: neither waits for the
// other.
class Outbox {
 public:
  Outbox()
      : file_(memfd_create("outcomes", MFD_CLOEXEC)),
        memory_(shared_memory(sizeof(Size))),
        written_(*new (memory_.get()) Size(0)) {
    if (file_ < 0) throw ResourceError(fmt::format("no memory to share: {}", std::strerror(errno)));
  }
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  ~Outbox() {
    if (file_ >= 0) close(file_);
  }

  // Of the worker.
  void send(std::size_t index, const Outcome& outcome) {
    const Header header{index, outcome.text.size(), outcome.kind};
    std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
    bytes += outcome.text;
    std::uint64_t at = written_;
    for (std::string_view left = bytes; !left.empty();) {
      const ssize_t count = pwrite(file_, left.data(), left.size(), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0)
        throw ResourceError(fmt::format("a report cannot be kept: {}", std::strerror(errno)));
      left.remove_prefix(static_cast<std::size_t>(count));
      at += static_cast<std::uint64_t>(count);
    }
    written_ = at;
  }

  // Of the parent: what has come since the last call.
  void receive(std::map<std::size_t, Outcome>& outcomes) {
    for (const std::uint64_t end = written_; read_ < end;) {
      Header header{};
      fill(&header, sizeof header);
      Outcome outcome{header.kind, std::string(header.size, '\0')};
      fill(outcome.text.data(), header.size);
      outcomes.emplace(header.index, std::move(outcome));
    }
  }

 private:
  using Size = std::atomic<std::uint64_t>;
  struct Header {
    std::size_t index, size;
    OutcomeKind kind;
  };

  void fill(void* to, std::size_t size) {
    for (auto* own = static_cast<char*>(to); size > 0;) {
      const ssize_t count = pread(file_, own, size, static_cast<off_t>(read_));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0)
        throw ResourceError(fmt::format("a report cannot be read: {}", std::strerror(errno)));
      own += count;
      size -= static_cast<std::size_t>(count);
      read_ += static_cast<std::uint64_t>(count);
    }
  }

  int file_;
  std::shared_ptr<void> memory_;
  Size& written_;
  std::uint64_t read_ = 0;
};

Outcome outcome_of(const ListedCase& each, const RunOptions& options,
                   const CaseIsolation& isolation) {
  try {
    return {OutcomeKind::report, report_message(run_case_isolated(operator_of(each.entry.value),
                                                                  each.entry, options, isolation))};
  } catch (const UsageError& error) {
    return {OutcomeKind::usage_error, error.what()};
  } catch (const ResourceError& error) {
    return {OutcomeKind::resource_error, error.what()};
  }
}

CaseReport report_of(const Outcome& outcome) {
  if (outcome.kind == OutcomeKind::usage_error) throw UsageError(outcome.text);
  if (outcome.kind == OutcomeKind::resource_error) throw ResourceError(outcome.text);
  return read_report(outcome.text);
}

void run_side_by_side(const std::vector<ListedCase>& cases, RunOptions options,
                      const ListRunning& how, const std::function<void(std::size_t)>& begin,
                      const std::function<void(std::size_t, const CaseReport&)>& take) {
  const int jobs = static_cast<int>(std::min<std::size_t>(how.jobs, cases.size()));
  const int own_threads = std::max(1, threads() / jobs);
  const std::shared_ptr<void> memory = shared_memory(sizeof(std::atomic<std::size_t>));
  auto& next = *new (memory.get()) std::atomic<std::size_t>(0);
  std::deque<Outbox> outboxes(static_cast<std::size_t>(jobs));
  const auto work = [&](int worker) {
    set_threads(own_threads);
    options.tick = {};
    for (std::size_t i; (i = next++) < cases.size();) {
      options.paths = cases[i].paths;
      outboxes[static_cast<std::size_t>(worker)].send(i,
                                                      outcome_of(cases[i], options, how.isolation));
    }
  };

  std::map<std::size_t, Outcome> outcomes;  // that wait for their turn
  std::size_t turn = 0;
  const auto hand_over = [&] {
    for (Outbox& outbox : outboxes) outbox.receive(outcomes);
    for (auto first = outcomes.begin(); first != outcomes.end() && first->first == turn;
         first = outcomes.erase(first)) {
      take(turn, report_of(first->second));
      if (++turn < cases.size()) begin(turn);
    }
  };
  begin(turn);
  end_threads();
  const std::vector<std::string> problems = run_workers(jobs, work, [&] {
    if (options.tick) options.tick();
    hand_over();
  });
  hand_over();
  if (turn < cases.size())
    throw ResourceError(fmt::format("{}: no report, as a process ended early: {}",
                                    cases[turn].entry.value.canonical(),
                                    fmt::join(problems, "; ")));
}

}  // namespace

void run_case_list(const std::vector<ListedCase>& cases, const RunOptions& options,
                   const ListRunning& how, const std::function<void(std::size_t)>& begin,
                   const std::function<void(std::size_t, const CaseReport&)>& take) {
  if (how.jobs > 1 && cases.size() > 1) return run_side_by_side(cases, options, how, begin, take);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (options.tick) options.tick();
    begin(i);
    const ListedCase& each = cases[i];
    RunOptions own = options;
    own.paths = each.paths;
    const Operator& op = operator_of(each.entry.value);
    take(i, how.isolated ? run_case_isolated(op, each.entry, own, how.isolation)
                         : run_case(op, each.entry, own));
  }
}

}  // namespace groundstate::harness
