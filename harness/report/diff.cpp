#include "harness/report/diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "harness/report/overview.hpp"

namespace groundstate::harness {
namespace {

constexpr double margin_factor = 2, least_ratio = 0.01;

// A result, a contract or a problem of a raised limit, as far as a difference goes.
struct Item {
  std::string case_text, what, text, finding, reproducer;
  Status status = Status::passed;
  double ratio = 0;
};

using Key = std::pair<std::string, std::string>;

// In the order of the input.
struct Items {
  std::vector<Item> items;
  std::map<Key, std::size_t> places;

  void add(Item item) {
    const auto [place, is_new] = places.try_emplace(Key(item.case_text, item.what), items.size());
    if (is_new)
      items.push_back(std::move(item));
    else
      items[place->second] = std::move(item);
  }
  const Item* find(const Item& like) const {
    const auto found = places.find(Key(like.case_text, like.what));
    return found == places.end() ? nullptr : &items[found->second];
  }
};

Items items_of(const Records& records) {
  Items result;
  for (const ReportedResult& own : records.results) {
    Item item{own.case_text, own.result.path,       std::string(name_of(own.result.status)),
              own.finding(), own.result.reproducer, own.result.status,
              own.ratio()};
    if (const std::string clause = own.worst_clause(); !clause.empty()) item.text += " " + clause;
    result.add(std::move(item));
  }
  for (const ReportedContract& own : records.contracts) {
    const Status status = own.equality.violation ? Status::failed : Status::passed;
    result.add({own.case_text, own.equality.name, std::string(name_of(status)),
                own.equality.violation.value_or(""),
                fmt::format("groundstate run '{}'", own.case_text), status, 0});
  }
  for (const ReportedProblem& own : records.problems)
    result.add({own.case_text, own.text, "FAILED", "", "", Status::failed, 0});
  return result;
}

// 0 passed, 1 marginal, 2 failed; of a judged status.
int badness(Status status) { return is_failure(status) ? 2 : status == Status::marginal ? 1 : 0; }

std::optional<ChangeKind> change(const Item& before, const Item& after) {
  const bool was = is_judged(before.status), is = is_judged(after.status);
  if (!was && !is) return std::nullopt;
  if (!was) return ChangeKind::added;
  if (!is) return ChangeKind::gone;
  if (badness(after.status) != badness(before.status))
    return badness(after.status) > badness(before.status) ? ChangeKind::broken : ChangeKind::fixed;
  const double a = std::max(before.ratio, least_ratio), b = std::max(after.ratio, least_ratio);
  if (a != b && !(std::max(a, b) <= margin_factor * std::min(a, b))) return ChangeKind::moved;
  return std::nullopt;
}

}  // namespace

std::string_view name_of(ChangeKind kind) {
  switch (kind) {
    case ChangeKind::broken:
      return "BROKEN";
    case ChangeKind::fixed:
      return "FIXED";
    case ChangeKind::moved:
      return "MOVED";
    case ChangeKind::added:
      return "NEW";
    case ChangeKind::gone:
      return "GONE";
  }
  return "?";
}

Index ReportDifference::count(ChangeKind kind) const {
  return std::ranges::count(changes, kind, &ReportChange::kind);
}

ReportDifference difference(const Records& before, const Records& after) {
  const Items old = items_of(before), now = items_of(after);
  ReportDifference result;
  const auto add = [&](ChangeKind kind, const Item& like, const Item* was, const Item* is) {
    result.changes.push_back({kind, like.case_text, like.what, was != nullptr ? was->text : "",
                              is != nullptr ? is->text : "", is != nullptr ? is->finding : "",
                              like.reproducer});
  };
  for (const Item& own : now.items) {
    const Item* const was = old.find(own);
    const std::optional<ChangeKind> kind =
        was != nullptr ? change(*was, own) : std::optional(ChangeKind::added);
    if (kind)
      add(*kind, own, was, &own);
    else
      ++result.same;
  }
  for (const Item& own : old.items)
    if (now.find(own) == nullptr) add(ChangeKind::gone, own, &own, nullptr);
  std::ranges::stable_sort(result.changes, {}, &ReportChange::kind);
  return result;
}

}  // namespace groundstate::harness
