// NVIDIA's driver, by dlopen: the few functions that running needs, under the names that its
// library exports (CUDA 12.0 and later; binary interfaces under such names are stable).
#pragma once

#include <cstddef>
#include <string>

namespace burnish::runtime::cuda {

using Result = int;
using Device = int;
using Address = unsigned long long;  // in a GPU's memory
using Handle = struct Opaque*;
using Context_ = Handle;
using Module = Handle;
using Function = Handle;
using Stream = Handle;
using Event = Handle;
using Graph = Handle;
using GraphExec = Handle;

constexpr Result success = 0, invalid_value = 1, out_of_memory = 2, no_device = 100,
                 not_found = 500;

struct LaunchAttribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    int number;
  } value;
};
struct LaunchConfig {
  unsigned grid_x = 1, grid_y = 1, grid_z = 1, block_x = 1, block_y = 1, block_z = 1,
           block_bytes = 0;
  Stream stream = nullptr;
  LaunchAttribute* attributes = nullptr;
  unsigned attribute_count = 0;
};
constexpr int launch_programmatic_serialization = 6;

// Attributes of a device, a function, an address; flags.
constexpr int clock_rate = 13, multiprocessor_count = 16, memory_clock_rate = 36,
              memory_bus_width = 37, capability_major = 75, capability_minor = 76,
              most_block_bytes = 97;
constexpr int function_block_bytes = 8, function_large_clusters = 14;
constexpr int address_memory_type = 2, address_device = 9;
constexpr unsigned memory_type_host = 1;
constexpr unsigned stream_non_blocking = 1, event_no_timing = 2;
constexpr unsigned event_external = 1;  // recorded whenever the graph runs that is captured
constexpr int capture_thread_local = 1;
constexpr int jit_error_log = 5, jit_error_log_bytes = 6;

// X(name of the member, name in the library, parameters)
#define BURNISH_CUDA_DRIVER(X)                                                                     \
  X(init, "cuInit", (unsigned flags))                                                              \
  X(version, "cuDriverGetVersion", (int* version))                                                 \
  X(error_name, "cuGetErrorName", (Result result, const char** text))                              \
  X(error_text, "cuGetErrorString", (Result result, const char** text))                            \
  X(device_count, "cuDeviceGetCount", (int* count))                                                \
  X(device, "cuDeviceGet", (Device * device, int ordinal))                                         \
  X(device_name, "cuDeviceGetName", (char* name, int size, Device device))                         \
  X(device_attribute, "cuDeviceGetAttribute", (int* value, int attribute, Device device))          \
  X(context_retain, "cuDevicePrimaryCtxRetain", (Context_ * context, Device device))               \
  X(context_push, "cuCtxPushCurrent_v2", (Context_ context))                                       \
  X(context_pop, "cuCtxPopCurrent_v2", (Context_ * context))                                       \
  X(module_load, "cuModuleLoadDataEx",                                                             \
    (Module * module, const void* image, unsigned options, int* keys, void** values))              \
  X(module_unload, "cuModuleUnload", (Module module))                                              \
  X(module_function, "cuModuleGetFunction",                                                        \
    (Function * function, Module module, const char* name))                                        \
  X(function_set, "cuFuncSetAttribute", (Function function, int attribute, int value))             \
  X(clusters_at_once, "cuOccupancyMaxActiveClusters",                                              \
    (int* clusters, Function function, const LaunchConfig* config))                                \
  X(memory_allocate, "cuMemAlloc_v2", (Address * address, std::size_t bytes))                      \
  X(memory_free, "cuMemFree_v2", (Address address))                                                \
  X(memory_set, "cuMemsetD8_v2", (Address address, unsigned char value, std::size_t bytes))        \
  X(host_allocate, "cuMemHostAlloc", (void** memory, std::size_t bytes, unsigned flags))           \
  X(host_free, "cuMemFreeHost", (void* memory))                                                    \
  X(copy_to_device, "cuMemcpyHtoD_v2", (Address to, const void* from, std::size_t bytes))          \
  X(copy_to_device_async, "cuMemcpyHtoDAsync_v2",                                                  \
    (Address to, const void* from, std::size_t bytes, Stream stream))                              \
  X(copy_to_host_async, "cuMemcpyDtoHAsync_v2",                                                    \
    (void* to, Address from, std::size_t bytes, Stream stream))                                    \
  X(address_attribute, "cuPointerGetAttribute", (void* value, int attribute, Address address))     \
  X(stream_create, "cuStreamCreate", (Stream * stream, unsigned flags))                            \
  X(stream_synchronize, "cuStreamSynchronize", (Stream stream))                                    \
  X(stream_wait, "cuStreamWaitEvent", (Stream stream, Event event, unsigned flags))                \
  X(capture_begin, "cuStreamBeginCapture_v2", (Stream stream, int mode))                           \
  X(capture_end, "cuStreamEndCapture", (Stream stream, Graph * graph))                             \
  X(graph_instantiate, "cuGraphInstantiateWithFlags",                                              \
    (GraphExec * exec, Graph graph, unsigned long long flags))                                     \
  X(graph_launch, "cuGraphLaunch", (GraphExec exec, Stream stream))                                \
  X(graph_destroy, "cuGraphDestroy", (Graph graph))                                                \
  X(graph_exec_destroy, "cuGraphExecDestroy", (GraphExec exec))                                    \
  X(launch, "cuLaunchKernel",                                                                      \
    (Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,       \
     unsigned block_y, unsigned block_z, unsigned block_bytes, Stream stream, void** parameters,   \
     void** extra))                                                                                \
  X(launch_ex, "cuLaunchKernelEx",                                                                 \
    (const LaunchConfig* config, Function function, void** parameters, void** extra))              \
  X(event_create, "cuEventCreate", (Event * event, unsigned flags))                                \
  X(event_destroy, "cuEventDestroy_v2", (Event event))                                             \
  X(event_record, "cuEventRecordWithFlags", (Event event, Stream stream, unsigned flags))          \
  X(event_synchronize, "cuEventSynchronize", (Event event))                                        \
  X(event_elapsed, "cuEventElapsedTime", (float* milliseconds, Event from, Event to))

struct Driver {
#define BURNISH_CUDA_MEMBER(name, symbol, parameters) Result(*name) parameters = nullptr;
  BURNISH_CUDA_DRIVER(BURNISH_CUDA_MEMBER)
#undef BURNISH_CUDA_MEMBER

  // Loaded and initialised once a process, from BURNISH_CUDA_DRIVER or libcuda.so.1. Throws a
  // Failure that says what is missing.
  static const Driver& get();

  // "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
  std::string describe(Result result) const;
};

}  // namespace burnish::runtime::cuda
