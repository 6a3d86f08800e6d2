#include "harness/cli/interrupt.hpp"

#include <csignal>

#include "harness/case/error.hpp"

namespace groundstate::harness::cli {
namespace {

volatile std::sig_atomic_t interrupted_flag = 0;

extern "C" void note_interrupt(int signal) {
  interrupted_flag = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void install_interrupt_handler() { std::signal(SIGINT, note_interrupt); }

void check_interrupt() {
  if (interrupted_flag) throw Interrupted();
}

}  // namespace groundstate::harness::cli
