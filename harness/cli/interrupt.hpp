// Ctrl-C: noted by a handler, acted on between two steps of work; a second one ends the program at
// once.
#pragma once

namespace groundstate::harness::cli {

void install_interrupt_handler();
// Throws Interrupted after Ctrl-C.
void check_interrupt();

}  // namespace groundstate::harness::cli
