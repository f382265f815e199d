#include "target/cuda/prelude.h"

#include <fmt/format.h>

namespace burnish::cuda_target {

// What expr.h defines of scalar operations, for devices. Also compiles as plain C++ with tests/cuda/emulation.h in
// front.
const std::string_view prelude = R"(
#define HELPER static __device__ __forceinline__
HELPER float infinite() { return __int_as_float(0x7f800000); }
HELPER float not_a_number() { return __int_as_float(0x7fc00000); }
template <class T> HELPER T larger(T a, T b) { return a > b ? a : b; }
template <class T> HELPER T smaller(T a, T b) { return a < b ? a : b; }
template <class T> HELPER T min_nan(T a, T b) { return a < b || a != a ? a : b; }
template <class T> HELPER T max_nan(T a, T b) { return a > b || a != a ? a : b; }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
HELPER float min_nan(float a, float b) { float c; asm("min.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b)); return c; }
HELPER float max_nan(float a, float b) { float c; asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b)); return c; }
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
// Floats with their signs are in the order of integers; NaN that was computed has none.
HELPER float relu_where(bool inside, float x) {
  int y;
  asm("min.relu.s32 %0, %1, %2;" : "=r"(y) : "r"(__float_as_int(x)), "r"(inside ? 0x7fffffff : 0));
  return __int_as_float(y);
}
#else
HELPER float relu_where(bool inside, float x) { return inside ? max_nan(x, 0.0f) : 0.0f; }
#endif
template <class T> HELPER T floor_quotient(T a, T b) { if (b == 0) return 0; T q = a / b; return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q; }
template <class T> HELPER T floor_remainder(T a, T b) { if (b == 0) return 0; T r = a % b; return r != 0 && (r < 0) != (b < 0) ? r + b : r; }
HELPER int ceil_div(int a, int b) { return -floor_quotient(-a, b); }
template <class T> HELPER T quotient(T a, T b) { return b == 0 ? 0 : b == T(-1) ? T(0) - a : a / b; }
template <class T> HELPER T remainder_of(T a, T b) { return b == 0 || b == T(-1) ? 0 : a % b; }
template <class T> HELPER T shift_left(T a, T b) { return b < 0 || b >= T(8 * sizeof(T)) ? 0 : T(a << b); }
template <class T> HELPER T shift_right(T a, T b) { return b < 0 || b >= T(8 * sizeof(T)) ? (a < 0 ? T(-1) : T(0)) : T(a >> b); }
template <class T> HELPER T abs_of(T a) { return a < 0 ? T(0) - a : a; }
template <class T> HELPER T sign_of(T a) { return a != a ? a : T(T(a > 0) - T(a < 0)); }
HELPER float abs_of(float a) { return fabsf(a); }
HELPER double abs_of(double a) { return fabs(a); }
#define FLOAT_AND_DOUBLE(name, f, d) HELPER float name(float a) { return f(a); } HELPER double name(double a) { return d(a); }
FLOAT_AND_DOUBLE(exp_of, expf, exp) FLOAT_AND_DOUBLE(log_of, logf, log) FLOAT_AND_DOUBLE(sqrt_of, sqrtf, sqrt)
FLOAT_AND_DOUBLE(rsqrt_of, rsqrtf, rsqrt) FLOAT_AND_DOUBLE(tanh_of, tanhf, tanh) FLOAT_AND_DOUBLE(erf_of, erff, erf)
FLOAT_AND_DOUBLE(sin_of, sinf, sin) FLOAT_AND_DOUBLE(cos_of, cosf, cos) FLOAT_AND_DOUBLE(tan_of, tanf, tan)
FLOAT_AND_DOUBLE(asin_of, asinf, asin) FLOAT_AND_DOUBLE(acos_of, acosf, acos) FLOAT_AND_DOUBLE(atan_of, atanf, atan)
FLOAT_AND_DOUBLE(sinh_of, sinhf, sinh) FLOAT_AND_DOUBLE(cosh_of, coshf, cosh) FLOAT_AND_DOUBLE(asinh_of, asinhf, asinh)
FLOAT_AND_DOUBLE(acosh_of, acoshf, acosh) FLOAT_AND_DOUBLE(atanh_of, atanhf, atanh) FLOAT_AND_DOUBLE(floor_of, floorf, floor)
FLOAT_AND_DOUBLE(ceil_of, ceilf, ceil) FLOAT_AND_DOUBLE(round_of, rintf, rint) FLOAT_AND_DOUBLE(trunc_of, truncf, trunc)
HELPER float sigmoid_of(float a) { return 1.0f / (1.0f + expf(-a)); }
HELPER double sigmoid_of(double a) { return 1.0 / (1.0 + exp(-a)); }
template <class T> HELPER bool isnan_of(T a) { return a != a; }
HELPER bool isinf_of(float a) { return fabsf(a) == infinite(); }
HELPER bool isinf_of(double a) { return fabs(a) == (double)infinite(); }
HELPER float fmod_of(float a, float b) { return fmodf(a, b); }
HELPER double fmod_of(double a, double b) { return fmod(a, b); }
template <class T> HELPER T power(T a, T b) {
  if (b < 0) return a == 1 ? T(1) : a == T(-1) ? T(b & 1 ? -1 : 1) : T(0);
  unsigned long long r = 1, x = (unsigned long long)a;
  for (; b; b >>= 1, x *= x) r *= b & 1 ? x : 1;
  return T(r);
}
HELPER float power(float a, float b) { return powf(a, b); }
HELPER double power(double a, double b) { return pow(a, b); }
HELPER float fma_of(float a, float b, float c) { return fmaf(a, b, c); }
HELPER double fma_of(double a, double b, double c) { return fma(a, b, c); }
template <class T, class F> HELPER T saturated(F x) {
  const double lowest = T(-1) < T(0) ? -(double)(1ull << (8 * sizeof(T) - 1)) : 0;
  const double above = T(-1) < T(0) ? (double)(1ull << (8 * sizeof(T) - 1)) : 2.0 * (double)(1ull << (8 * sizeof(T) - 1));
  if (x != x) return 0;
  if ((double)x < lowest) return T(T(-1) < T(0) ? T(1) << (8 * sizeof(T) - 1) : T(0));
  if ((double)x >= above) return T(~(T(-1) < T(0) ? T(1) << (8 * sizeof(T) - 1) : T(0)));
  return (T)x;
}
HELPER float2 load2(const float* p) { return *(const float2*)p; }
HELPER float4 load4(const float* p) { return *(const float4*)p; }
HELPER void store2(float* p, float a, float b) { *(float2*)p = make_float2(a, b); }
HELPER void store4(float* p, float a, float b, float c, float d) { *(float4*)p = make_float4(a, b, c, d); }
template <class T> HELPER T of_later_thread(T x, int distance) { return __shfl_down_sync(0xffffffffu, x, distance); }
template <class T> HELPER T exchanged(T x, int distance, int threads) {
  return __shfl_xor_sync(threads == 32 ? 0xffffffffu : ((1u << threads) - 1) << (threadIdx.x & (32 - threads)), x, distance);
}
#ifndef EMULATED
// Of what its block wrote before, all is there for those who count after it.
HELPER unsigned counted_up(unsigned* at, unsigned most) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(before) : "l"(at), "r"(most) : "memory");
  return before;
}
#endif
// Counters are 0 again when all blocks have been here.
template <unsigned blocks> HELPER bool last_of_group(unsigned* counters) {
  __syncthreads();
  unsigned others = 0;
  if (threadIdx.x == 0) others = counted_up(counters + blockIdx.x / blocks, blocks - 1);
  return __syncthreads_or(others == blocks - 1);
}
#ifndef EMULATED
// Compilers move the loads below in front of branches and loops around them, with what they know of conditions left out.
HELPER bool unknown(bool x) {
  unsigned y;
  asm("mov.u32 %0, %1;" : "=r"(y) : "r"((unsigned)x));
  return y;
}
// `kind`: what ld.global is called; .nc is for what nobody writes, and may be done before waiting for other kernels.
#define LOADS_WHERE(name, kind) \
HELPER float load1##name(bool inside, const float* p) { \
  float v; \
  asm("{.reg .pred q; setp.ne.s32 q, %2, 0; mov.f32 %0, 0f00000000; @q ld.global" kind ".f32 %0, [%1];}" : "=&f"(v) : "l"(p), "r"((int)inside)); \
  return v; \
} \
HELPER float2 load2##name(bool inside, const float* p) { \
  float2 v; \
  asm("{.reg .pred q; setp.ne.s32 q, %3, 0; mov.f32 %0, 0f00000000; mov.f32 %1, 0f00000000; @q ld.global" kind ".v2.f32 {%0, %1}, [%2];}" \
      : "=&f"(v.x), "=&f"(v.y) : "l"(p), "r"((int)inside)); \
  return v; \
} \
HELPER float4 load4##name(bool inside, const float* p) { \
  float4 v; \
  asm("{.reg .pred q; setp.ne.s32 q, %5, 0; mov.f32 %0, 0f00000000; mov.f32 %1, 0f00000000; mov.f32 %2, 0f00000000; mov.f32 %3, 0f00000000; @q ld.global" kind ".v4.f32 {%0, %1, %2, %3}, [%4];}" \
      : "=&f"(v.x), "=&f"(v.y), "=&f"(v.z), "=&f"(v.w) : "l"(p), "r"((int)inside)); \
  return v; \
}
LOADS_WHERE(_where, "")
LOADS_WHERE(_constant_where, ".nc")
template <int bytes> HELPER void copy_async(float* to, const float* from, bool inside) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "n"(bytes), "r"(inside ? bytes : 0) : "memory");
#else
  for (int i = 0; i < bytes / 4; ++i) to[i] = inside ? from[i] : 0.0f;
