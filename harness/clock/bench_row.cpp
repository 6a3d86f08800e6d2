#include "harness/clock/bench_row.hpp"

#include <nlohmann/json.hpp>

#include "harness/run/result.hpp"

namespace groundstate::harness {

std::optional<double> BenchRow::percent() const {
  if (!timing || !ceiling) return std::nullopt;
  return 100 * ceiling->seconds / timing->seconds.median;
}

nlohmann::json to_record(const BenchRow& row) {
  nlohmann::json record = {{"schema", record_schema},
                           {"kind", bench_kind},
                           {"case", row.case_text},
                           {"id", row.id},
                           {"operator", row.operator_name},
                           {"path", row.path},
                           {"device", row.device},
                           {"status", name_of(row.status)},
                           {"flops", row.flops},
                           {"bytes", row.bytes},
                           {"clocks", row.clocks},
                           {"reproducer", row.reproducer},
                           {"environment", environment()}};
  if (row.timing) {
    const Quartiles& seconds = row.timing->seconds;
    record["median"] = seconds.median;
    record["quartiles"] = {seconds.first, seconds.third};
    record["repetitions"] = row.timing->repetitions;
    record["cold"] = row.cold;
    record["overhead"] = row.overhead;
  }
  if (row.ceiling) record["ceiling"] = {{"of", row.ceiling->of}, {"seconds", row.ceiling->seconds}};
  if (const auto percent = row.percent()) record["percent"] = *percent;
  if (!row.date.empty()) record["date"] = row.date;
  if (!row.driver.empty()) record["driver"] = row.driver;
  if (!row.library.empty()) record["library"] = row.library;
  if (!row.note.empty()) record["note"] = row.note;
  return record;
}

}  // namespace groundstate::harness
