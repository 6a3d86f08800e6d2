// Line and bar pictures by gnuplot, as SVG that stands in a page: no prolog, no ids, text and axes
// in the colour of the text around it, the named colours below as variables of the page's style.
//
// One process draws all. Without gnuplot, or where it fails, there are no pictures but the reason.
#pragma once

#include <string>
#include <vector>

namespace groundstate::harness {

// The colours a script may use, and the variables of the style that they become.
namespace ink {
inline constexpr const char* path = "#010000";       // var(--path)
inline constexpr const char* peak = "#020000";       // var(--peak)
inline constexpr const char* emulation = "#030000";  // var(--emulation)
inline constexpr const char* limit = "#040000";      // var(--limit)
inline constexpr const char* faint = "#050000";      // var(--faint)
}  // namespace ink

struct Drawings {
  std::vector<std::string> svg;  // one a script, or none
  std::string missing;           // why there is none
};

// Each script draws one picture and sets neither terminal nor output. Numbers and fixed words only:
// no text of a record may get into a script. Throws ResourceError where no temporary folder can be
// made.
Drawings draw_with_gnuplot(const std::vector<std::string>& scripts);

}  // namespace groundstate::harness
