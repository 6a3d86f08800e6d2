// mamba3_step on the device: the entry points of its kernels (equation and tensors:
// reference/mamba3_step/contract.hpp).
//
// Tensors are device views of the contract with element types known at run time. Index tensors are
// read on the device and must be legal there: slots inside of the pools, one lane a slot that is
// written, offsets that do not decrease (validate_indices() says so on a host). Offsets are 64 bit.
// No entry point allocates or waits; each can be captured in a graph. Results depend on nothing but
// the inputs: no atomics, every sum in a fixed order.
//
// Errors: std::invalid_argument naming the tensor or the workspace, what it is and what is
// accepted; std::runtime_error (gpu/core/check.hpp) where CUDA fails.
#pragma once

#include "gpu/mamba3_step/gathered.hpp"
#include "gpu/mamba3_step/recurrent.hpp"
#include "gpu/mamba3_step/separate.hpp"
#include "gpu/mamba3_step/step.hpp"
