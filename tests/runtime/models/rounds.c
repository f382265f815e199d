/* Rounds in which every thread reads what all others wrote in the round before: wrong as soon as
 * one barrier lets a thread through early, or a thread's scratch is not its own. x, y: u32 [997].
 * x[0] = 13 is reported as fault 7. With TELL_THREADS, y[0] is their number. */
#include "note.h"

enum { N = 997, ROUNDS = 50 };

static int32_t run(const burnish_frame* frame, uint32_t thread, const burnish_host* host) {
  const uint32_t* x = frame->tensors[0];
  uint32_t* y = frame->tensors[1];
  uint32_t* a = frame->arena;
  uint32_t* b = a + N;
  volatile uint32_t* mine = (uint32_t*)((char*)frame->scratch + thread * frame->scratch_stride);
  const uint32_t lo = N * thread / frame->threads, hi = N * (thread + 1) / frame->threads;
  for (uint32_t i = lo; i < hi; ++i) a[i] = x[i];
  host->barrier(host->ctx, thread);
  if (thread == 0 && host->mark) host->mark(host->ctx, thread, 0);
  for (uint32_t r = 0; r < ROUNDS; ++r) {
    mine[r % 16] = r;
    for (uint32_t i = lo; i < hi; ++i) b[i] = a[(i * 7 + 3) % N] * 31 + mine[r % 16] + i;
    host->barrier(host->ctx, thread);
    uint32_t* t = a;
    a = b;
    b = t;
  }
  for (uint32_t i = lo; i < hi; ++i) y[i] = a[i];
#ifdef TELL_THREADS
  if (thread == 0) y[0] = frame->threads;
#endif
  if (thread == 0 && host->mark) host->mark(host->ctx, thread, 1);
  if (x[0] == 13) {
    if (thread == frame->threads - 1) host->fault(host->ctx, thread, 7);
    return 7;
  }
  return 0;
}

static const burnish_entry entry = {ENTRY_ABI, 2, run, 0, 0, 0};

__attribute__((visibility("default"))) const burnish_entry* burnish_model_entry(void) {
  return &entry;
}
