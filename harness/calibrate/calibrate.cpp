// groundstate_calibrate: measures what honest kernels reach, and prints the table of limits of
// clause A.
//
//   groundstate_calibrate [seeds [operator [cpu | gpu]]]   seeds per case, default 3; all operators
//                                                or the one of that name; emulations, the default,
//                                                or the kernels, where there is a device
//
// Every emulated recipe is run on a sweep of gate regimes, lengths and sizes and judged in its own
// units; a triple is (median, 99.9 % point, maximum) of one output tensor of one case. The limit is
// twice the largest honest triple, rounded up. The rows go to harness/judge/limits.cpp; a test
// (tests/harness/ limits_test.cpp) holds other seeds and shapes against them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <vector>

#include "harness/case/sweep.hpp"
#include "harness/operators/registry.hpp"
#include "harness/run/run_case.hpp"

namespace groundstate::harness {
namespace {

// Regimes in which every honest kernel of a recipe is wrong are left out of its row: they are a
// loss to report, not a limit to widen.
struct Row {
  std::string recipe, types;
  std::vector<std::string> paths;
  std::string left_out = "";  // gate regime
};

const std::vector<Row> forward_emulations = {
    {"exact",
     "dtype=fp64",
     {"chunked", "chunked[chunk=16]", "scan", "chunk_scan", "segmented", "parallel"}},
    {"single",
     "dtype=fp32",
     {"recurrent:single", "chunked:single", "chunked[chunk=128]:single", "scan:single"}},
    {"tf32", "dtype=fp32", {"chunked:tf32", "fused[key_tile=32]:tf32"}},
    {"tensorcore-bf16",
     "dtype=bf16",
     {"chunked:tensorcore-bf16", "chunked[chunk=16]:tensorcore-bf16",
      "fused[key_tile=32]:tensorcore-bf16"}},
    {"tensorcore-fp16",
     "dtype=fp16",
     {"chunked:tensorcore-fp16", "fused[key_tile=32]:tensorcore-fp16"},
     "mixed_sign"},  // the state leaves fp16 as an operand
    {"tensorcore-bf16-state", "dtype=bf16", {"chunked:tensorcore-bf16-state"}},
    {"single-bf16-state", "dtype=bf16", {"recurrent:single-bf16-state"}, "growth"},
};

const std::vector<Row> backward_emulations = {
    {"exact", "dtype=fp64", {"chunked", "chunked[chunk=16]", "segmented"}},
    {"single",
     "dtype=fp32",
     {"recurrent:single", "chunked:single", "chunked[chunk=128]:single", "segmented:single"}},
    {"tf32", "dtype=fp32", {"chunked:tf32"}},
    {"tensorcore-bf16",
     "dtype=bf16",
     {"chunked:tensorcore-bf16", "chunked[chunk=16,dh_dtype=operand]:tensorcore-bf16",
      "segmented:tensorcore-bf16"}},
    {"tensorcore-fp16", "dtype=fp16", {"chunked:tensorcore-fp16"}, "mixed_sign"},
    {"tensorcore-bf16-state", "dtype=bf16", {"chunked:tensorcore-bf16-state"}},
    {"single-bf16-state", "dtype=bf16", {"recurrent:single-bf16-state"}, "growth"},
    {"single", "dtype=fp32", {"chunked[dg_form=global]:single"}},
    {"tensorcore-bf16", "dtype=bf16", {"chunked[dg_form=global]:tensorcore-bf16"}},
};

const std::vector<Row> forward_kernels = {
    {"exact", "dtype=fp64", {"gpu.recurrent", "gpu.step[tokens=4]"}},
    {"single", "dtype=fp32", {"gpu.recurrent:single", "gpu.fused:single", "gpu.segmented:single"}},
    {"tensorcore-bf16",
     "dtype=bf16",
     {"gpu.fused:tensorcore-bf16", "gpu.segmented:tensorcore-bf16"}},
    {"tensorcore-fp16",
     "dtype=fp16",
     {"gpu.fused:tensorcore-fp16", "gpu.segmented:tensorcore-fp16"},
     "mixed_sign"},
};
const std::vector<Row> backward_kernels = {
    {"exact", "dtype=fp64", {"gpu.recurrent"}},
    {"single", "dtype=fp32", {"gpu.recurrent:single", "gpu.fused:single"}},
    {"tensorcore-bf16",
     "dtype=bf16",
     {"gpu.fused:tensorcore-bf16", "gpu.fused[dg_chunks=4]:tensorcore-bf16",
      "gpu.chunked[dh_dtype=operand]:tensorcore-bf16"}},
    {"tensorcore-fp16",
     "dtype=fp16",
     {"gpu.fused:tensorcore-fp16", "gpu.fused[dg_chunks=4]:tensorcore-fp16"},
     "mixed_sign"},
};

struct Sweep {
  std::string operator_keys;
  std::vector<Row> emulations, kernels;
  std::vector<std::string> shapes;
};
// 4096 with the smaller sizes only.
const std::vector<Sweep> sweeps = {
    {"simple_gla state=random",
     forward_emulations,
     forward_kernels,
     {"T=64,500 K/V=16/16,64/64,128/128", "T=4096 K/V=16/16,64/64"}},
    {"simple_gla.backward state=random dht=random gate_inputs=both gamma=-0.0001",
     backward_emulations,
     backward_kernels,
     {"T=64,500 K/V=16/16,64/64", "T=64 K/V=128/128", "T=4096 K/V=16/16"}},
};
constexpr std::string_view gates =
    "gate=open,near_one,slow,medium,normal,fast,mixed,reset,hard_reset,growth,underflow,mixed_sign";

double rounded_up(double x) {
  const double step = std::pow(10, std::floor(std::log10(x)) - 1);
  return std::ceil(x / step - 1e-9) * step;
}

// The triples of one output tensor.
struct Points {
  std::vector<double> median, tail, maximum;
  std::vector<std::string> cases;

