// groundstate: generates inputs, runs and judges implementations of recurrent-state kernels.
//
// Exit codes, the first that applies: 2 wrong usage or bad input, 4 device, memory or disk failed,
// 1 something FAILED, 3 nothing was judged, 0 otherwise; 130 after Ctrl-C.
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <system_error>

#include "harness/case/error.hpp"
#include "harness/case/nearest.hpp"
#include "harness/case/text.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/standard_output.hpp"
#include "harness/cli/verbs.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness::cli {
namespace {

// CLI11 would only say that a subcommand is required.
void check_verb(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> verbs;
  for (const CLI::App* const verb : app.get_subcommands({})) verbs.push_back(verb->get_name());
  const std::string first = argc > 1 ? argv[1] : "";
  if (first.starts_with('-') || std::find(verbs.begin(), verbs.end(), first) != verbs.end()) return;
  if (first.empty())
    throw UsageError(fmt::format("a verb is missing (accepted: {})", fmt::join(verbs, " ")));
  throw UsageError(fmt::format("there is no verb '{}', only {}{}", shown(first),
                               fmt::join(verbs, " "), did_you_mean(first, verbs)));
}

int parse_and_act(int argc, char** argv) {
  CLI::App app("Numerical testbed for kernels that carry a recurrent state through time.",
               "groundstate");
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "groundstate " GROUNDSTATE_VERSION);
  int threads = 0;
  app.add_option("--threads", threads, "Threads of the reference; results do not depend on it")
      ->check(CLI::Range(1, 1024));
  Action action;
  add_list(app, action);
  add_show(app, action);
  add_support(app, action);
  add_generate(app, action);
  add_run(app, action);
  add_compare(app, action);
  add_versus(app, action);
  add_bench(app, action);
  add_record(app, action);
  add_judge(app, action);
  add_golden(app, action);
  add_mutate(app, action);
  add_calibrate(app, action);
  add_doctor(app, action);
  add_report(app, action);
  check_verb(app, argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    const int code = app.exit(help);
    flush_standard_output();  // std::cout has no buffer of its own
    return code;
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{} (groundstate --help lists verbs and options)", error.what()));
  }
  if (threads > 0) set_threads(threads);
  const int code = action();
  flush_standard_output();
  return code;
}

int report(int code, std::string_view message) {
  fmt::print(stderr, "groundstate: {}\n", message);
  return code;
}

// The matrices of one problem come and go a thousand times. By default each larger one is pages of
// the kernel's, taken, zeroed and given back every time: a third of the time of a judged case.
void keep_memory() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

}  // namespace
}  // namespace groundstate::harness::cli

int main(int argc, char** argv) {
  using namespace groundstate::harness;
  cli::keep_memory();
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  cli::install_interrupt_handler();
  try {
    return cli::parse_and_act(argc, argv);
  } catch (const UsageError& e) {
    return cli::report(cli::usage, e.what());
  } catch (const ResourceError& e) {
    return cli::report(cli::resource, e.what());
  } catch (const std::bad_alloc&) {
    return cli::report(cli::resource, "out of memory");
  } catch (const std::system_error& e) {
    // Whoever closes a pipe has read enough.
    if (e.code().value() == EPIPE) return cli::resource;
    return cli::report(cli::resource,
                       fmt::format("writing to standard output failed: {}", e.code().message()));
  } catch (const Interrupted&) {
    return cli::report(cli::interrupted, "interrupted; what was finished is kept");
  } catch (const std::exception& e) {
    return cli::report(cli::resource, fmt::format("a defect of groundstate itself: {}", e.what()));
  }
}
