// The mustache templates of harness/report/templates/, built into the program.
#pragma once

namespace groundstate::harness::templates {

extern const char* const page;
extern const char* const junit;
extern const char* const summary;

}  // namespace groundstate::harness::templates
