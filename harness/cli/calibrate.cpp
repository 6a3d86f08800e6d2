// groundstate calibrate @quick.cases -o DIR, calibrate page FILE.jsonl...: what honest
// implementations reach, what the judge sees of wrong ones, and the tables of it.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "harness/calibrate/measure.hpp"
#include "harness/calibrate/record.hpp"
#include "harness/calibrate/tables.hpp"
#include "harness/case/error.hpp"
#include "harness/case/text.hpp"
#include "harness/cli/arguments.hpp"
#include "harness/cli/interrupt.hpp"
#include "harness/cli/verbs.hpp"
#include "harness/process/workers.hpp"
#include "harness/report/json_lines.hpp"
#include "harness/run/build_id.hpp"
#include "harness/run/device.hpp"
#include "harness/run/today.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness::cli {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<std::string> quick;
  std::string folder;
  StudyOptions study;
  int jobs = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  double seconds = 1e9;
};

// What the workers share: the next case, and what has become of the others.
struct Board {
  std::atomic<Index> next{0}, cases{0}, tensors{0}, failed{0}, problems{0};
};

constexpr Index shown_problems = 10;

fs::path part(const fs::path& folder, int number) {
  return folder / fmt::format("part-{:03}.jsonl", number);
}

// The measured cases of earlier runs in the folder. The last line of a part may be cut off.
std::vector<MeasuredCase> measured_before(const fs::path& folder, int& parts) {
  std::vector<MeasuredCase> cases;
  const std::string program = build_id();
  for (; fs::exists(part(folder, parts)); ++parts) {
    std::ifstream file(part(folder, parts));
    for (std::string line; std::getline(file, line);) {
      const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
      if (record.is_discarded() || record.contains("problem")) continue;
      if (record.value("program", "") != program)
        throw UsageError(fmt::format("{}: was measured by another program; use an empty folder",
                                     part(folder, parts).string()));
      cases.push_back(measured_case(record));
    }
  }
  return cases;
}

void work(const std::vector<const StudyCase*>& todo, const fs::path& file, Board& board,
          Clock::time_point end) {
  set_threads(1);  // the workers are the threads
  JsonLines lines(file);
  const std::string program = build_id();
  for (;;) {
    const Index i = board.next++;
    if (i >= static_cast<Index>(todo.size()) || Clock::now() > end) return;
    const StudyCase& own = *todo[static_cast<std::size_t>(i)];
    MeasuredCase measured;
    try {
      measured = measure(own);
    } catch (const std::exception& error) {
      // One case that cannot be measured must not end the study.
      lines.write({{"case", own.value.canonical()}, {"problem", error.what()}});
      if (board.problems++ < shown_problems)
        fmt::print(stderr, "groundstate: {}: {}\n", own.value.canonical(), error.what());
      continue;
    }
    nlohmann::json record = to_record(measured);
    record["program"] = program;
    lines.write(record);
    ++board.cases;
    for (const MeasuredImplementation& each : measured.implementations)
      if (each.honest())
        for (const MeasuredTensor& tensor : each.tensors) {
          ++board.tensors;
          board.failed += tensor.status == Status::failed;
        }
  }
}

