/* The contract between a compiled model (model.so) and the runtime. Plain C, fixed-width, append
 * only.
 *
 * A model exports one function, `burnish_model_entry`. Everything that has to be known before its
 * code may run stands in its metadata note (ELF note, owner "Burnish", type BURNISH_NOTE_METADATA):
 * see docs/artifact.md.
 */
#ifndef BURNISH_ABI_H
#define BURNISH_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BURNISH_ABI_VERSION 1
#define BURNISH_NOTE_OWNER "Burnish"
#define BURNISH_NOTE_METADATA 1 /* UTF-8 JSON, one object */
#define BURNISH_NOTE_CHECKSUM 2 /* 8 bytes, little endian: see docs/artifact.md for what it covers */

/* What the host gives to the running model. `mark` may be null; it is called by thread 0 when a
 * step ends. */
typedef struct burnish_host {
  void* ctx;
  void (*barrier)(void* ctx, uint32_t thread);             /* joins all threads of the frame */
  void (*mark)(void* ctx, uint32_t thread, uint32_t step); /* profiling; null when off */
  /* Reports a run-time error; run then returns code. */
  void (*fault)(void* ctx, uint32_t thread, uint32_t code);
} burnish_host;

/* One inference. Every pointer is aligned to 64 bytes except the tensors, which are aligned to
 * their dtype. */
typedef struct burnish_frame {
  void* const* tensors;    /* inputs, then outputs, each in metadata order; dense, row-major */
  void* arena;             /* metadata "arena_bytes" */
  const void* weights;     /* metadata "weights_bytes": the model's own section, or a copy of it */
  void* scratch;           /* threads * scratch_stride bytes: thread t owns those from t * stride */
  uint64_t scratch_stride; /* >= metadata "scratch_bytes", a multiple of 64 */
  const int64_t* symbols;  /* values of symbolic dimensions; null when there are none */
  uint32_t threads;
  uint32_t reserved;
} burnish_frame;

typedef struct burnish_entry {
  uint32_t abi;   /* BURNISH_ABI_VERSION of the compiler */
  uint32_t steps; /* number of steps that `mark` reports */
  /* Executed by every thread of the frame, thread = 0 .. threads-1, with the same frame. Returns 0,
   * or a fault code. */
  int32_t (*run)(const burnish_frame* frame, uint32_t thread, const burnish_host* host);
  /* Symbolic shapes: arena size and the outputs' shapes. Null for static models. */
  int32_t (*plan)(const int64_t* symbols, uint64_t* arena_bytes, int64_t* output_shapes);
  const void* weights;
  uint64_t weights_bytes;
} burnish_entry;

typedef const burnish_entry* (*burnish_model_entry_fn)(void);
#define BURNISH_ENTRY_SYMBOL "burnish_model_entry"

#ifdef __cplusplus
}
#endif
#endif
