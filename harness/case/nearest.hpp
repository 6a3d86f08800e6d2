// The known word that was probably meant by an unknown one, by edit distance (insertions,
// deletions, substitutions; upper and lower case count as the same letter).
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace groundstate::harness {

// The nearest known word (the first of several), or nothing when more than half of the longer of
// the two words would have to change.
std::string nearest(std::string_view word, std::span<const std::string> known);

// The same as the end of a message: "; did you mean 'slow'?", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string> known);

}  // namespace groundstate::harness
