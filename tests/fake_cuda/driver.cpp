// A libcuda.so.1 without a GPU, for tests (BURNISH_CUDA_DRIVER names it): memory of the GPU is
// memory of the process that only the driver may touch, modules are shared libraries of image.h,
// and a stream's work is done when somebody waits for it, not before. BURNISH_FAKE_GPUS lists
// compute capabilities ("9.0,8.6"; "9.0" unless given; empty: no GPU).
#include "runtime/cuda/driver.h"
#include "control.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace burnish::runtime::cuda {
namespace {

constexpr Result illegal_address = 700, invalid_handle = 400, invalid_context = 201,
                 invalid_image = 200, launch_failed = 719, capture_unmatched = 903, not_ready = 600;

std::recursive_mutex mutex;
Result sticky = success;  // what every call returns

// ---- failures that tests ask for

struct Injected {
  int after;  // calls that still succeed
  Result result;
};
std::map<std::string, Injected> injected;
std::map<std::string, int> calls;

Result begin(const char* function) {
  ++calls[function];
  if (sticky != success) return sticky;
  const auto at = injected.find(function);
  if (at == injected.end() || at->second.after-- > 0) return success;
  const Result result = at->second.result;
  injected.erase(at);
  return result;
}
#define BEGIN()                                                                                    \
  const std::lock_guard lock(mutex);                                                               \
  if (const Result bad = begin(__func__); bad != success) return bad

// ---- memory of GPUs

struct Allocation {
  std::size_t bytes, mapped;
  int device;
};
std::map<Address, Allocation> memory;
std::map<Address, std::size_t> pinned;
int depth = 0;

// The driver's own access to memory of GPUs.
struct Access {
  Access() { set(depth++ == 0, PROT_READ | PROT_WRITE); }
  ~Access() { set(--depth == 0, PROT_NONE); }
  static void set(bool change, int protection) {
    if (!change) return;
    for (const auto& [at, a] : memory) mprotect(reinterpret_cast<void*>(at), a.mapped, protection);
  }
};

const Allocation* allocation_of(Address at, std::size_t bytes = 0) {
  auto next = memory.upper_bound(at);
  if (next == memory.begin()) return nullptr;
  --next;
  return at - next->first + bytes <= next->second.bytes ? &next->second : nullptr;
}

bool is_pinned(Address at, std::size_t bytes) {
  auto next = pinned.upper_bound(at);
  if (next == pinned.begin()) return false;
  --next;
  return at - next->first + bytes <= next->second;
}

// ---- streams, graphs, events

using Work = std::function<void()>;
struct GraphState {
  std::vector<Work> works;
};
struct StreamState {
  std::deque<Work> queue;
  std::unique_ptr<GraphState> captured;
};
struct Recording {
  StreamState* on;
  bool done = false;
  std::chrono::steady_clock::time_point at{};
};
struct EventState {
  bool timed;
  std::shared_ptr<Recording> last{};
};
struct ModuleState {
  void* library;
};
struct FunctionState {
  std::string name;
  int count;
  void (*launch)(unsigned, unsigned, void**);
  int (*result)();  // null, or what becomes of it
};

StreamState legacy;
// Handles 1 and 2 are default streams, too.
StreamState& stream_of(Stream s) {
  return reinterpret_cast<std::uintptr_t>(s) <= 2 ? legacy : *reinterpret_cast<StreamState*>(s);
}
template <class T> T* state(Handle h) { return reinterpret_cast<T*>(h); }
template <class T> Handle handle(T* s) { return reinterpret_cast<Handle>(s); }

void drain(StreamState& s) {
  while (!s.queue.empty()) {
    const Work work = std::move(s.queue.front());
    s.queue.pop_front();
    work();
  }
}
void drain_until(const std::shared_ptr<Recording>& r) {
  while (r && !r->done && !r->on->queue.empty()) {
    const Work work = std::move(r->on->queue.front());
    r->on->queue.pop_front();
    work();
  }
}

Result put(Stream s, Work work) {
  StreamState& stream = stream_of(s);
  if (stream.captured)
    stream.captured->works.push_back(std::move(work));
  else
    stream.queue.push_back(std::move(work));
  return success;
}

void copy(void* to, const void* from, std::size_t bytes) {
  if (sticky != success) return;
  const Access access;
  std::memcpy(to, from, bytes);
}

Result launch_kernel(Function function, unsigned blocks, unsigned threads, Stream stream,
                     void** parameters) {
  const auto* f = state<FunctionState>(function);
  std::vector<Address> values;
  for (int i = 0; i < f->count; ++i) values.push_back(*static_cast<Address*>(parameters[i]));
  return put(stream, [=] {
    if (sticky != success) return;
    if (const Result bad = begin("kernel"); bad != success) {
      sticky = bad;
      return;
    }
    std::vector<Address> held = values;
    std::vector<void*> pointers;
    for (Address& v : held) {
      if (!allocation_of(v)) sticky = illegal_address;
      pointers.push_back(&v);
    }
    if (f->result) sticky = static_cast<Result>(f->result());
    if (sticky != success) return;
    const Access access;
    f->launch(blocks, threads, pointers.data());
  });
}

std::vector<int> gpus() {  // 90 for 9.0
  const char* text = std::getenv("BURNISH_FAKE_GPUS");
  std::vector<int> out;
  int number = 0;
  for (const char* c = text ? text : "9.0";; ++c) {
    if (*c >= '0' && *c <= '9') number = 10 * number + *c - '0';
    if ((*c == ',' || *c == '\0') && number > 0) out.push_back(std::exchange(number, 0));
    if (*c == '\0') return out;
  }
}

}  // namespace

