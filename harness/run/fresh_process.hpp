// The outputs of a path from a process that has done nothing else.
#pragma once

#include <string>

#include "harness/generate/tensor_spec.hpp"

namespace groundstate::harness {

// Has `program` run the variant on the case and save what comes of it. The tensors are those of
// `expected`, by name and shape. Throws ResourceError where the program does not do so.
Tensors in_fresh_process(const std::string& program, const std::string& case_text,
                         const std::string& variant, const Tensors& expected);

}  // namespace groundstate::harness
