// What kernels of the CUDA dialect need to run on a CPU: each thread of a block is a coroutine that runs until the next
// barrier; blocks run one after the other, those of a cluster up to where they meet. Memory of the block is filled with NaN first.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __cluster_dims__(x, y, z)
#define __shared__
#define __align__(n) __attribute__((aligned(n)))
#define EMULATED

struct Dim {
  unsigned x = 0;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct uint1 {
  unsigned x;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline uint1 make_uint1(unsigned x) { return {x}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float load1_where(bool inside, const float* p) { return inside ? *p : 0.0f; }
inline float2 load2_where(bool inside, const float* p) { return inside ? *(const float2*)p : float2{}; }
inline float4 load4_where(bool inside, const float* p) { return inside ? *(const float4*)p : float4{}; }
inline float load1_constant_where(bool inside, const float* p) { return load1_where(inside, p); }
inline float2 load2_constant_where(bool inside, const float* p) { return load2_where(inside, p); }
inline float4 load4_constant_where(bool inside, const float* p) { return load4_where(inside, p); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __int_as_float(int x) {
  float f;
  memcpy(&f, &x, 4);
  return f;
}

inline unsigned __float_as_uint(float x) {
  unsigned u;
  memcpy(&u, &x, 4);
  return u;
}
inline float __uint_as_float(unsigned x) { return __int_as_float((int)x); }

// The 16-bit floats of IEEE 754; conversion to them rounds to the nearest, ties to even.
inline float half_value(unsigned short h) {
  const unsigned size = h & 0x7fffu, sign = (h & 0x8000u) << 16;
  if (size >= 0x7c00) return __uint_as_float(sign | 0x7f800000u | size << 13);
  return __uint_as_float(sign | size << 13) * 0x1p112f;  // of subnormal numbers, too
}
inline unsigned short half_bits(float x) {
  const unsigned short sign = (unsigned short)(__float_as_uint(x) >> 16 & 0x8000u);
  const float size = fabsf(x);
  if (isnan(x)) return 0x7fff;
  if (size >= 65520) return sign | 0x7c00;
  // The sum of a number whose last place is the half's, and of no smaller one.
  const unsigned exponent = __float_as_uint(size) & 0x7f800000u;
  const float large = __uint_as_float((exponent < 0x38800000u ? 0x38800000u : exponent) + (13u << 23));
  const float rounded = size + large - large;
  return sign | (unsigned short)(__float_as_uint(rounded * 0x1p-112f) >> 13);
}
// A float's upper half.
inline float bfloat_value(unsigned short h) { return __uint_as_float((unsigned)h << 16); }

inline Dim blockIdx, threadIdx;
inline __attribute__((aligned(1024))) char memory[228 << 10];

namespace emulation {

struct Coroutine {
  ucontext_t context;  // its beginning
  void* at[5];         // where it goes on
  std::vector<char> stack;
  bool begun = false, done = false;
};
inline void* main_at[5];
inline std::vector<Coroutine> coroutines;
inline const std::function<void()>* body;
inline unsigned running, alive;

// swapcontext would ask the system for the mask of signals, twice a switch.
[[gnu::noinline]] inline void jump(void** to) { __builtin_longjmp(to, 1); }
[[gnu::noinline]] inline void change(void** from, void** to) {
  if (!__builtin_setjmp(from)) jump(to);
}
[[gnu::noinline]] inline void begin(Coroutine& c) {
  c.begun = true;
  if (!__builtin_setjmp(main_at)) setcontext(&c.context);
}
inline void give_way() { change(coroutines[running].at, main_at); }

inline void entry() {
  (*body)();
  coroutines[running].done = true;
  jump(main_at);
}

struct Barrier {
  unsigned arrived = 0, generation = 0;
  void release() {
    arrived = 0;
    ++generation;
  }
  void wait(unsigned threads) {
    const unsigned here = generation;
    if (++arrived == threads) return release();
    while (generation == here) give_way();
  }
};
inline Barrier of_block, of_warp[32], of_group[1024];  // groups of a warp's threads: by their first one

// Copies that a thread has started are made at once, or not before it waits for them: both may be.
struct Copy {
  float* to;
  float values[4];
  int n;
};
struct Copies {
  std::vector<std::vector<Copy>> groups;  // on their way, the oldest first
  std::vector<Copy> started;              // since
  void arrive(size_t left) {
    size_t n = 0;
    for (; groups.size() - n > left; ++n)
      for (const Copy& c : groups[n]) memcpy(c.to, c.values, 4 * c.n);
    groups.erase(groups.begin(), groups.begin() + (long)n);
  }
};
inline Copies copies[1024];
inline bool copies_at_once;

// A block that waits for the others of its cluster.
struct Parked {
  unsigned block, alive;
  std::vector<Coroutine> coroutines;
  std::vector<char> memory;
};
inline std::vector<Parked> parked;
inline unsigned cluster, at_cluster_barrier, cluster_barriers_passed;
inline std::vector<std::vector<char>> of_cluster;  // memory of its blocks when they met

// Runs the block's threads until all have ended, or all that have not wait for the cluster.
inline void run_block(unsigned threads, bool reversed) {
  while (alive > 0 && at_cluster_barrier < alive) {
    for (unsigned t = 0; t < threads; ++t) {
      running = reversed ? threads - 1 - t : t;
      if (coroutines[running].done) continue;
      threadIdx.x = running;
      Coroutine& c = coroutines[running];
      c.begun ? change(main_at, c.at) : begin(c);
      if (!coroutines[running].done) continue;
      --alive;
      if (alive > 0 && of_block.arrived == alive) of_block.release();
    }
  }
  if (alive > 0) parked.push_back({blockIdx.x, alive, std::move(coroutines), {memory, memory + sizeof memory}});
}

inline void reset_barriers() {
  of_block = {};
  for (Copies& c : copies) c = {};
  for (Barrier& w : of_warp) w = {};
  at_cluster_barrier = 0;
}

// `reversed`: threads take their turns from the last to the first, so that what is missing a barrier differs, and copies arrive at once.
inline void launch(unsigned blocks, unsigned threads, bool reversed, const std::function<void()>& kernel) {
  body = &kernel;
  copies_at_once = reversed;
  constexpr size_t stack_bytes = 256 << 10;
  for (Barrier& g : of_group) g = {};
  for (unsigned b = 0; b < blocks; ++b) {
    blockIdx.x = reversed ? blocks - 1 - b : b;
    memset(memory, 0xff, sizeof memory);
    coroutines.resize(threads);
    for (Coroutine& c : coroutines) {
      c.stack.resize(stack_bytes);
      getcontext(&c.context);
      c.context.uc_stack.ss_sp = c.stack.data();
      c.context.uc_stack.ss_size = c.stack.size();
      c.context.uc_link = nullptr;
      c.begun = c.done = false;
      makecontext(&c.context, entry, 0);
    }
    reset_barriers();
    alive = threads;
    run_block(threads, reversed);
    // All of a cluster have come: each goes on, in the same order.
    while (!parked.empty() && parked.size() == cluster) {
      std::vector<Parked> met = std::move(parked);
      parked.clear();
      ++cluster_barriers_passed;
      of_cluster.resize(cluster);
      for (const Parked& p : met) of_cluster[p.block % cluster] = p.memory;
      for (Parked& p : met) {
        blockIdx.x = p.block;
        alive = p.alive;
        coroutines = std::move(p.coroutines);
        memcpy(memory, p.memory.data(), sizeof memory);
        reset_barriers();
        run_block(threads, reversed);
      }
    }
  }
  if (!parked.empty()) abort();  // clusters do not come out even
}

// Operands of a warp's matrix instruction, by lane: of each register one number or two.
struct Operands {
  float a[8], b[4];
};
inline Operands operands[32][32];

inline float tf32(unsigned x) { return __uint_as_float(x & 0xffffe000u); }

// Values that threads exchange.
inline unsigned char exchanged_values[1024][8];

// Rows of tiles that a warp loads together, by lane.
inline const void* tile_rows[32][32];

}  // namespace emulation

template <int bytes> void copy_async(float* to, const float* from, bool inside) {
  emulation::Copy c{to, {}, bytes / 4};
  if (inside) memcpy(c.values, from, bytes);
  if (emulation::copies_at_once)
    memcpy(to, c.values, bytes);
  else
    emulation::copies[emulation::running].started.push_back(c);
}
inline void group_copies() {
  emulation::Copies& all = emulation::copies[emulation::running];
  all.groups.push_back(std::move(all.started));
  all.started.clear();
}
template <int left> void wait_for_copies() { emulation::copies[emulation::running].arrive(left); }
inline void wait_for_copies() {
  group_copies();
  wait_for_copies<0>();
}

inline bool unknown(bool x) { return x; }
inline int wait_for_kernels_before() { return 0; }
inline void let_next_kernel_begin() {}

// `blocks` neighbours meet, whose first one's number is a multiple of that.
template <unsigned blocks> void meet_cluster() {
  using namespace emulation;
  cluster = blocks;
  const unsigned here = cluster_barriers_passed;
  ++at_cluster_barrier;
  while (here == cluster_barriers_passed) give_way();
}

template <unsigned blocks> void leave_cluster() { meet_cluster<blocks>(); }
// What a block has written to its memory before they met.
template <class T> T* of_neighbour(T* p, unsigned block) { return (T*)(emulation::of_cluster.at(block).data() + ((char*)p - memory)); }

inline void __syncthreads() { emulation::of_block.wait(emulation::alive); }
inline int __syncthreads_or(int x) {
  static int any;
  if (emulation::of_block.arrived == 0) any = 0;
  any |= x;
  __syncthreads();
  const int all = any;
  __syncthreads();
  return all;
}
inline unsigned counted_up(unsigned* at, unsigned most) {
  const unsigned before = *at;
  *at = before >= most ? 0 : before + 1;
  return before;
}

inline void mma_16x8x8_tf32(float& c0, float& c1, float& c2, float& c3, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) {
  using namespace emulation;
  const unsigned warp = running / 32, lane = running % 32;
  operands[warp][lane] = {{tf32(a0), tf32(a1), tf32(a2), tf32(a3)}, {tf32(b0), tf32(b1)}};
  of_warp[warp].wait(32);
  // a: rows g and g + 8 at depth t, then at t + 4; b: column g at depths t and t + 4; c: columns 2t, 2t + 1 of rows g, g + 8.
  const unsigned g = lane / 4, t = lane % 4;
  const auto sum = [&](float c, unsigned half, unsigned column) {
    double s = c;
    for (unsigned k = 0; k < 8; ++k)
      s += (double)operands[warp][4 * g + k % 4].a[half + 2 * (k / 4)] * operands[warp][4 * column + k % 4].b[k / 4];
    return (float)s;
  };
  c0 = sum(c0, 0, 2 * t), c1 = sum(c1, 0, 2 * t + 1), c2 = sum(c2, 1, 2 * t), c3 = sum(c3, 1, 2 * t + 1);
  of_warp[warp].wait(32);
}

// Threads of a warp's end get what they had.
template <class T> T __shfl_down_sync(unsigned mask, T x, int distance) {
  using namespace emulation;
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "values of 4 or 8 bytes");
  if (mask != 0xffffffffu) abort();
  memcpy(exchanged_values[running], &x, sizeof x);
  of_warp[running / 32].wait(32);
  T other = x;
  if (running % 32 + (unsigned)distance < 32) memcpy(&other, exchanged_values[running + (unsigned)distance], sizeof other);
  of_warp[running / 32].wait(32);
  return other;
}

// All threads of the mask meet; a thread outside the mask, or one that does not exist, would never come.
template <class T> T __shfl_xor_sync(unsigned mask, T x, int distance) {
  using namespace emulation;
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "values of 4 or 8 bytes");
  if (!(mask >> (running % 32) & 1)) abort();
  const unsigned first = running / 32 * 32 + (unsigned)__builtin_ctz(mask), members = (unsigned)__builtin_popcount(mask);
  memcpy(exchanged_values[running], &x, sizeof x);
  of_group[first].wait(members);
  T other;
  memcpy(&other, exchanged_values[running ^ (unsigned)distance], sizeof other);
  of_group[first].wait(members);
  return other;
}

namespace emulation {

// Of `registers` pairs of b and twice as many of a: thread t has depths 2t, 2t + 1, then the same 8 further on. Of a register of a
// after the other: rows g, g + 8, and again, further on.
inline void mma_halves(float (*value)(unsigned short), float& c0, float& c1, float& c2, float& c3, const unsigned* a, const unsigned* b, unsigned registers) {
  const unsigned warp = running / 32, lane = running % 32;
  Operands& own = operands[warp][lane];
  const auto half_of = [&](const unsigned* x, unsigned i) { return value((unsigned short)(x[i / 2] >> 16 * (i % 2))); };
  for (unsigned i = 0; i < 4 * registers; ++i) own.a[i] = half_of(a, i);
  for (unsigned i = 0; i < 2 * registers; ++i) own.b[i] = half_of(b, i);
  of_warp[warp].wait(32);
  const unsigned g = lane / 4, t = lane % 4;
  const auto sum = [&](float c, unsigned lower, unsigned column) {
    double s = c;
    for (unsigned k = 0; k < 8 * registers; ++k) {
      const unsigned thread = k % 8 / 2, pair = k / 8;
      s += (double)operands[warp][4 * g + thread].a[4 * pair + 2 * lower + k % 2] * operands[warp][4 * column + thread].b[2 * pair + k % 2];
    }
    return (float)s;
  };
  c0 = sum(c0, 0, 2 * t), c1 = sum(c1, 0, 2 * t + 1), c2 = sum(c2, 1, 2 * t), c3 = sum(c3, 1, 2 * t + 1);
  of_warp[warp].wait(32);
}

}  // namespace emulation

namespace emulation {

inline void load_tiles(unsigned* v, unsigned tiles, const void* row) {
  const unsigned warp = running / 32, lane = running % 32;
  const char* at = (const char*)row;
  if (lane < 8 * tiles && (at < memory || at + 16 > memory + sizeof memory || (at - memory) % 16)) abort();
  tile_rows[warp][lane] = row;
  of_warp[warp].wait(32);
  for (unsigned i = 0; i < tiles; ++i) memcpy(&v[i], (const char*)tile_rows[warp][8 * i + lane / 4] + 4 * (lane % 4), 4);
  of_warp[warp].wait(32);
}

}  // namespace emulation

inline uint2 load_tiles2(const void* p) {
  unsigned v[2];
  emulation::load_tiles(v, 2, p);
  return {v[0], v[1]};
}
inline uint4 load_tiles4(const void* p) {
  unsigned v[4];
  emulation::load_tiles(v, 4, p);
  return {v[0], v[1], v[2], v[3]};
}
inline float2 load_tiles2(const float* p) {
  const uint2 v = load_tiles2((const void*)p);
  return {__uint_as_float(v.x), __uint_as_float(v.y)};
}
inline float4 load_tiles4(const float* p) {
  const uint4 v = load_tiles4((const void*)p);
  return {__uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w)};
}

#define SUMS_OF_HALVES(name, value) \
  inline void name(float& c0, float& c1, float& c2, float& c3, unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0, unsigned b1) { \
    const unsigned a[] = {a0, a1, a2, a3}, b[] = {b0, b1}; \
    emulation::mma_halves(value, c0, c1, c2, c3, a, b, 2); \
  } \
  inline void name(float& c0, float& c1, float& c2, float& c3, unsigned a0, unsigned a1, unsigned b0) { \
    const unsigned a[] = {a0, a1}, b[] = {b0}; \
    emulation::mma_halves(value, c0, c1, c2, c3, a, b, 1); \
  }
SUMS_OF_HALVES(sum_f16, half_value)
SUMS_OF_HALVES(sum_bf16, bfloat_value)
#undef SUMS_OF_HALVES
