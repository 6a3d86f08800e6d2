// A case: one problem of one operator, written as a line of text.
//
//   simple_gla.backward B=2 T=1027 gate=slow seed=7
//
// The operator's name, then key=value for every key that differs from its default. The canonical
// line has the keys in declared order and no defaults; it is the identity of the case, and the id
// its digest. A default therefore never changes once released. Lines that stand for many cases:
// sweep.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/case/key.hpp"

namespace groundstate::harness {

// The keys of one operator in declared order. `path_keys` are names that select a variant of a path
// (path_variant.hpp); they have no place in a case line, and the message says where they belong.
struct Grammar {
  std::string operator_name;
  std::vector<Key> keys;
  std::vector<std::string> path_keys = {};
};

// Refers to its grammar, which must outlive it.
class Case {
 public:
  explicit Case(const Grammar& grammar) : grammar_(&grammar) {}  // every key at its default

  const Grammar& grammar() const { return *grammar_; }
  const std::string& operator_name() const { return grammar_->operator_name; }

  // The value of a declared key: its text, empty when it is absent or derived; or the number(s) it
  // holds. Throws std::logic_error when there is no such key or the value is no such number; an
  // absent list has no elements.
  const std::string& get(std::string_view key) const;
  std::int64_t integer(std::string_view key) const;
  double real(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key) const;
  bool is_explicit(std::string_view key) const;  // differs from the default

  // A copy with one value changed. Throws UsageError when the key is unknown or the value not
  // accepted.
  Case with(std::string_view key, std::string_view value) const;
  // A copy with one declared key back at its default, which may be absent.
  Case without(std::string_view key) const;

  std::string canonical() const;
  std::string id() const;  // first 16 hexadecimal digits of the SHA-256 of canonical()

  friend bool operator==(const Case&, const Case&) = default;

 private:
  std::size_t declared(std::string_view key) const;

  const Grammar* grammar_;
  std::map<std::size_t, std::string> values_;  // position of a key -> value that is not its default
};

// Exactly one case. Throws UsageError naming the word at fault, what is accepted there and the
// nearest known word.
Case parse_case(std::string_view text, std::span<const Grammar> grammars);

// A case line cut into words whose operator and keys are known, each key once; values are not
// looked at.
struct Assignment {
  std::vector<std::string_view> keys;  // more than one in a sweep of joined keys: T/V=64/16
  std::string_view values;
  std::string_view text;  // the whole word
};
struct SplitLine {
  const Grammar* grammar;
  std::vector<Assignment> assignments;
};
SplitLine split_case_line(std::string_view text, std::span<const Grammar> grammars);

}  // namespace groundstate::harness
