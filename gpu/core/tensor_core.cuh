// Tensor-core products of a warpgroup on Hopper (wgmma), bf16 or fp16 operands, fp32 accumulators.
//
//   D [64, 64] (+)= A [64, 16] B [16, 64]
//
// One shape serves every kernel: 64 columns are one swizzled row of 128 bytes, so a tile is a list
// of 64 x 64 blocks, and what is computed does not depend on how many of them a warpgroup has.
//
// Shared-memory operands are such blocks: 64 rows of 128 bytes, the 16-byte piece p of row r stored
// at piece p ^ (r % 8) (the copy engine's 128-byte swizzle), blocks aligned to 1024 bytes. With
// `rows` the index of the block's rows and `columns` that inside a row:
//   A [m, k], B [k, n] with k along columns    "k contiguous": rows are m or n
//   B [k, n]           with n along columns    "n contiguous": rows are k
//
// Registers of a fragment, thread t of the warpgroup, w = t / 32, l = t % 32:
//   accumulator d[4 j + 2 h + e] = D[16 w + l / 4 + 8 h][8 j + 2 (l % 4) + e]
//   operand A   a[h + 2 j], halves e = A[16 w + l / 4 + 8 h][8 j + 2 (l % 4) + e],  j = 0, 1
// so two 8-column groups of an accumulator, rounded, are one operand A.
//
// Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
#pragma once

#include <cstdint>
#include <type_traits>

#include "reference/core/scalar.hpp"

namespace groundstate::gpu {

constexpr int block_rows = 64, block_columns = 64;
constexpr int block_bytes = block_rows * block_columns * 2;
constexpr int step_depth = 16;  // of one instruction along k

// Byte offset of element (row, column) in a swizzled block.
__device__ inline unsigned swizzled(unsigned row, unsigned column) {
  return row * 128 + ((((column >> 3) ^ row) & 7) << 4) + (column & 7) * 2;
}

__device__ inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// ---- operand descriptors

// Eight rows are 1024 bytes apart; the distance between blocks is never used at this shape.
__device__ inline std::uint64_t block_descriptor(const void* block) {
  constexpr std::uint64_t stride = std::uint64_t{1024 >> 4} << 32, leading = std::uint64_t{1} << 16,
                          swizzle_128 = std::uint64_t{1} << 62;
  return swizzle_128 | stride | leading | ((shared_address(block) & 0x3ffff) >> 4);
}
// Step i along k: 16 columns, or 16 rows.
__device__ inline std::uint64_t along_columns(std::uint64_t descriptor, int step) {
  return descriptor + static_cast<std::uint64_t>(step * (step_depth * 2 >> 4));
}
__device__ inline std::uint64_t along_rows(std::uint64_t descriptor, int step) {
  return descriptor + static_cast<std::uint64_t>(step * (step_depth * 128 >> 4));
}

// ---- order of asynchronous products

// Before the first product after registers of a fragment were written.
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most `pending` committed groups are not complete.
template <int pending>
__device__ inline void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

struct Accumulator {
  float d[32];
};
struct OperandA {
  std::uint32_t a[4];
};
enum class Contiguous { k, n };  // of operand B

constexpr char bf16_in_ptx[] = "bf16", fp16_in_ptx[] = "f16";

// The instruction, whatever the type and wherever A is: %0 to %31 are D, %32 is the type, %33
// whether to accumulate, %34 the order of B. `operands` are A and B out of the rest, their signs,
// and whether what of them is in shared memory is transposed.
#define GROUNDSTATE_MULTIPLY(operands, ...)                                                        \
  asm volatile(                                                                                    \
      "{.reg .pred p; setp.ne.b32 p, %33, 0;\n"                                                    \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.%32.%32 "                                        \
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"                                    \
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, " operands ";}\n"         \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),        \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])                                         \
      : "C"(std::is_same_v<T, bf16> ? bf16_in_ptx : fp16_in_ptx),                                  \
        "r"(static_cast<int>(accumulate)), "n"(b_order == Contiguous::n), __VA_ARGS__)

// D = A B + (accumulate ? D : 0), both operands in shared memory, A k contiguous.
template <class T, Contiguous b_order = Contiguous::k>
__device__ inline void multiply(Accumulator& acc, std::uint64_t a, std::uint64_t b,
                                bool accumulate) {
  float(&d)[32] = acc.d;
  GROUNDSTATE_MULTIPLY("%35, %36, p, 1, 1, 0, %34", "l"(a), "l"(b));
}
// The same with A in registers, which must not change until the product is complete.
template <class T, Contiguous b_order = Contiguous::k>
__device__ inline void multiply(Accumulator& acc, const OperandA& a, std::uint64_t b,
                                bool accumulate) {
  float(&d)[32] = acc.d;
  GROUNDSTATE_MULTIPLY("{%35,%36,%37,%38}, %39, p, 1, 1, %34", "r"(a.a[0]), "r"(a.a[1]),
                       "r"(a.a[2]), "r"(a.a[3]), "l"(b));
}
#undef GROUNDSTATE_MULTIPLY

// ---- fragments

// Two numbers rounded to T, `low` in the lower half.
template <class T>
__device__ inline std::uint32_t pack(float low, float high) {
  std::uint32_t packed;
  if constexpr (std::is_same_v<T, bf16>)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}
template <class T>
__device__ inline float2 unpack(std::uint32_t packed) {
  if constexpr (std::is_same_v<T, bf16>)
    return {__uint_as_float(packed << 16), __uint_as_float(packed & 0xffff0000u)};
  float low, high;
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
      : "=f"(low), "=f"(high)
      : "r"(packed));
  return {low, high};
}

// Columns [16 step, 16 step + 16) of an accumulator as an operand A.
template <class T>
__device__ inline OperandA rounded_operand(const Accumulator& acc, int step) {
  const float* const d = acc.d + 8 * step;
  return {{pack<T>(d[0], d[1]), pack<T>(d[2], d[3]), pack<T>(d[4], d[5]), pack<T>(d[6], d[7])}};
}

// Four 8 x 8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix l / 8.
__device__ inline OperandA load_matrices_transposed(unsigned row) {
  OperandA r;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r.a[0]), "=r"(r.a[1]), "=r"(r.a[2]), "=r"(r.a[3])
               : "r"(row)
               : "memory");
  return r;
}
__device__ inline void store_matrices(unsigned row, const OperandA& x) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row),
               "r"(x.a[0]), "r"(x.a[1]), "r"(x.a[2]), "r"(x.a[3])
               : "memory");
}
__device__ inline void store_matrices_transposed(unsigned row, const OperandA& x) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(row),
               "r"(x.a[0]), "r"(x.a[1]), "r"(x.a[2]), "r"(x.a[3])
               : "memory");
}

// A^T of a block: the operand A [m, k] whose rows m are the block's columns, k the block's rows
// [16 step, 16 step + 16); warp w of the warpgroup gets columns [16 w, 16 w + 16).
__device__ inline OperandA transposed_operand(const void* block, int step, int warp, int lane) {
  const unsigned row = static_cast<unsigned>(step * 16 + (lane & 7) + ((lane >> 4) << 3));
  const unsigned column = static_cast<unsigned>(warp * 16 + (((lane >> 3) & 1) << 3));
  return load_matrices_transposed(shared_address(block) + swizzled(row, column));
}

}  // namespace groundstate::gpu
