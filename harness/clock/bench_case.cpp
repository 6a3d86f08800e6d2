#include "harness/clock/bench_case.hpp"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <vector>

#include "harness/operators/device_run.hpp"
#include "harness/run/guarded.hpp"
#include "harness/run/note.hpp"
#include "harness/run/outputs.hpp"
#include "harness/run/today.hpp"

namespace groundstate::harness {
namespace {

// A path of the host behind the interface of those on a device.
class HostRun final : public DeviceRun {
 public:
  HostRun(const Operator& op, const Case& c, const PathVariant& variant, const Tensors& inputs)
      : op_(op),
        case_(c),
        variant_(variant),
        inputs_(inputs),
        outputs_(stored_outputs(op, c, variant)) {}

  void launch(gpu::Stream) override {
    op_.start(case_, inputs_, outputs_.tensors());
    note_ = op_.run(case_, variant_, inputs_, outputs_.tensors());
  }
  void read(Tensors& outputs) override {
    for (std::size_t i = 0; i < outputs.size(); ++i)
      std::memcpy(outputs[i].data(), outputs_.tensors()[i].data(), outputs[i].bytes());
  }
  std::string note() const override { return note_; }

 private:
  const Operator& op_;
  const Case& case_;
  const PathVariant& variant_;
  Tensors inputs_;
  GuardedTensors outputs_;
  std::string note_;
};

// Of each output.
using Digests = std::vector<std::uint64_t>;
Digests digests(const Tensors& outputs) {
  Digests result;
  for (const Tensor& tensor : outputs) result.push_back(digest({tensor}));
  return result;
}

Arithmetic arithmetic_of(const std::string& recipe) {
  const RecipeUnits& units = recipe_units(recipe);
  if (units.operand == fp64_roundoff) return Arithmetic::fp64;
  if (units.operand == fp32_roundoff) return Arithmetic::fp32;
  return units.limit_row == "tf32" ? Arithmetic::tf32 : Arithmetic::half;
}

std::string findings(const Result& result) {
  std::string text = result.note;
  for (const TensorVerdict& tensor : result.verdict.tensors)
    if (!tensor.finding.empty())
      add_remark(text, fmt::format("{}: {}", tensor.tensor, tensor.finding));
  return text;
}

// A variant of a case on each of the rotated sets.
class RotatedRuns {
 public:
  RotatedRuns(const Operator& op, const Case& c, const PathVariant& variant, Digests judged)
      : specs_(stored_outputs(op, c, variant)), judged_(std::move(judged)) {
    const bool on_device = op.path(variant.path)->needs_device;
    for (Index i = 0; i < Protocol::rotated_sets; ++i) {
      const Tensors inputs = generate(op.inputs(c));
      GuardedTensors outputs(specs_);
      op.start(c, inputs, outputs.tensors());
      runs_.push_back(on_device ? op.prepare(c, variant, inputs, outputs.tensors())
                                : std::make_unique<HostRun>(op, c, variant, inputs));
    }
  }

  void launch_each() {
    for (const auto& run : runs_) run->launch({});
  }
  std::vector<Timed> timed(Ceilings& ceilings) {
    std::vector<Timed> result;
    for (const auto& run : runs_)
      result.push_back(
          ceilings.clock().timed([own = run.get()](gpu::Stream stream) { own->launch(stream); },
                                 ceilings.protocol().cold));
    return result;
  }
  // The first output that has other bits than the judged one; empty where none has.
  std::string changed() {
    for (const auto& run : runs_) {
      GuardedTensors outputs(specs_);
      run->read(outputs.tensors());
      const Digests now = digests(outputs.tensors());
      for (std::size_t i = 0; i < now.size(); ++i)
        if (now[i] != judged_[i]) return specs_[i].name;
    }
    return "";
  }
  std::string note() const { return runs_.front()->note(); }

 private:
  std::vector<TensorSpec> specs_;
  Digests judged_;
  std::vector<std::unique_ptr<DeviceRun>> runs_;
};

void time_path(RotatedRuns& runs, Ceilings& ceilings, Arithmetic arithmetic, BenchRow& row) {
  const auto fail = [&](const std::string& why) {
    row.status = Status::failed;
    add_remark(row.note, why);
  };
  runs.launch_each();
  add_remark(row.note, runs.note());
  if (const std::string name = runs.changed(); !name.empty())
    return fail(fmt::format("{} has other bits than when it was judged", name));

  const Protocol& protocol = ceilings.protocol();
  const std::vector<double> seconds = measure(protocol, runs.timed(ceilings), ceilings.between());
  row.timing = {quartiles(seconds), static_cast<Index>(seconds.size())};
  row.clocks = ceilings.clock().clocks();
  row.overhead = ceilings.empty_seconds();
  if (row.timing->repetitions < protocol.repetitions)
    add_remark(row.note, fmt::format("{} of {} repetitions within {:g} s", row.timing->repetitions,
                                     protocol.repetitions, protocol.budget));
  if (const std::string name = runs.changed(); !name.empty())
    return fail(
        fmt::format("{} has other bits after the last repetition than after the first", name));

  if (!protocol.cold) return;
  row.ceiling = ceilings.least({row.flops, row.bytes, arithmetic});
  const std::string reason =
      impossible(*row.percent(), *row.ceiling, row.bytes, ceilings.clock().cache());
  if (!reason.empty()) fail(reason);
}

}  // namespace

void bench_case(const Operator& op, const CaseEntry& entry, const RunOptions& options,
                const Machine& machine, const std::function<void(const BenchRow&)>& done) {
  const Case& c = entry.value;
  std::map<std::string, Digests> judged;  // by path
  RunOptions how = options;
  how.equalities = false;
  how.save = [&](const Result& result, const Tensors&, const Tensors& outputs) {
    judged[result.path] = digests(outputs);
  };
  for (const Result& result : run_case(op, entry, how).results) {
    const PathVariant variant = checked_variant(op, result.path);
    Ceilings* const ceilings = op.path(variant.path)->needs_device ? machine.device : &machine.cpu;
    BenchRow row;
    row.case_text = c.canonical();
    row.id = c.id();
    row.operator_name = c.operator_name();
    row.path = result.path;
    row.status = result.status;
    row.flops = op.path_flops(c, variant);
    row.bytes = total_bytes(op.inputs(c)) + total_bytes(stored_outputs(op, c, variant));
    row.reproducer = fmt::format("groundstate bench '{}' --path '{}'", row.case_text, row.path);
    if (ceilings != nullptr) {
      row.device = ceilings->clock().device();
      row.driver = ceilings->clock().driver();
      row.date = today();
      row.cold = ceilings->protocol().cold;
    }
    if (row.status != Status::passed && row.status != Status::marginal) {
      row.note = findings(result);
    } else if (ceilings == nullptr) {
      row.status = Status::unavailable;
      row.note = "no device";
    } else {
      RotatedRuns runs(op, c, variant, judged.at(row.path));
      time_path(runs, *ceilings, arithmetic_of(result.recipe), row);
    }
    done(row);
  }
}

}  // namespace groundstate::harness
