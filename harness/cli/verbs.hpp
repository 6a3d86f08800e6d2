// The verbs of the command line, one source file each. add_<verb> declares the verb's options and
// sets what it does; the returned number is the exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace groundstate::harness::cli {

using Action = std::function<int()>;

void add_list(CLI::App& app, Action& action);
void add_show(CLI::App& app, Action& action);
void add_support(CLI::App& app, Action& action);
void add_generate(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_versus(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_compare(CLI::App& app, Action& action);
void add_record(CLI::App& app, Action& action);
void add_judge(CLI::App& app, Action& action);
void add_golden(CLI::App& app, Action& action);
void add_mutate(CLI::App& app, Action& action);
void add_calibrate(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);

enum ExitCode {
  passed = 0,
  failed = 1,
  usage = 2,
  nothing_judged = 3,
  resource = 4,
  interrupted = 130
};

}  // namespace groundstate::harness::cli