int calibrate(Options options) {
  for (const CaseEntry& entry : expand_arguments(options.quick))
    options.study.quick.push_back(entry.value);
  if (options.study.kernels && device().name.empty()) throw ResourceError(device().missing);
  const std::vector<StudyCase> cases = study(options.study);
  const fs::path folder = options.folder;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error)
    throw UsageError(fmt::format("{}: cannot be made: {}", folder.string(), error.message()));
  int first_part = 0;
  std::vector<MeasuredCase> measured = measured_before(folder, first_part);
  std::set<std::string> done;
  for (const MeasuredCase& own : measured) done.insert(own.text);
  std::vector<const StudyCase*> todo;
  for (const StudyCase& own : cases)
    if (!done.contains(own.value.canonical())) todo.push_back(&own);

  const std::shared_ptr<void> memory = shared_memory(sizeof(Board));
  Board& board = *new (memory.get()) Board;
  const Clock::time_point begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(
                               std::chrono::duration<double>(options.seconds));
  const auto say = [&] {
    fmt::print(stderr, "{} of {} cases, {} tensors, {} FAILED, {:.0f} s\n", board.cases.load(),
               todo.size(), board.tensors.load(), board.failed.load(),
               std::chrono::duration<double>(Clock::now() - begin).count());
  };
  Clock::time_point said = begin;
  end_threads();
  const std::vector<std::string> problems = run_workers(
      std::min(options.jobs, static_cast<int>(todo.size())),
      [&](int worker) { work(todo, part(folder, first_part + worker), board, end); },
      [&] {
        check_interrupt();
        if (Clock::now() - said < std::chrono::seconds(10)) return;
        said = Clock::now();
        say();
      });
  say();

  int parts = 0;
  measured = measured_before(folder, parts);
  StudyFacts facts;
  facts.device = options.study.kernels ? device().name : "cpu";
  facts.date = today();
  facts.seeds = options.study.seeds;
  const CalibrationRecord record = sum_up(measured, facts);
  const fs::path output = folder / "calibration.jsonl";
  JsonLines lines(output);
  for (const nlohmann::json& line : to_records(record)) lines.write(line);
  fmt::print("{}\n{}\n", headline(record), output.string());
  for (const std::string& problem : problems) fmt::print(stderr, "groundstate: {}\n", problem);
  if (!problems.empty() || board.problems > 0)
    throw ResourceError(fmt::format("{} cases could not be measured", board.problems.load()));
  return record.study.tensors == 0 ? nothing_judged : record.study.failed > 0 ? failed : passed;
}

// ---- page

struct PageOfTables {
  std::vector<std::string> files;
  std::string page;
};

int write_page(const PageOfTables& options) {
  const std::vector<CalibrationRecord> records = read_calibrations(options.files);
  std::ifstream file(options.page);
  if (!file) throw UsageError(fmt::format("{}: cannot be read", options.page));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::string with = with_tables(text, records);
  if (with == text) {
    fmt::print("{}: is up to date\n", options.page);
    return passed;
  }
  std::ofstream out(options.page, std::ios::trunc);
  out << with;
  out.close();
  if (!out) throw ResourceError(fmt::format("{}: writing failed", options.page));
  fmt::print("{}: written anew\n", options.page);
  return passed;
}

}  // namespace

void add_calibrate(CLI::App& app, Action& action) {
  auto options = std::make_shared<Options>();
  auto page = std::make_shared<PageOfTables>();
  CLI::App* const verb = app.add_subcommand(
      "calibrate", "Measure honest implementations, and how well wrong ones are seen");
  verb->add_option("case", options->quick,
                   "Cases that are run with every seed on all paths, beside those of the study: "
                   "@data/quick.cases");
  verb->add_option("-o,--output", options->folder,
                   "Folder for what is measured, and calibration.jsonl, its sum; what is there "
                   "already is not measured again")
      ->check(file_name);
  verb->add_flag("--kernels", options->study.kernels, "The paths that need a device instead");
  verb->add_option("--seeds", options->study.seeds, "Seeds of every case")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  verb->add_option("--share", options->study.share, "Share of all cases, drawn by their id")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  verb->add_option("--jobs", options->jobs, "Processes that work side by side")
      ->check(CLI::Range(1, 1024));
  verb->add_option("--seconds", options->seconds, "No case is begun after that time")
      ->check(CLI::PositiveNumber);
  CLI::App* const tables =
      verb->add_subcommand("page", "Write the tables of records into a page, between its markers");
  tables->add_option("file", page->files, "calibration.jsonl of one run or more")
      ->required()
      ->check(file_name);
  tables->add_option("--page", page->page, "The page")
      ->default_val("harness/judge/README.md")
      ->check(file_name);
  tables->callback([page, &action] { action = [page] { return write_page(*page); }; });
  verb->require_subcommand(0, 1);
  verb->callback([verb, options, &action] {
    if (!verb->get_subcommands().empty()) return;
    if (options->folder.empty()) throw UsageError("calibrate needs -o and the name of a folder");
    action = [options] { return calibrate(*options); };
  });
}

}  // namespace groundstate::harness::cli