#endif
}
HELPER void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
template <int left> HELPER void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}
HELPER void group_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
HELPER uint2 load_tiles2(const void* p) {
  uint2 v;
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"((unsigned)__cvta_generic_to_shared(p)) : "memory");
  return v;
}
HELPER uint4 load_tiles4(const void* p) {
  uint4 v;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"((unsigned)__cvta_generic_to_shared(p)) : "memory");
  return v;
}
HELPER float2 load_tiles2(const float* p) {
  const uint2 v = load_tiles2((const void*)p);
  return make_float2(__uint_as_float(v.x), __uint_as_float(v.y));
}
HELPER float4 load_tiles4(const float* p) {
  const uint4 v = load_tiles4((const void*)p);
  return make_float4(__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w));
}
HELPER int wait_for_kernels_before() {
  int zero = 0;
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n\tmov.u32 %0, 0;" : "=r"(zero)::"memory");
#endif
  return zero;
}
HELPER void let_next_kernel_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
template <int blocks> HELPER void meet_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive;\n\tbarrier.cluster.wait;" ::: "memory");
#endif
}
// Of blocks that have nothing to hand on any more.
template <int blocks> HELPER void leave_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\n\tbarrier.cluster.wait.aligned;" ::: "memory");
#endif
}
template <class T> HELPER T* of_neighbour(T* p, unsigned block) {
#if __CUDA_ARCH__ >= 900
  asm("mapa.u64 %0, %0, %1;" : "+l"(p) : "r"(block));
#endif
  return p;
}
HELPER void mma_16x8x8_tf32(float& c0, float& c1, float& c2, float& c3, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
#endif
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
HELPER void begin_warpgroup_sums() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
HELPER void end_warpgroup_sums() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// The sums are there; compilers take nothing that reads them before that.
template <class... F> HELPER void wait_for_warpgroup_sums(F&... sums) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  (void(([](float& x) { asm volatile("" : "+f"(x) :: "memory"); })(sums)), ...);
}
HELPER void let_warpgroups_read() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Of the block's memory in units of 16 bytes, the same for all threads of a warp, and what descriptions have beside it.
typedef unsigned WarpgroupPlace;
HELPER WarpgroupPlace warpgroup_place(const void* p) { return __shfl_sync(0xffffffffu, (unsigned)__cvta_generic_to_shared(p) >> 4 | 1u << 16, 0); }
// A matrix of rows of a swizzle, `rows` bytes from eight to the next, as the instruction has it described.
template <int swizzle> HELPER unsigned long long described(WarpgroupPlace p, int rows) {
  constexpr unsigned code = swizzle == 128 ? 1 : swizzle == 64 ? 2 : 3;
  return (unsigned long long)(code << 30 | (unsigned)rows / 16) << 32 | p;
}
#else
typedef const uint4* WarpgroupPlace;
HELPER WarpgroupPlace warpgroup_place(const void* p) { return (const uint4*)p; }
HELPER void begin_warpgroup_sums() {}
HELPER void end_warpgroup_sums() {}
template <class... F> HELPER void wait_for_warpgroup_sums(F&...) {}
HELPER void let_warpgroups_read() {}
#endif
template <int rows, int size> HELPER int swizzled(int i) { return i ^ (int)((unsigned)i / (128 / size) % (rows / 16) * (16 / size)); }
// Four bytes of such a row, by their number.
template <int swizzle> HELPER unsigned of_swizzled_row(const void* row, int i) {
  const unsigned long long at = (unsigned long long)row + 4 * i;
  return *(const unsigned*)(at ^ (at / 128 % (swizzle / 16) * 16));
}
// Where there is no instruction of four warps: one of each for every eight columns. `sum`: of the precision.
template <int swizzle, class Sum> HELPER void sum_of_warp(float& c0, float& c1, float& c2, float& c3, const void* a, int rows_a, const void* b, const Sum& sum) {
  const int thread = threadIdx.x % 32, g = thread / 4, t = thread % 4;
  const char* const upper = (const char*)a + threadIdx.x / 32 % 4 * 2 * rows_a + g * swizzle;
  const char* const column = (const char*)b + g * swizzle;
  sum(c0, c1, c2, c3, of_swizzled_row<swizzle>(upper, t), of_swizzled_row<swizzle>(upper + rows_a, t), of_swizzled_row<swizzle>(upper, t + 4),
      of_swizzled_row<swizzle>(upper + rows_a, t + 4), of_swizzled_row<swizzle>(column, t), of_swizzled_row<swizzle>(column, t + 4));
}
// The nearest number of 10 bits; bits below them, which the instruction does not look at, are left.
HELPER unsigned nearest_tf32(float x) { return __float_as_uint(x) + 0x1000u; }
HELPER unsigned nearest_tf32(unsigned rounded) { return rounded; }
HELPER unsigned nearest_tf32_of_relu(float x) { return larger((int)nearest_tf32(x), 0); }
HELPER float nearly_tf32(float x) { return __uint_as_float(nearest_tf32(x)); }
HELPER unsigned bits(float x) { return __float_as_uint(x); }
template <class A, class B> HELPER void sum_tf32(float& c0, float& c1, float& c2, float& c3, A a0, A a1, A a2, A a3, B b0, B b1) {
  mma_16x8x8_tf32(c0, c1, c2, c3, nearest_tf32(a0), nearest_tf32(a1), nearest_tf32(a2), nearest_tf32(a3), nearest_tf32(b0), nearest_tf32(b1));
}
// A float as the sum of two such numbers; the product of the small ones is below its rounding. Instructions round sums towards
// zero, which adds up: theirs are of one step, added to the others' by the usual rounding.
HELPER float large_part(float x) { return __uint_as_float(nearest_tf32(x) & 0xffffe000u); }
HELPER void sum_3xtf32(float& c0, float& c1, float& c2, float& c3, float a0, float a1, float a2, float a3, float b0, float b1) {
  const float A0 = large_part(a0), A1 = large_part(a1), A2 = large_part(a2), A3 = large_part(a3), B0 = large_part(b0), B1 = large_part(b1);
  float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  mma_16x8x8_tf32(s0, s1, s2, s3, bits(a0 - A0), bits(a1 - A1), bits(a2 - A2), bits(a3 - A3), bits(B0), bits(B1));
  mma_16x8x8_tf32(s0, s1, s2, s3, bits(A0), bits(A1), bits(A2), bits(A3), bits(b0 - B0), bits(b1 - B1));
  mma_16x8x8_tf32(s0, s1, s2, s3, bits(A0), bits(A1), bits(A2), bits(A3), bits(B0), bits(B1));
  c0 += s0;
  c1 += s1;
  c2 += s2;
  c3 += s3;
}
)";