  void add(const TensorVerdict& tensor, std::string where) {
    maximum.push_back(tensor.errors.maximum);
    cases.push_back(std::move(where));
    // Of a few elements (dg_gamma has one a head) neither is a statistic: the rule of counting lets
    // any of them pass.
    if (tensor.elements < least_elements) return;
    median.push_back(tensor.errors.median);
    tail.push_back(tensor.errors.p999);
  }
  static constexpr Index least_elements = 64;
};

double largest(const std::vector<double>& x) { return *std::max_element(x.begin(), x.end()); }

std::string spread(std::vector<double> x) {
  if (x.empty()) return "-";
  std::sort(x.begin(), x.end());
  return fmt::format("{:.3g} .. {:.3g} .. {:.3g}", x[x.size() / 20], x[x.size() / 2], x.back());
}

std::string limit(const std::vector<double>& x) {
  return x.empty() ? "-" : fmt::format("{:.3g}", rounded_up(2 * largest(x)));
}

void print(const Row& row, std::string_view tensor, const Points& points) {
  const auto worst = std::max_element(points.maximum.begin(), points.maximum.end());
  fmt::print("| {} | {} | {} | {} | {} | {} | {} / {} / {} | {} |\n", row.recipe, tensor,
             points.maximum.size(), spread(points.median), spread(points.tail),
             spread(points.maximum), limit(points.median), limit(points.tail),
             limit(points.maximum),
             points.cases[static_cast<std::size_t>(worst - points.maximum.begin())]);
  std::fflush(stdout);
}

void calibrate(const Sweep& sweep, const std::vector<Row>& rows, int seeds) {
  fmt::print(
      "\n`{}`\n\n| recipe | output | triples | median | 99.9 % | max | limits | worst case "
      "|\n|---|---|---|---|---|---|---|---|\n",
      sweep.operator_keys);
  for (const Row& row : rows) {
    std::vector<std::pair<std::string, Points>> outputs;  // by tensor, in their order
    const auto of = [&outputs](const std::string& tensor) -> Points& {
      for (auto& [name, points] : outputs)
        if (name == tensor) return points;
      return outputs.emplace_back(tensor, Points{}).second;
    };
    for (const std::string& shape : sweep.shapes)
      for (const Case& c : expand(fmt::format("{} {} {} {} seed=1:{}", sweep.operator_keys,
                                              row.types, gates, shape, seeds),
                                  grammars())) {
        if (c.get("gate") == row.left_out) continue;
        RunOptions options;
        options.paths = row.paths;
        options.equalities = false;
        const Operator& op = operator_of(c);
        const CaseReport report = run_case(op, {c, {}, {}, {}}, options);
        for (const Result& result : report.results)
          for (const TensorVerdict& tensor : result.verdict.tensors)
            of(tensor.tensor)
                .add(tensor, fmt::format("{} {} {}", report.case_text, result.path, tensor.tensor));
      }
    for (const auto& [tensor, points] : outputs) print(row, tensor, points);
  }
}

}  // namespace

bool calibrate(int seeds, std::string_view wanted, bool kernels) {
  bool found = false;
  for (const Sweep& sweep : sweeps) {
    const std::string_view keys = sweep.operator_keys;
    if (!wanted.empty() && keys.substr(0, keys.find(' ')) != wanted) continue;
    calibrate(sweep, kernels ? sweep.kernels : sweep.emulations, seeds);
    found = true;
  }
  return found;
}

}  // namespace groundstate::harness

int main(int argc, char** argv) {
  const int seeds = argc > 1 ? std::atoi(argv[1]) : 3;
  const std::string_view from = argc > 3 ? argv[3] : "cpu";
  if (argc > 4 || seeds < 1 || seeds > 1000 || (from != "cpu" && from != "gpu") ||
      !groundstate::harness::calibrate(seeds, argc > 2 ? argv[2] : "", from == "gpu")) {
    fmt::print(stderr,
               "usage: groundstate_calibrate [seeds [operator [cpu | gpu]]]   seeds per case, "
               "1 .. 1000; simple_gla or simple_gla.backward\n");
    return 2;
  }
  return 0;
}
