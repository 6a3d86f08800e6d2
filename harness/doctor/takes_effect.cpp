#include "harness/doctor/takes_effect.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "harness/case/error.hpp"

namespace groundstate::harness {
namespace {

std::vector<std::string> words_of(const Case& c, std::string_view key) {
  const std::vector<Key>& keys = c.grammar().keys;
  const auto found = std::ranges::find(keys, key, &Key::name);
  if (found == keys.end()) throw std::logic_error("no key " + std::string(key));
  if (const auto* const words = std::get_if<Key::Word>(&found->domain)) return words->words;
  if (const auto* const words = std::get_if<Key::WordOrReal>(&found->domain)) return words->words;
  return {};
}

// Elements that lie all over the tensor, in every phase of a pattern in time.
bool same_elements(const TensorSpec& left, const TensorSpec& right) {
  constexpr Index most = 1024;
  Index elements = 1;
  for (const AxisExtent& axis : left.axes) elements *= axis.extent;
  const Index count = std::min(elements, most);
  for (Index i = 0; i < count; ++i) {
    const Index at = elements * i / count;
    if (std::bit_cast<std::uint64_t>(left.element(at)) !=
        std::bit_cast<std::uint64_t>(right.element(at)))
      return false;
  }
  return true;
}

bool same_inputs(const std::vector<TensorSpec>& left, const std::vector<TensorSpec>& right) {
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i)
    if (left[i].name != right[i].name || !same_elements(left[i], right[i])) return false;
  return true;
}

}  // namespace

bool takes_effect(const Operator& op, const Case& c, std::string_view key) {
  const std::vector<TensorSpec> inputs = op.inputs(c);
  for (const std::string& word : words_of(c, key)) {
    if (word == c.get(key)) continue;
    try {
      if (same_inputs(inputs, op.inputs(c.with(key, word)))) return false;
    } catch (const UsageError&) {
      // The other word contradicts the rest of the case, which says nothing about this one.
    }
  }
  return true;
}

}  // namespace groundstate::harness
