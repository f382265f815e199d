/* Burnish's runtime: loads a compiled network (model.so) and runs it. Stable C interface.
 *
 * Every function that can fail returns a burnish_status; burnish_last_error() then tells the
 * calling thread why, in a sentence. Nothing here throws, prints or aborts. Structs that start with
 * `struct_size` may grow at their end: set it to sizeof, and zero the rest.
 *
 * Threads: models and pools may be used from any number of threads at once; a session by one thread
 * at a time (a second one that runs it meanwhile gets BURNISH_ERROR_USER). Handles are released by
 * their *_release function, in any order: a session keeps its model and its pool alive. NULL may be
 * released.
 *
 * fork: threads do not survive it. A session or pool of more than one thread must be used in the
 * process that created it; in a child its runs fail with BURNISH_ERROR_USER, and releasing it is
 * safe.
 */
#ifndef BURNISH_RUNTIME_H
#define BURNISH_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define BURNISH_API __attribute__((visibility("default")))
#else
#define BURNISH_API
#endif

/* In C++ enums have a fixed type, so that a number that is none of the values can be passed, and
 * refused. */
#ifdef __cplusplus
#define BURNISH_INT32 : int32_t
extern "C" {
#else
#define BURNISH_INT32
#endif

typedef enum burnish_status BURNISH_INT32 {
  BURNISH_OK = 0,
  BURNISH_ERROR_USER = 1,        /* the caller's file, name, dtype, shape or option is wrong */
  BURNISH_ERROR_UNSUPPORTED = 2, /* the library is for another CPU, ABI or system */
  BURNISH_ERROR_INTERNAL = 3,    /* Burnish is at fault */
  BURNISH_ERROR_MEMORY = 4,      /* the system gave no memory or no thread */
  BURNISH_ERROR_FAULT = 5        /* the running model reported an error in its data */
} burnish_status;

/* Element types; a tensor's elements are dense and row-major. A bool is one byte, 0 or 1. */
typedef enum burnish_dtype BURNISH_INT32 {
  BURNISH_BOOL = 1,
  BURNISH_I8 = 2,
  BURNISH_U8 = 3,
  BURNISH_I16 = 4,
  BURNISH_U16 = 5,
  BURNISH_I32 = 6,
  BURNISH_U32 = 7,
  BURNISH_I64 = 8,
  BURNISH_U64 = 9,
  BURNISH_F16 = 10,
  BURNISH_BF16 = 11,
  BURNISH_F32 = 12,
  BURNISH_F64 = 13
} burnish_dtype;

typedef struct burnish_model burnish_model;
typedef struct burnish_session burnish_session;
typedef struct burnish_pool burnish_pool;

/* The text of the last failure on the calling thread; "" when there was none. Valid until this
 * thread's next failure. */
BURNISH_API const char* burnish_last_error(void);
/* "0.1.0" */
BURNISH_API const char* burnish_version(void);
/* "f32"; NULL for a value that is no dtype. */
BURNISH_API const char* burnish_dtype_name(burnish_dtype dtype);
/* Bytes of an element; 0 for a value that is no dtype. */
BURNISH_API size_t burnish_dtype_size(burnish_dtype dtype);
/* CPUs that the calling thread may use (its affinity mask): what `threads = 0` stands for. */
BURNISH_API uint32_t burnish_cpu_count(void);

/* ---- models ---- */

typedef enum burnish_weights BURNISH_INT32 {
  BURNISH_WEIGHTS_AUTO = 0,  /* copied when they have 1 MB or more */
  BURNISH_WEIGHTS_COPY = 1,  /* one copy a model, on 2 MB pages, shared by its sessions */
  BURNISH_WEIGHTS_DIRECT = 2 /* read from the library's own pages */
} burnish_weights;

typedef struct burnish_load_options {
  size_t struct_size;
  burnish_weights weights;
  int private_copy; /* nonzero: load from a sealed copy in memory, so that later changes of the file
                       cannot matter */
} burnish_load_options;

typedef struct burnish_model_info {
  size_t struct_size;
  const char* metadata; /* the whole metadata, JSON (docs/artifact.md), NUL-terminated */
  const char* compiler; /* "burnish 0.1.0" */
  const char* target;   /* "llvm:cpu=znver4" */
  const char* cpu;
  uint32_t threads; /* the number of threads that it was compiled for; it runs with any */
  uint32_t inputs, outputs, steps;
  uint64_t arena_bytes, scratch_bytes, weights_bytes; /* scratch: per thread */
  uint64_t macs;                                      /* multiply-accumulates of one run */
} burnish_model_info;

typedef struct burnish_tensor_info {
  const char* name;
  burnish_dtype dtype;
  uint32_t rank;
  const int64_t* shape; /* rank elements */
  uint64_t bytes;
} burnish_tensor_info;

typedef struct burnish_step_info {
  const char* name;
  const char* schedule;       /* text of the schedule; "" when not recorded */
  const char* const* sources; /* names of the nodes that this step came from */
  uint32_t source_count;
  uint64_t macs, bytes; /* multiply-accumulates; bytes read and written */
} burnish_step_info;

/* Loads a library. It is read and checked (format, checksum, ABI, CPU features) before any of it is
 * mapped or run. options may be NULL. */
BURNISH_API burnish_status burnish_model_load(const char* path, const burnish_load_options* options,
                                              burnish_model** model);
/* The same from memory, which is copied and not needed afterwards. */
BURNISH_API burnish_status burnish_model_load_memory(const void* data, size_t bytes,
                                                     const burnish_load_options* options,
                                                     burnish_model** model);
BURNISH_API void burnish_model_release(burnish_model* model);

/* The pointers in these belong to the model and stay valid until its last handle (model or session)
 * is released. */
BURNISH_API burnish_status burnish_model_get_info(const burnish_model* model,
                                                  burnish_model_info* info);
BURNISH_API burnish_status burnish_model_get_input(const burnish_model* model, uint32_t index,
                                                   burnish_tensor_info* info);
BURNISH_API burnish_status burnish_model_get_output(const burnish_model* model, uint32_t index,
                                                    burnish_tensor_info* info);
BURNISH_API burnish_status burnish_model_get_step(const burnish_model* model, uint32_t index,
                                                  burnish_step_info* info);

/* ---- thread pools ---- */

typedef struct burnish_pool_options {
  size_t struct_size;
  uint32_t threads; /* with the calling thread; 0: burnish_cpu_count() */
  int32_t
      spin_us; /* how long a waiting thread spins before it sleeps; 0: 100; negative: never spins */
  int pin; /* nonzero: worker t stays on the t-th CPU of the creator's mask; the calling thread is
              left alone */
} burnish_pool_options;

/* A pool that several sessions may share; their runs then take turns. options may be NULL. */
BURNISH_API burnish_status burnish_pool_create(const burnish_pool_options* options,
                                               burnish_pool** pool);
BURNISH_API void burnish_pool_release(burnish_pool* pool);
BURNISH_API uint32_t burnish_pool_threads(const burnish_pool* pool);

/* ---- sessions ---- */

typedef struct burnish_session_options {
  size_t struct_size;
  uint32_t threads;   /* 0: burnish_cpu_count(), or all threads of `pool` */
  int32_t spin_us;    /* as in burnish_pool_options; not used with `pool` */
  int pin;            /* as in burnish_pool_options; not used with `pool` */
  burnish_pool* pool; /* NULL: the session has a pool of its own */
  int32_t device; /* of a model for GPUs: which one, as CUDA numbers them; threads are not used */
} burnish_session_options;

/* A tensor of the caller's. dtype is always checked. shape is checked unless it is NULL, bytes
 * always. */
typedef struct burnish_tensor {
  void* data; /* aligned to the dtype's size */
  uint64_t bytes;
  burnish_dtype dtype;
  uint32_t rank;
  const int64_t* shape;
} burnish_tensor;

/* options may be NULL. The model may be released while the session lives. */
BURNISH_API burnish_status burnish_session_create(const burnish_model* model,
                                                  const burnish_session_options* options,
                                                  burnish_session** session);
BURNISH_API void burnish_session_release(burnish_session* session);
BURNISH_API uint32_t burnish_session_threads(const burnish_session* session);

/* Makes runs read (write) the caller's memory, without a copy, until it is bound anew; it must stay
 * valid that long. NULL instead of a tensor: the session's own buffer again. An input is not
 * written to. */
BURNISH_API burnish_status burnish_session_bind_input(burnish_session* session, const char* name,
                                                      const burnish_tensor* tensor);
BURNISH_API burnish_status burnish_session_bind_output(burnish_session* session, const char* name,
                                                       const burnish_tensor* tensor);
/* Copies the caller's tensor into the session's own buffer, which runs then read. */
BURNISH_API burnish_status burnish_session_set_input(burnish_session* session, const char* name,
                                                     const burnish_tensor* tensor);
/* Where runs read the input (write the output): what is bound, or the session's own buffer (aligned
 * to 64 bytes, at first zero). shape points into the model. An output is valid after a run, until
 * the next one. */
BURNISH_API burnish_status burnish_session_get_input(burnish_session* session, const char* name,
                                                     burnish_tensor* tensor);
BURNISH_API burnish_status burnish_session_get_output(burnish_session* session, const char* name,
                                                      burnish_tensor* tensor);

/* ---- models for GPUs ----
 *
 * A library that was compiled for GPUs loads everywhere; its sessions need NVIDIA's driver
 * (libcuda.so.1, or what the environment names in BURNISH_CUDA_DRIVER) and a GPU that it has code
 * for. Code and weights are on a GPU once a model.
 *
 * burnish_session_bind_input and bind_output take memory of the GPU, too (of this session's device,
 * aligned to 16 bytes); the driver tells which it is. Runs use that directly. Memory of the host is
 * copied to and fro by each run: the session's own buffers (burnish_session_get_input, get_output)
 * in one go, what is bound through them.
 *
 * After an error in a kernel (an illegal address) the driver serves no one in this process any
 * more: BURNISH_ERROR_FAULT, then and ever after. */

/* Makes runs read the input (write the output) in the session's own memory of the GPU, and tells
 * where that is, until it is bound anew; where memory of the GPU is bound, tells that. An input
 * begins with what runs copied there last, or zeros. BURNISH_ERROR_USER for models of the CPU. */
BURNISH_API burnish_status burnish_session_get_device_input(burnish_session* session,
                                                            const char* name,
                                                            burnish_tensor* tensor);
BURNISH_API burnish_status burnish_session_get_device_output(burnish_session* session,
                                                             const char* name,
                                                             burnish_tensor* tensor);
/* One inference on the caller's stream (a cudaStream_t or CUstream of the session's device; NULL is
 * CUDA's default stream), after what was enqueued there, and after the session's run before;
 * returns without waiting for it. Inputs and outputs must be in memory of the GPU or in the
 * session's own buffers. burnish_session_run uses a stream of the session's: what writes its inputs
 * must have ended before. */
BURNISH_API burnish_status burnish_session_run_async(burnish_session* session, void* stream);
/* Waits for the end of the session's run, and tells its error. Errors are told by whatever call
 * comes first. */
BURNISH_API burnish_status burnish_session_synchronize(burnish_session* session);

typedef struct burnish_device_info {
  size_t struct_size;
  const char* name;     /* "NVIDIA H100 80GB HBM3"; valid as long as the process */
  int32_t device;       /* its number */
  int32_t major, minor; /* compute capability */
  uint32_t processors;  /* streaming multiprocessors */
  uint64_t clock_hz;    /* of them, at most */
  uint64_t memory_rate; /* bytes a second that its memory moves, at most */
} burnish_device_info;

/* The GPU of a session. BURNISH_ERROR_USER for models of the CPU. */
BURNISH_API burnish_status burnish_session_get_device(const burnish_session* session,
                                                      burnish_device_info* info);

/* One inference. The calling thread takes part as thread 0. Allocates nothing after the first one.
 * Inputs that were never given are zero. The same library, CPU, inputs and thread count give
 * bit-identical outputs. */
BURNISH_API burnish_status burnish_session_run(burnish_session* session);
/* The same, with the wall time in nanoseconds between the ends of consecutive steps on thread 0.
 * step_ns has `steps` elements, which must be the model's number of steps; it or total_ns may be
 * NULL. On GPUs, runs twice: step by step, timed by events, then whole for total_ns (copies
 * included). */
BURNISH_API burnish_status burnish_session_profile(burnish_session* session, uint64_t* step_ns,
                                                   uint32_t steps, uint64_t* total_ns);

#ifdef __cplusplus
}
#endif
#endif
