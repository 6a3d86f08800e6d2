#include "harness/run/isolated_case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <iterator>
#include <new>
#include <string_view>
#include <vector>

#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/process/isolated.hpp"
#include "harness/run/note.hpp"
#include "harness/run/report_message.hpp"

namespace groundstate::harness {
namespace {

constexpr std::size_t longest_said = 300;  // of what a child printed, in a note

// The first byte of a message.
enum class Kind : char { step, report, usage_error, exception };

std::string message(Kind kind, std::string_view text) {
  return std::string(1, static_cast<char>(kind)).append(text);
}

std::string step_message(const Step& step) {
  return fmt::format("{} {}", step.path ? static_cast<std::int64_t>(*step.path) : -1, step.doing);
}

Step read_step(std::string_view text) {
  const std::size_t blank = std::min(text.find(' '), text.size());
  const std::int64_t path = integer_of(text.substr(0, blank)).value_or(-1);
  Step step{{}, std::string(text.substr(std::min(blank + 1, text.size())))};
  if (path >= 0) step.path = static_cast<std::size_t>(path);
  return step;
}

// What came of one child.
struct Attempt {
  std::optional<CaseReport> report;
  std::string trouble;  // why there is no report
  bool timed_out = false;
  Step at;
};

// In one line: what libraries and sanitizers say when they end a program.
std::string in_short(const std::string& said) {
  std::string line;
  for (const std::string_view word : words(said)) {
    line += line.empty() ? "" : " ";
    line += word;
  }
  return shown(line, longest_said);
}

void work(const Operator& op, const Case& c, const CasePlan& plan, RunOptions options,
          const Send& send) {
  options.tick = {};
  options.save = {};
  options.save_stages = {};
  options.at = [&](const Step& step) { send(message(Kind::step, step_message(step))); };
  try {
    send(message(Kind::report, report_message(run_plan(op, c, plan, options))));
  } catch (const UsageError& error) {
    send(message(Kind::usage_error, error.what()));
  } catch (const std::bad_alloc&) {
    send(message(Kind::exception, "out of memory"));
  } catch (const ResourceError& error) {
    send(message(Kind::exception, error.what()));
  } catch (const std::exception& error) {
    send(message(Kind::exception, fmt::format("ended with an exception: {}", error.what())));
  }
}

Attempt attempt(const Operator& op, const Case& c, const CasePlan& plan, const RunOptions& options,
                const CaseIsolation& isolation) {
  Attempt result;
  std::optional<std::string> usage_error;
  const auto receive = [&](const std::string& text) {
    const std::string_view content =
        std::string_view(text).substr(std::min<std::size_t>(1, text.size()));
    if (!text.empty()) switch (static_cast<Kind>(text.front())) {
        case Kind::step:
          result.at = read_step(content);
          break;
        case Kind::report:
          try {
            result.report = read_report(content);
          } catch (const std::exception& error) {
            result.trouble = error.what();
          }
          break;
        case Kind::usage_error:
          usage_error = content;
          break;
        case Kind::exception:
          result.trouble = content;
          break;
      }
    return std::chrono::milliseconds(0);
  };
  const IsolatedEnd end = run_isolated(
      {isolation.time_out, {}}, [&](const Send& send) { work(op, c, plan, options, send); },
      receive, options.tick);
  if (isolation.hear && !end.said.empty()) isolation.hear(end.said);
  if (usage_error) throw UsageError(*usage_error);
  // With a report the work was done, however the process came to its end.
  if (result.report) return result;
  if (result.at.path && *result.at.path >= plan.wanted.size()) result.at.path.reset();
  result.timed_out = end.kind == IsolatedEnd::Kind::time_out;
  if (result.trouble.empty()) result.trouble = end.text();
  if (result.trouble.empty()) result.trouble = "ended the program by exit(0)";
  result.at.doing +=
      end.said.empty() ? "" : fmt::format(", having printed: {}", in_short(end.said));
  return result;
}

void fail(CasePlan& plan, std::size_t path, const Attempt& attempt) {
  Result& result = plan.report.results[path];
  result.status = Status::failed;
  result.unfinished = true;
  result.note = fmt::format("{} in path {} {}", attempt.trouble, result.path, attempt.at.doing);
  plan.wanted[path] = false;
}

CasePlan alone(const CasePlan& plan, std::size_t path) {
  CasePlan own = plan;
  own.wanted.assign(plan.wanted.size(), false);
  own.wanted[path] = true;
  return own;
}

CaseReport run_all(const Operator& op, const Case& c, CasePlan plan, const RunOptions& options,
                   const CaseIsolation& isolation) {
  for (std::vector<std::size_t> wanted; !(wanted = plan.wanted_paths()).empty();) {
    const Attempt together = attempt(op, c, plan, options, isolation);
    if (together.report) return *together.report;
    if (together.at.path) {
      fail(plan, *together.at.path, together);
      continue;
    }
    if (wanted.size() == 1 || together.timed_out) {
      for (const std::size_t path : wanted) fail(plan, path, together);
      continue;
    }
    CaseReport joined = plan.report;
    joined.pairs = 0;
    bool found = false;
    for (const std::size_t path : wanted) {
      const Attempt own = attempt(op, c, alone(plan, path), options, isolation);
      if (!own.report) {
        fail(plan, path, own);
        found = true;
        continue;
      }
      joined.results[path] = own.report->results[path];
      joined.mistrusted = own.report->mistrusted;
      joined.pairs = own.report->pairs;
      joined.sampled = own.report->sampled;
      std::copy(own.report->equalities.begin(), own.report->equalities.end(),
                std::back_inserter(joined.equalities));
    }
    if (found) continue;
    // Too much only together, as memory can be, or a matter of chance.
    for (const std::size_t path : wanted) {
      add_remark(joined.results[path].note, fmt::format("run alone, as all paths together {} {}",
                                                        together.trouble, together.at.doing));
    }
    return joined;
  }
  return plan.report;
}

}  // namespace

CaseReport run_case_isolated(const Operator& op, const CaseEntry& entry, const RunOptions& options,
                             const CaseIsolation& isolation) {
  CasePlan plan = plan_case(op, entry, options);
  if (plan.wanted_paths().empty()) return plan.report;
  CaseReport report = run_all(op, entry.value, std::move(plan), options, isolation);
  apply_raised_limits(report, entry.raised);
  return report;
}

}  // namespace groundstate::harness
