#include "harness/run/result.hpp"

#include <fmt/format.h>
#include <gnu/libc-version.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "harness/judge/json_number.hpp"
#include "harness/run/build_id.hpp"
#include "reference/core/parallel.hpp"

namespace groundstate::harness {

using nlohmann::json;

void Result::set_stages(StageReport report) {
  if (status <= Status::failed) status = std::max(status, report.verdict.status);
  stages = std::move(report);
}

bool CaseReport::failed() const {
  return !raised_limit_problems.empty() ||
         std::any_of(results.begin(), results.end(),
                     [](const Result& r) {
                       return r.status == Status::failed || r.status == Status::mistrusted;
                     }) ||
         std::any_of(equalities.begin(), equalities.end(),
                     [](const EqualityResult& e) { return e.broken(); });
}

Index CaseReport::judged() const {
  return std::count_if(results.begin(), results.end(), [](const Result& r) {
    return r.status != Status::unsupported && r.status != Status::unavailable;
  });
}

json environment() {
  return {{"build", build_id()},
          {"compiler", "g++ " __VERSION__},
          {"flags", "-march=x86-64-v3 -ffp-contract=off"},
          {"libc", gnu_get_libc_version()},
          {"threads", threads()}};
}

std::vector<json> to_records(const CaseReport& report) {
  std::vector<json> records;
  const json shared = {{"schema", record_schema},
                       {"case", report.case_text},
                       {"id", report.id},
                       {"operator", report.operator_name}};
  for (const Result& r : report.results) {
    json record = shared;
    record.update(json{{"path", r.path},
                       {"recipe", r.recipe},
                       {"form", r.form},
                       {"device", r.device},
                       {"status", name_of(r.status)},
                       {"seconds", r.seconds},
                       {"pairs", report.pairs},
                       {"sampled_pairs", report.sampled},
                       {"reproducer", r.reproducer},
                       {"environment", environment()}});
    if (!r.note.empty()) record["note"] = r.note;
    if (!report.reason.empty()) record["reason"] = report.reason;
    record.update(to_record(r.verdict));
    record["status"] = name_of(r.status);
    if (r.stages) record["stages"] = to_record(*r.stages);
    for (const OracleCertificate& own : r.certificate)
      record["certificate"][own.tensor] = {{"median", json_number(own.exact.median)},
                                           {"p999", json_number(own.exact.p999)},
                                           {"max", json_number(own.exact.maximum)},
                                           {"of_recipe", json_number(own.largest)},
                                           {"good", own.good}};
    if (r.gradients)
      record["gradient_certificate"] = {{"pairs", r.gradients->pairs},
                                        {"worst", json_number(r.gradients->worst)}};
    records.push_back(std::move(record));
  }
  for (const EqualityResult& e : report.equalities) {
    json record = shared;
    if (!e.declared) {
      record.update(json{{"observation", e.name},
                         {"why", e.reason},
                         {"same", !e.violation},
                         {"status", "PASSED"}});
      if (e.violation) record["difference"] = *e.violation;
      records.push_back(std::move(record));
      continue;
    }
    record.update(json{
        {"equality", e.name}, {"why", e.reason}, {"status", e.violation ? "FAILED" : "PASSED"}});
    if (e.violation) record["violation"] = *e.violation;
    records.push_back(std::move(record));
  }
  for (const std::string& problem : report.raised_limit_problems) {
    json record = shared;
    record.update(json{{"raised_limit_problem", problem}, {"status", "FAILED"}});
    records.push_back(std::move(record));
  }
  for (json& record : records) {
    record["records"] = records.size();
    if (!report.request.empty()) record["request"] = report.request;
  }
  return records;
}

void apply_raised_limits(CaseReport& report, const std::vector<RaisedLimit>& raised) {
  const std::chrono::year_month_day today{
      std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now())};
  for (const RaisedLimit& limit : raised) {
    if (limit.expired_on(today)) {
      report.raised_limit_problems.push_back(
          fmt::format("{}: the raised limit {}/{} has expired: {}", limit.source, limit.path,
                      limit.clause, limit.reason));
      continue;
    }
    bool needed = false;
    for (Result& result : report.results) {
      if (result.path != limit.path && !result.path.starts_with(limit.path + "[") &&
          !result.path.starts_with(limit.path + ":"))
        continue;
      // Of a path that came to no end nobody knows what it would need.
      needed = needed || result.unfinished;
      if (result.memory_violated || result.unfinished) continue;
      for (TensorVerdict& tensor : result.verdict.tensors) {
        for (Clause& clause : tensor.clauses)
          if (!clause.passed && clause.name == limit.clause &&
              clause.value <= clause.limit * limit.factor) {
            clause.passed = needed = true;
            clause.limit *= limit.factor;
            clause.raised = limit.factor;
            clause.detail = fmt::format("limit raised x{:g} until {}: {}", limit.factor,
                                        limit.last_day(), limit.reason);
          }
        const bool clean = std::all_of(tensor.clauses.begin(), tensor.clauses.end(),
                                       [](const Clause& c) { return c.passed; });
        if (needed && clean) tensor.status = Status::passed;
      }
      const PathVerdict combined = combine(result.verdict.tensors);
      if (needed && result.status == result.verdict.status) result.status = combined.status;
      result.verdict = combined;
    }
    if (!needed)
      report.raised_limit_problems.push_back(
          fmt::format("{}: nothing needs the raised limit {}/{} any more: {}", limit.source,
                      limit.path, limit.clause, limit.reason));
  }
}

}  // namespace groundstate::harness