extern "C" {

#pragma GCC visibility push(default)

void fake_cuda_fail(const char* function, int after, int result) {
  const std::lock_guard lock(mutex);
  injected[function] = {after, result};
}
int fake_cuda_calls(const char* function) {
  const std::lock_guard lock(mutex);
  return calls[function];
}
std::size_t fake_cuda_allocated() {
  const std::lock_guard lock(mutex);
  return memory.size() + pinned.size();
}

Result cuInit(unsigned) {
  BEGIN();
  return gpus().empty() ? no_device : success;
}
Result cuDriverGetVersion(int* version) {
  *version = 13000;
  return success;
}
Result cuGetErrorName(Result result, const char** text) {
  const std::map<Result, const char*> names = {
      {invalid_value, "CUDA_ERROR_INVALID_VALUE"}, {out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY"},
      {no_device, "CUDA_ERROR_NO_DEVICE"},         {invalid_image, "CUDA_ERROR_INVALID_IMAGE"},
      {not_found, "CUDA_ERROR_NOT_FOUND"},         {illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {launch_failed, "CUDA_ERROR_LAUNCH_FAILED"}};
  const auto at = names.find(result);
  *text = at == names.end() ? nullptr : at->second;
  return at == names.end() ? invalid_value : success;
}
Result cuGetErrorString(Result result, const char** text) {
  *text = result == out_of_memory     ? "out of memory"
          : result == illegal_address ? "an illegal memory access was encountered"
                                      : "of the fake driver";
  return success;
}
Result cuDeviceGetCount(int* count) {
  BEGIN();
  *count = static_cast<int>(gpus().size());
  return success;
}
Result cuDeviceGet(Device* device, int ordinal) {
  BEGIN();
  *device = ordinal;
  return success;
}
Result cuDeviceGetName(char* name, int size, Device) {
  BEGIN();
  std::strncpy(name, "Fake GPU", static_cast<std::size_t>(size));
  return success;
}
Result cuDeviceGetAttribute(int* value, int attribute, Device device) {
  BEGIN();
  const int capability = gpus().at(static_cast<std::size_t>(device));
  switch (attribute) {
  case capability_major: *value = capability / 10; return success;
  case capability_minor: *value = capability % 10; return success;
  case most_block_bytes: *value = 227 << 10; return success;
  case multiprocessor_count: *value = 132; return success;
  case clock_rate: *value = 1'000'000; return success;
  case memory_clock_rate: *value = 1'000'000; return success;
  case memory_bus_width: *value = 1024; return success;
  default: return invalid_value;
  }
}
Result cuDevicePrimaryCtxRetain(Context_* context, Device device) {
  BEGIN();
  static char contexts[16];
  *context = handle(&contexts[device]);
  return success;
}
static thread_local std::vector<Context_> pushed;
Result cuCtxPushCurrent_v2(Context_ context) {
  BEGIN();
  pushed.push_back(context);
  return success;
}
Result cuCtxPopCurrent_v2(Context_* context) {
  const std::lock_guard lock(mutex);
  if (pushed.empty()) return invalid_context;
  *context = pushed.back();
  pushed.pop_back();
  return success;
}

// ---- modules

Result cuModuleLoadDataEx(Module* module, const void* image, unsigned, int*, void**) {
  BEGIN();
  if (pushed.empty()) return invalid_context;
  const auto* bytes = static_cast<const char*>(image);
  std::string file;
  bool made = false;
  constexpr char ptx[] = "fake ";  // and a file's name
  if (std::memcmp(bytes,
                  "\x7f"
                  "ELF",
                  4) == 0) {
    std::uint64_t table = 0;
    std::uint16_t sections = 0;
    std::memcpy(&table, bytes + 40, sizeof table);
    std::memcpy(&sections, bytes + 60, sizeof sections);
    file = "/tmp/burnish-fake-cuda-XXXXXX";
    const int fd = mkstemp(file.data());
    const std::size_t size = table + std::size_t{64} * sections;
    made = fd >= 0 && write(fd, bytes, size) == static_cast<ssize_t>(size);
    close(fd);
  } else if (std::strncmp(bytes, ptx, sizeof ptx - 1) == 0) {
    file = bytes + sizeof ptx - 1;
  } else {
    return invalid_image;
  }
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (made) unlink(file.c_str());
  if (!library) return invalid_image;
  *module = handle(new ModuleState{library});
  return success;
}
Result cuModuleUnload(Module module) {
  BEGIN();
  dlclose(state<ModuleState>(module)->library);
  delete state<ModuleState>(module);
  return success;
}
Result cuModuleGetFunction(Function* function, Module module, const char* name) {
  BEGIN();
  void* library = state<ModuleState>(module)->library;
  const auto count =
      reinterpret_cast<int (*)()>(dlsym(library, (std::string("fake_count_") + name).c_str()));
  const auto launch = reinterpret_cast<void (*)(unsigned, unsigned, void**)>(
      dlsym(library, (std::string("fake_launch_") + name).c_str()));
  if (!count || !launch) return not_found;
  const auto result =
      reinterpret_cast<int (*)()>(dlsym(library, (std::string("fake_result_") + name).c_str()));
  static auto& functions = *new std::map<void*, FunctionState>;
  *function = handle(&(functions[reinterpret_cast<void*>(launch)] = {name, count(), launch, result}));
  return success;
}
Result cuFuncSetAttribute(Function, int, int) {
  BEGIN();
  return success;
}
Result cuOccupancyMaxActiveClusters(int* clusters, Function, const LaunchConfig* config) {
  BEGIN();
  constexpr unsigned most = 16;  // blocks of one
  *clusters = config->grid_x <= most;
  return success;
}

// ---- memory

Result cuMemAlloc_v2(Address* address, std::size_t bytes) {
  BEGIN();
  if (pushed.empty()) return invalid_context;
  if (bytes == 0) return invalid_value;
  const std::size_t page = 4096, mapped = (bytes + page - 1) / page * page;
  void* at = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return out_of_memory;
  std::memset(at, 0xff, mapped);  // floats: NaN
  mprotect(at, mapped, PROT_NONE);
  *address = reinterpret_cast<Address>(at);
  memory[*address] = {bytes, mapped,
                      static_cast<int>(reinterpret_cast<std::uintptr_t>(pushed.back()) & 15)};
  return success;
}
Result cuMemFree_v2(Address address) {
  BEGIN();
  const auto at = memory.find(address);
  if (at == memory.end()) return invalid_value;
  munmap(reinterpret_cast<void*>(address), at->second.mapped);
  memory.erase(at);
  return success;
}
Result cuMemsetD8_v2(Address address, unsigned char value, std::size_t bytes) {
  BEGIN();
  if (!allocation_of(address, bytes)) return invalid_value;
  return put(nullptr, [=] {
    const Access access;
    std::memset(reinterpret_cast<void*>(address), value, bytes);
  });
}
Result cuMemHostAlloc(void** at, std::size_t bytes, unsigned) {
  BEGIN();
  *at = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  std::memset(*at, 0xff, bytes);
  pinned[reinterpret_cast<Address>(*at)] = bytes;
  return success;
}
Result cuMemFreeHost(void* at) {
  BEGIN();
  if (pinned.erase(reinterpret_cast<Address>(at)) == 0) return invalid_value;
  std::free(at);
  return success;
}
Result cuMemcpyHtoD_v2(Address to, const void* from, std::size_t bytes) {
  BEGIN();
  if (!allocation_of(to, bytes)) return invalid_value;
  drain(legacy);
  copy(reinterpret_cast<void*>(to), from, bytes);
  return success;
}
Result cuMemcpyDtoH_v2(void* to, Address from, std::size_t bytes) {
  BEGIN();
  if (!allocation_of(from, bytes)) return invalid_value;
  drain(legacy);
  copy(to, reinterpret_cast<void*>(from), bytes);
  return success;
}
Result cuMemcpyHtoDAsync_v2(Address to, const void* from, std::size_t bytes, Stream stream) {
  BEGIN();
  if (!allocation_of(to, bytes) || !is_pinned(reinterpret_cast<Address>(from), bytes))
    return invalid_value;
  return put(stream, [=] { copy(reinterpret_cast<void*>(to), from, bytes); });
}
Result cuMemcpyDtoHAsync_v2(void* to, Address from, std::size_t bytes, Stream stream) {
  BEGIN();
  if (!allocation_of(from, bytes) || !is_pinned(reinterpret_cast<Address>(to), bytes))
    return invalid_value;
  return put(stream, [=] { copy(to, reinterpret_cast<void*>(from), bytes); });
}
Result cuPointerGetAttribute(void* value, int attribute, Address address) {
  BEGIN();
  const Allocation* a = allocation_of(address);
  if (!a && !is_pinned(address, 0)) return invalid_value;
  if (attribute == address_memory_type)
    *static_cast<unsigned*>(value) = a ? 2 : memory_type_host;
  else if (attribute == address_device)
    *static_cast<int*>(value) = a ? a->device : 0;
  else
    return invalid_value;
  return success;
}

// ---- streams, graphs, events

Result cuStreamCreate(Stream* stream, unsigned) {
  BEGIN();
  *stream = handle(new StreamState);
  return success;
}
Result cuStreamDestroy_v2(Stream stream) {
  BEGIN();
  drain(stream_of(stream));
  delete state<StreamState>(stream);
  return success;
}
Result cuStreamSynchronize(Stream stream) {
  BEGIN();
  if (stream_of(stream).captured) return capture_unmatched;
  drain(stream_of(stream));
  return sticky;
}
Result cuStreamWaitEvent(Stream stream, Event event, unsigned) {
  BEGIN();
  return put(stream, [r = state<EventState>(event)->last] { drain_until(r); });
}
Result cuStreamBeginCapture_v2(Stream stream, int) {
  BEGIN();
  if (!stream) return invalid_handle;
  stream_of(stream).captured = std::make_unique<GraphState>();
  return success;
}
Result cuStreamEndCapture(Stream stream, Graph* graph) {
  BEGIN();
  if (!stream_of(stream).captured) return capture_unmatched;
  *graph = handle(stream_of(stream).captured.release());
  return success;
}
Result cuGraphInstantiateWithFlags(GraphExec* exec, Graph graph, unsigned long long) {
  BEGIN();
  *exec = handle(new GraphState(*state<GraphState>(graph)));
  return success;
}
Result cuGraphLaunch(GraphExec exec, Stream stream) {
  BEGIN();
  for (const Work& w : state<GraphState>(exec)->works) put(stream, w);
  return success;
}
Result cuGraphDestroy(Graph graph) {
  BEGIN();
  delete state<GraphState>(graph);
  return success;
}
Result cuGraphExecDestroy(GraphExec exec) {
  BEGIN();
  delete state<GraphState>(exec);
  return success;
}
Result cuLaunchKernel(Function function, unsigned grid, unsigned, unsigned, unsigned block,
                      unsigned, unsigned, unsigned, Stream stream, void** parameters, void**) {
  BEGIN();
  return launch_kernel(function, grid, block, stream, parameters);
}
Result cuLaunchKernelEx(const LaunchConfig* config, Function function, void** parameters, void**) {
  BEGIN();
  if (config->attribute_count != 1 || config->attributes->id != launch_programmatic_serialization ||
      config->attributes->value.number != 1)
    return invalid_value;
  return launch_kernel(function, config->grid_x, config->block_x, config->stream, parameters);
}
Result cuEventCreate(Event* event, unsigned flags) {
  BEGIN();
  *event = handle(new EventState{.timed = (flags & event_no_timing) == 0});
  return success;
}
Result cuEventDestroy_v2(Event event) {
  BEGIN();
  drain_until(state<EventState>(event)->last);
  delete state<EventState>(event);
  return success;
}
Result cuEventRecordWithFlags(Event event, Stream stream, unsigned flags) {
  BEGIN();
  if (stream_of(stream).captured && flags != event_external) return invalid_value;
  const auto r = std::make_shared<Recording>(&stream_of(stream));
  state<EventState>(event)->last = r;
  return put(stream, [r] {
    r->done = true;
    r->at = std::chrono::steady_clock::now();
  });
}
Result cuEventSynchronize(Event event) {
  BEGIN();
  drain_until(state<EventState>(event)->last);
  return sticky;
}
Result cuEventElapsedTime(float* milliseconds, Event from, Event to) {
  BEGIN();
  const auto *a = state<EventState>(from), *b = state<EventState>(to);
  if (!a->timed || !b->timed || !a->last || !b->last) return invalid_handle;
  if (!a->last->done || !b->last->done) return not_ready;
  *milliseconds = std::chrono::duration<float, std::milli>(b->last->at - a->last->at).count();
  return success;
}

#pragma GCC visibility pop

}  // extern "C"

}  // namespace burnish::runtime::cuda