// Floats of 16 bits: their bits, and conversions.
const std::string_view half_prelude = R"(
#ifndef EMULATED
HELPER unsigned short half_bits(float x) { unsigned short h; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x)); return h; }
HELPER float half_value(unsigned short h) { float x; asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h)); return x; }
#define SUMS_OF_PAIRS(type) \
HELPER void sum_##type(float& c0, float& c1, float& c2, float& c3, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) { \
  asm("mma.sync.aligned.m16n8k16.row.col.f32." #type "." #type ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
      : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1)); \
} \
HELPER void sum_##type(float& c0, float& c1, float& c2, float& c3, unsigned a0, unsigned a1, unsigned b0) { \
  asm("mma.sync.aligned.m16n8k8.row.col.f32." #type "." #type ".f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};" \
      : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a0), "r"(a1), "r"(b0)); \
}
SUMS_OF_PAIRS(f16)
#endif
struct half {
  unsigned short bits;
  half() = default;
  __device__ __forceinline__ half(float x) : bits(half_bits(x)) {}
  __device__ __forceinline__ operator float() const { return half_value(bits); }
};
// A float's upper half, rounded to the nearest, of two the even.
struct bfloat16 {
  unsigned short bits;
  bfloat16() = default;
  __device__ __forceinline__ bfloat16(float x) {
    const unsigned b = __float_as_uint(x);
    bits = (unsigned short)(x != x ? b >> 16 | 0x40u : (b + 0x7fffu + (b >> 16 & 1)) >> 16);
  }
  __device__ __forceinline__ operator float() const { return __uint_as_float((unsigned)bits << 16); }
};
HELPER half of_bits(unsigned short bits) { half h; h.bits = bits; return h; }
HELPER half low(unsigned x) { return of_bits((unsigned short)x); }
HELPER half high(unsigned x) { return of_bits((unsigned short)(x >> 16)); }
HELPER unsigned pair_of(half a, half b) { return (unsigned)a.bits | (unsigned)b.bits << 16; }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
HELPER unsigned pair_of(float a, float b) { unsigned x; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(b), "f"(a)); return x; }
#else
HELPER unsigned pair_of(float a, float b) { return pair_of(half(a), half(b)); }
#endif
#ifndef EMULATED
#define HALF_WHERE(name, kind) \
HELPER half load1##name(bool inside, const half* p) { \
  unsigned short h; \
  asm("{.reg .pred q; setp.ne.s32 q, %2, 0; mov.u16 %0, 0; @q ld.global" kind ".u16 %0, [%1];}" : "=&h"(h) : "l"(p), "r"((int)inside)); \
  return of_bits(h); \
}
#else
#define HALF_WHERE(name, kind) HELPER half load1##name(bool inside, const half* p) { return inside ? *p : of_bits(0); }
#endif
#define HALVES_WHERE(name, kind) HALF_WHERE(name, kind) \
HELPER uint1 load2##name(bool inside, const half* p) { return make_uint1(__float_as_uint(load1##name(inside, (const float*)p))); } \
HELPER uint2 load4##name(bool inside, const half* p) { \
  const float2 v = load2##name(inside, (const float*)p); \
  return make_uint2(__float_as_uint(v.x), __float_as_uint(v.y)); \
} \
HELPER uint4 load8##name(bool inside, const half* p) { \
  const float4 v = load4##name(inside, (const float*)p); \
  return make_uint4(__float_as_uint(v.x), __float_as_uint(v.y), __float_as_uint(v.z), __float_as_uint(v.w)); \
}
HALVES_WHERE(_where, "")
HALVES_WHERE(_constant_where, ".nc")
HELPER uint1 load2(const half* p) { return *(const uint1*)p; }
HELPER uint2 load4(const half* p) { return *(const uint2*)p; }
HELPER uint4 load8(const half* p) { return *(const uint4*)p; }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 530
HELPER unsigned product_of_pairs(unsigned a, unsigned b) { unsigned x; asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(x) : "r"(a), "r"(b)); return x; }
HELPER unsigned fma_of_pairs(unsigned a, unsigned b, unsigned c) { unsigned x; asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(x) : "r"(a), "r"(b), "r"(c)); return x; }
#else
HELPER unsigned product_of_pairs(unsigned a, unsigned b) { return pair_of((float)low(a) * (float)low(b), (float)high(a) * (float)high(b)); }
HELPER unsigned fma_of_pairs(unsigned a, unsigned b, unsigned c) {
  return pair_of(fmaf((float)low(a), (float)low(b), (float)low(c)), fmaf((float)high(a), (float)high(b), (float)high(c)));
}
#endif
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
HELPER unsigned relu_of_fma_of_pairs(unsigned a, unsigned b, unsigned c) { unsigned x; asm("fma.rn.relu.f16x2 %0, %1, %2, %3;" : "=r"(x) : "r"(a), "r"(b), "r"(c)); return x; }
HELPER unsigned larger_of_pairs(unsigned a, unsigned b) { unsigned x; asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(x) : "r"(a), "r"(b)); return x; }
HELPER unsigned smaller_of_pairs(unsigned a, unsigned b) { unsigned x; asm("min.NaN.f16x2 %0, %1, %2;" : "=r"(x) : "r"(a), "r"(b)); return x; }
#else
HELPER unsigned larger_of_pairs(unsigned a, unsigned b) {
  return pair_of(max_nan((float)low(a), (float)low(b)), max_nan((float)high(a), (float)high(b)));
}
HELPER unsigned smaller_of_pairs(unsigned a, unsigned b) {
  return pair_of(min_nan((float)low(a), (float)low(b)), min_nan((float)high(a), (float)high(b)));
}
HELPER unsigned relu_of_fma_of_pairs(unsigned a, unsigned b, unsigned c) { return larger_of_pairs(fma_of_pairs(a, b, c), 0); }
#endif
HELPER void store2(half* p, unsigned a) { *(unsigned*)p = a; }
HELPER void store4(half* p, unsigned a, unsigned b) { *(uint2*)p = make_uint2(a, b); }
HELPER void store8(half* p, unsigned a, unsigned b, unsigned c, unsigned d) { *(uint4*)p = make_uint4(a, b, c, d); }
)";

