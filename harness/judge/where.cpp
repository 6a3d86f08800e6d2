#include "harness/judge/where.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "harness/judge/json_number.hpp"

namespace groundstate::harness {
namespace {

constexpr std::size_t listed = 8;  // values named one by one in a sentence

void count(std::vector<Index>& counts, Index value) {
  const auto place = static_cast<std::size_t>(value);
  if (counts.size() <= place) counts.resize(std::max(place + 1, 2 * counts.size()), 0);
  ++counts[place];
}

std::vector<Index> occupied(const std::vector<Index>& counts) {
  std::vector<Index> values;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] > 0) values.push_back(static_cast<Index>(i));
  return values;
}

// "only h=3", "only v=16..31", "h=1,3,5 of 8", "200 of 512 t", or nothing where all are affected.
std::string affected_text(const Where::Affected& affected, const std::string& letter) {
  const auto& values = affected.values;
  const auto found = static_cast<Index>(values.size());
  if (affected.all <= 1 || found == affected.all || found == 0) return {};
  if (found == 1) return fmt::format("only {}={}", letter, values.front());
  if (affected.is_range())
    return fmt::format("only {}={}..{}", letter, values.front(), values.back());
  if (values.size() <= listed)
    return fmt::format("only {}={} of {}", letter, fmt::join(values, ","), affected.all);
  return fmt::format("{} of {} {}", found, affected.all, letter);
}

std::string heads_text(const Where::Affected& heads) {
  const auto found = static_cast<Index>(heads.values.size());
  if (heads.all <= 1 || found == 0) return {};
  if (found == heads.all) return "all heads";
  if (found == 1) return fmt::format("only head {}", heads.values.front());
  if (heads.values.size() > listed) return fmt::format("{} of {} heads", found, heads.all);
  return fmt::format("only heads {} of {}", fmt::join(heads.values, ", "), heads.all);
}

nlohmann::json element_record(const TensorAxes& axes, const BadElement& element) {
  return {{"at", coordinate_text(axes, element)},
          {"sequence", element.pair.sequence},
          {"head", element.pair.head},
          {"row", element.row},
          {"column", element.column},
          {"got", json_number(element.got)},
          {"expected", json_number(element.expected)},
          {"error", json_number(element.error)}};
}

nlohmann::json affected_record(const Where::Affected& affected) {
  nlohmann::json record = {{"affected", affected.values.size()}, {"all", affected.all}};
  if (affected.values.empty()) return record;
  record["first"] = affected.values.front();
  record["last"] = affected.values.back();
  if (affected.values.size() <= listed) record["values"] = affected.values;
  return record;
}

}  // namespace

bool Where::Affected::is_range() const {
  return !values.empty() && values.back() - values.front() + 1 == static_cast<Index>(values.size());
}

std::string pair_text(const TensorAxes& axes, const PairAt& pair) {
  const std::string head = fmt::format("{}={}", axes.head, pair.head);
  return axes.sequence.empty() ? head : fmt::format("{}={} {}", axes.sequence, pair.sequence, head);
}

std::string coordinate_text(const TensorAxes& axes, const BadElement& element) {
  std::vector<std::string> parts;
  const auto say = [&parts](const std::string& letter, Index value) {
    if (!letter.empty()) parts.push_back(fmt::format("{}={}", letter, value));
  };
  say(axes.sequence, element.pair.sequence);
  if (axes.rows_are_time) say(axes.row, element.row);
  if (axes.chunk_rows > 0) say(axes.chunk_number, element.row / axes.chunk_rows);
  say(axes.head, element.pair.head);
  if (!axes.rows_are_time)
    say(axes.row, axes.chunk_rows > 0 ? element.row % axes.chunk_rows : element.row);
  say(axes.column, element.column);
  return fmt::format("{}", fmt::join(parts, " "));
}

void WorstElements::insert(const BadElement& element) {
  const auto place =
      std::upper_bound(elements_.begin(), elements_.end(), element,
                       [](const BadElement& a, const BadElement& b) { return a.error > b.error; });
  elements_.insert(place, element);
  if (elements_.size() > capacity) elements_.pop_back();
}

void WhereHistogram::add_pair(PairAt pair, Index rows, Index columns) {
  elements_ += rows * columns;
  count(all_sequences_, pair.sequence);
  count(all_heads_, pair.head);
  all_columns_ = std::max(all_columns_, columns);
}

