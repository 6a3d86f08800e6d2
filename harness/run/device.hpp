// Running paths that may need a device.
//
// The device of this machine is asked for once, and in a child process: CUDA may be used in the
// child in which a case runs only if it was not used before that was forked.
#pragma once

#include "harness/operators/operator.hpp"

namespace groundstate::harness {

const Device& device();

// Operator::run. Throws ResourceError naming the case, the path and the reason where the path needs
// a device and there is none, or where the device fails.
std::string run_variant(const Operator& op, const Case& c, const PathVariant& variant,
                        const Tensors& inputs, Tensors& outputs);

}  // namespace groundstate::harness
