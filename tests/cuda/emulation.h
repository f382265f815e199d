// What kernels of the CUDA dialect need to run on a CPU: each thread of a block is a coroutine that runs until the next
// barrier; blocks run one after the other. Memory of the block is filled with NaN first.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(n)
#define __shared__
#define __align__(n) __attribute__((aligned(n)))

struct Dim {
  unsigned x = 0;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __int_as_float(int x) {
  float f;
  memcpy(&f, &x, 4);
  return f;
}

inline thread_local Dim blockIdx, threadIdx;
inline __attribute__((aligned(16))) char memory[228 << 10];

namespace emulation {

struct Coroutine {
  ucontext_t context;
  std::vector<char> stack;
  bool done = false;
};
inline ucontext_t main_context;
inline std::vector<Coroutine> coroutines;
inline const std::function<void()>* body;
inline unsigned running;

inline void entry() {
  (*body)();
  coroutines[running].done = true;
  swapcontext(&coroutines[running].context, &main_context);
}

// `reversed`: threads take their turns from the last to the first, so that what is missing a barrier differs.
inline void launch(unsigned blocks, unsigned threads, bool reversed, const std::function<void()>& kernel) {
  body = &kernel;
  constexpr size_t stack_bytes = 256 << 10;
  coroutines.resize(threads);
  for (Coroutine& c : coroutines) c.stack.resize(stack_bytes);
  for (unsigned b = 0; b < blocks; ++b) {
    blockIdx.x = reversed ? blocks - 1 - b : b;
    memset(memory, 0xff, sizeof memory);
    for (Coroutine& c : coroutines) {
      getcontext(&c.context);
      c.context.uc_stack.ss_sp = c.stack.data();
      c.context.uc_stack.ss_size = c.stack.size();
      c.context.uc_link = nullptr;
      c.done = false;
      makecontext(&c.context, entry, 0);
    }
    for (bool left = true; left;) {
      left = false;
      for (unsigned t = 0; t < threads; ++t) {
        running = reversed ? threads - 1 - t : t;
        if (coroutines[running].done) continue;
        threadIdx.x = running;
        swapcontext(&main_context, &coroutines[running].context);
        left |= !coroutines[running].done;
      }
    }
  }
}

}  // namespace emulation

inline void __syncthreads() {
  swapcontext(&emulation::coroutines[emulation::running].context, &emulation::main_context);
}
