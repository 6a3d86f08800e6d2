// A double becomes a bf16 without anybody saying so.
// expect: conversion from 'double' to non-scalar type
#include "reference/core/scalar.hpp"

using namespace groundstate;

bf16 store(double x) {
#ifdef CORRECT
  const auto result = bf16(x);
#else
  const bf16 result = x;
#endif
  return result;
}