// Pairs and vectors of bf16, whose numbers are floats without their lower halves. Vectors lie in memory as those of f16 do.
const std::string_view bfloat_prelude = R"(
#ifndef EMULATED
SUMS_OF_PAIRS(bf16)
#endif
HELPER bfloat16 bfloat_of_bits(unsigned short bits) { bfloat16 h; h.bits = bits; return h; }
HELPER bfloat16 low_bf16(unsigned x) { return bfloat_of_bits((unsigned short)x); }
HELPER bfloat16 high_bf16(unsigned x) { return bfloat_of_bits((unsigned short)(x >> 16)); }
HELPER unsigned pair_of_bf16(bfloat16 a, bfloat16 b) { return (unsigned)a.bits | (unsigned)b.bits << 16; }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
HELPER unsigned pair_of_bf16(float a, float b) { unsigned x; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(b), "f"(a)); return x; }
HELPER unsigned relu_pair_of_bf16(float a, float b) { unsigned x; asm("cvt.rn.relu.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(b), "f"(a)); return x; }
#else
HELPER unsigned pair_of_bf16(float a, float b) { return pair_of_bf16(bfloat16(a), bfloat16(b)); }
HELPER unsigned relu_pair_of_bf16(float a, float b) { return pair_of_bf16(max_nan(a, 0.0f), max_nan(b, 0.0f)); }
#endif
#define BFLOATS_WHERE(name) \
HELPER bfloat16 load1##name(bool inside, const bfloat16* p) { return bfloat_of_bits(load1##name(inside, (const half*)p).bits); } \
HELPER uint1 load2##name(bool inside, const bfloat16* p) { return load2##name(inside, (const half*)p); } \
HELPER uint2 load4##name(bool inside, const bfloat16* p) { return load4##name(inside, (const half*)p); } \
HELPER uint4 load8##name(bool inside, const bfloat16* p) { return load8##name(inside, (const half*)p); }
BFLOATS_WHERE(_where)
BFLOATS_WHERE(_constant_where)
HELPER uint1 load2(const bfloat16* p) { return load2((const half*)p); }
HELPER uint2 load4(const bfloat16* p) { return load4((const half*)p); }
HELPER uint4 load8(const bfloat16* p) { return load8((const half*)p); }
HELPER void store2(bfloat16* p, unsigned a) { store2((half*)p, a); }
HELPER void store4(bfloat16* p, unsigned a, unsigned b) { store4((half*)p, a, b); }
HELPER void store8(bfloat16* p, unsigned a, unsigned b, unsigned c, unsigned d) { store8((half*)p, a, b, c, d); }
)";

namespace {

struct WarpgroupSum {
  std::string_view instruction;  // of N columns, "{}"
  std::string_view scales;       // behind the operands
  std::string_view sum;          // of a warp, for other GPUs
};

std::string warpgroup_sum(const WarpgroupSum& w, std::string_view name, int64_t columns, int64_t swizzle) {
  const int64_t n = columns / 2;
  std::string parameters, places, operands, sums;
  for (int64_t i = 0; i < n; ++i) {
    parameters += fmt::format("float& c{}, ", i);
    places += fmt::format("{}%{}", i ? "," : "", i);
    operands += fmt::format("{}\"+f\"(c{})", i ? ", " : "", i);
  }
  for (int64_t c = 0; c < columns / 8; ++c)
    sums += fmt::format("  sum_of_warp<{0}>(c{1}, c{2}, c{3}, c{4}, a, rows_a, (const char*)b + {5} * rows_b, sum);\n", swizzle, 4 * c, 4 * c + 1, 4 * c + 2,
                        4 * c + 3, c);
  return fmt::format(R"(HELPER void {0}({1}WarpgroupPlace a, int rows_a, WarpgroupPlace b, int rows_b) {{
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("{2} {{{3}}}, %{4}, %{5}, {6};" : {7} : "l"(described<{8}>(a, rows_a)), "l"(described<{8}>(b, rows_b)));
#else
  const auto sum = [](float& c0, float& c1, float& c2, float& c3, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {{
    {9}(c0, c1, c2, c3, a0, a1, a2, a3, b0, b1);
  }};
{10}#endif
}}
)",
                     name, parameters, fmt::format(fmt::runtime(w.instruction), columns), places, n, n + 1, w.scales, operands, swizzle, w.sum, sums);
}

}  // namespace

std::string warpgroup_sum_tf32(std::string_view name, int64_t columns, int64_t swizzle) {
  return warpgroup_sum({"wgmma.mma_async.sync.aligned.m64n{}k8.f32.tf32.tf32", "1, 1, 1", "mma_16x8x8_tf32"}, name, columns, swizzle);
}
std::string warpgroup_sum_f16(std::string_view name, int64_t columns, int64_t swizzle) {
  return warpgroup_sum({"wgmma.mma_async.sync.aligned.m64n{}k16.f32.f16.f16", "1, 1, 1, 0, 0", "sum_f16"}, name, columns, swizzle);
}
std::string warpgroup_sum_bf16(std::string_view name, int64_t columns, int64_t swizzle) {
  return warpgroup_sum({"wgmma.mma_async.sync.aligned.m64n{}k16.f32.bf16.bf16", "1, 1, 1, 0, 0", "sum_bf16"}, name, columns, swizzle);
}

}  // namespace burnish::cuda_target
