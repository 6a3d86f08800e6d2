// groundstate: generates inputs, runs and judges implementations of recurrent-state kernels.
//
// Exit codes, the first that applies: 2 wrong usage or bad input, 4 device, memory or disk failed,
// 1 something FAILED, 3 nothing was judged, 0 otherwise; 130 after Ctrl-C.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "harness/case/error.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/verbs.hpp"
#include "reference/core/parallel.hpp"

int main(int argc, char** argv) {
  using namespace groundstate::harness;
  CLI::App app("Numerical testbed for kernels that carry a recurrent state through time.",
               "groundstate");
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", "groundstate " GROUNDSTATE_VERSION);
  int threads = 0;
  app.add_option("--threads", threads, "Threads of the reference; results do not depend on it")
      ->check(CLI::Range(1, 1024));
  cli::Action action;
  cli::add_list(app, action);
  cli::add_show(app, action);
  cli::add_support(app, action);
  cli::add_generate(app, action);
  cli::add_run(app, action);
  cli::add_compare(app, action);

  const auto report = [](int code, std::string_view message) {
    fmt::print(stderr, "groundstate: {}\n", message);
    return code;
  };
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  cli::install_interrupt_handler();
  try {
    app.parse(argc, argv);
    if (threads > 0) groundstate::set_threads(threads);
    const int code = action();
    if (std::fflush(stdout) != 0) return report(cli::resource, "writing to standard output failed");
    return code;
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return report(cli::usage,
                  fmt::format("{} (groundstate --help lists verbs and options)", e.what()));
  } catch (const UsageError& e) {
    return report(cli::usage, e.what());
  } catch (const ResourceError& e) {
    return report(cli::resource, e.what());
  } catch (const std::bad_alloc&) {
    return report(cli::resource, "out of memory");
  } catch (const Interrupted&) {
    return report(cli::interrupted, "interrupted; what was finished is kept");
  }
}
