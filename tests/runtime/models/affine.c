/* y[i] = x[i] * w[i] + k: one step, on thread 0. x, y: f32 [2,3]; k: f64 scalar. */
#include "note.h"

#ifdef IMPORTS
extern int imported_function(void);
#define EXTRA imported_function()
#else
#define EXTRA 0
#endif
#ifndef SCALE
#define SCALE 1
#endif

#ifndef UNUSED_WEIGHTS
#define UNUSED_WEIGHTS 0 /* before those that are used */
#endif

static const _Alignas(64) float weights[UNUSED_WEIGHTS + 6] = {
    [UNUSED_WEIGHTS] = 1 * SCALE, 2 * SCALE, 3 * SCALE, 4 * SCALE, 5 * SCALE, 6 * SCALE};

#ifdef INITIALISER
int initialised;
__attribute__((constructor)) static void initialise(void) { initialised = 1; }
#endif

static int32_t run(const burnish_frame* frame, uint32_t thread, const burnish_host* host) {
  const float* x = frame->tensors[0];
  const double k = *(const double*)frame->tensors[1];
  float* y = frame->tensors[2];
  const float* w = (const float*)frame->weights + UNUSED_WEIGHTS;
  if (thread == 0) {
    for (int i = 0; i < 6; ++i) y[i] = x[i] * w[i] + (float)k + EXTRA;
    if (host->mark) host->mark(host->ctx, thread, 0);
  }
  return 0;
}

static const burnish_entry entry = {ENTRY_ABI, 1, run, 0, weights, sizeof weights};

__attribute__((visibility("default"))) const burnish_entry* burnish_model_entry(void) {
  return &entry;
}