void WhereHistogram::add_bad(PairAt pair, Index rows, Index row, Index column) {
  ++bad_;
  count(sequences_, pair.sequence);
  count(heads_, pair.head);
  if (axes_.chunk_rows > 0) {
    row /= axes_.chunk_rows;
    rows /= axes_.chunk_rows;
  }
  count(rows_, row);
  count(columns_, column);
  affected_length_ = std::max(affected_length_, rows);
  const Index tail = axes_.chunk > 1 ? rows % axes_.chunk : 0;
  tail_ += row >= rows - tail;
  first_token_ += row == 0;
  last_token_ += row == rows - 1;
}

Where WhereHistogram::finish(std::optional<BadElement> first, std::vector<BadElement> worst) const {
  Where where;
  where.axes = axes_;
  where.elements = elements_;
  where.bad = bad_;
  where.first = std::move(first);
  where.worst = std::move(worst);
  where.sequences = {occupied(sequences_), static_cast<Index>(occupied(all_sequences_).size())};
  where.heads = {occupied(heads_), static_cast<Index>(occupied(all_heads_).size())};
  where.rows = {occupied(rows_), affected_length_};
  where.columns = {occupied(columns_), all_columns_};
  where.unwritten_rows = unwritten_rows_;
  if (!axes_.rows_are_time || bad_ == 0) return where;
  where.ragged_tail = tail_ == bad_;
  where.first_token = first_token_ == bad_;
  where.last_token = last_token_ == bad_;
  const auto& times = where.rows.values;
  if (axes_.chunk > 1) {
    const Index residue = times.front() % axes_.chunk;
    const bool shared = std::all_of(times.begin(), times.end(),
                                    [&](Index t) { return t % axes_.chunk == residue; });
    // One bad time shares a residue with itself; it is worth a word at the edge of a chunk only.
    const bool edge = residue == axes_.chunk - 1 || (residue == 0 && times.front() > 0);
    if (shared && (times.size() > 1 || edge)) where.residue = residue;
  }
  return where;
}

const BadElement* Where::shown() const {
  return first ? &*first : worst.empty() ? nullptr : &worst.front();
}

// In hexadecimal and decimal; the sign of a NaN says nothing.
std::string number_text(double x) {
  return std::isfinite(x) ? fmt::format("{:a} ({:g})", x, x)
         : std::isnan(x)  ? "NaN"
                          : fmt::format("{}", x);
}

std::string Where::sentence() const {
  std::vector<std::string> parts;
  const auto say = [&parts](std::string part) {
    if (!part.empty()) parts.push_back(std::move(part));
  };
  if (const BadElement* const shown = this->shown(); shown != nullptr)
    say(fmt::format("{} at {}: got {}, expected {}", first ? "first" : "worst",
                    coordinate_text(axes, *shown), number_text(shown->got),
                    number_text(shown->expected)));
  say(fmt::format("{} of {} elements", bad, elements));
  if (unwritten_rows > 0)
    say(fmt::format("{} {} NaN throughout (never written?)", unwritten_rows,
                    unwritten_rows == 1 ? "row" : "rows"));
  say(affected_text(sequences, axes.sequence));
  say(heads_text(heads));
  say(affected_text(columns, axes.column));
  // Both: there is one token, and nothing to say of it.
  if (first_token && !last_token) say("only at the first token");
  if (last_token && !first_token) say("only at the last token");
  if (ragged_tail) say("only in the last, partial chunk");
  if (residue) say(fmt::format("all at {} = {} mod {}", axes.row, *residue, axes.chunk));
  if (!residue && !ragged_tail && !first_token && !last_token)
    say(affected_text(rows, axes.chunk_rows > 0 ? axes.chunk_number : axes.row));
  return fmt::format("{}", fmt::join(parts, "; "));
}

nlohmann::json to_record(const Where& where) {
  nlohmann::json record = {{"sentence", where.sentence()},
                           {"elements", where.elements},
                           {"bad", where.bad},
                           {"sequences", affected_record(where.sequences)},
                           {"heads", affected_record(where.heads)},
                           {"rows", affected_record(where.rows)},
                           {"columns", affected_record(where.columns)},
                           {"ragged_tail", where.ragged_tail},
                           {"first_token", where.first_token},
                           {"last_token", where.last_token},
                           {"unwritten_rows", where.unwritten_rows}};
  if (where.residue) record["residue"] = {{"value", *where.residue}, {"modulo", where.axes.chunk}};
  if (where.first) record["first"] = element_record(where.axes, *where.first);
  record["worst"] = nlohmann::json::array();
  for (const BadElement& element : where.worst)
    record["worst"].push_back(element_record(where.axes, element));
  return record;
}

}  // namespace groundstate::harness
