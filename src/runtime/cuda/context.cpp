#include "context.h"

#include "../failure.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

namespace burnish::runtime::cuda {

namespace {

// Errors after which every call of the process that uses the context fails, by cuda.h: exceptions
// of kernels, and hardware's.
bool loses_context(Result result) {
  constexpr Result lost[] = {214, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721};
  return std::find(std::begin(lost), std::end(lost), result) != std::end(lost);
}

burnish_status status_of(Result result) {
  if (result == out_of_memory) return BURNISH_ERROR_MEMORY;
  return loses_context(result) ? BURNISH_ERROR_FAULT : BURNISH_ERROR_INTERNAL;
}

// Drivers give memory in small units anyway; nothing is asked for 0 bytes, which they refuse.
std::size_t at_least_some(std::uint64_t bytes) {
  return static_cast<std::size_t>(std::max<std::uint64_t>(bytes, 256));
}

}  // namespace

Context& Context::of(int ordinal) {
  static std::mutex mutex;
  static auto& all = *new std::map<int, std::unique_ptr<Context>>;  // never destroyed
  const Driver& driver = Driver::get();
  const std::lock_guard lock(mutex);
  std::unique_ptr<Context>& context = all[ordinal];
  if (!context) context.reset(new Context(driver, ordinal));
  return *context;
}

Context::Context(const Driver& driver, int ordinal)
    : driver_(driver), ordinal_(ordinal), process_(getpid()) {
  name_ = "GPU " + std::to_string(ordinal);
  int count = 0;
  check(driver.device_count(&count), "counting devices");
  if (ordinal < 0 || ordinal >= count) {
    fail(BURNISH_ERROR_USER, "there is no GPU number %d; there %s %d", ordinal,
         count == 1 ? "is" : "are", count);
  }
  Device device = 0;
  check(driver.device(&device, ordinal), "opening the device");
  char name[200] = "";
  check(driver.device_name(name, sizeof name - 1, device), "reading the device's name");
  device_name_ = name;
  const auto attribute = [&](int which) {
    int value = 0;
    check(driver.device_attribute(&value, which, device), "reading an attribute");
    return value;
  };
  const auto told = [&](int which) {  // 0: not known
    int value = 0;
    const bool known = driver.device_attribute(&value, which, device) == success && value > 0;
    return known ? static_cast<std::uint64_t>(value) : 0;
  };
  constexpr std::uint64_t kilo = 1000, bits = 8, edges = 2;  // data move at both of a clock's edges
  info_ = {.struct_size = sizeof info_,
           .name = device_name_.c_str(),
           .device = ordinal,
           .major = attribute(capability_major),
           .minor = attribute(capability_minor),
           .processors = static_cast<std::uint32_t>(told(multiprocessor_count)),
           .clock_hz = told(clock_rate) * kilo,
           .memory_rate = told(memory_clock_rate) * kilo * edges * told(memory_bus_width) / bits};
  most_block_bytes_ = static_cast<std::uint32_t>(told(cuda::most_block_bytes));
  name_ += " (" + device_name_ + ", sm_" + std::to_string(major()) + std::to_string(minor()) + ")";
  check(driver.context_retain(&handle_, device), "making a context");
}

void Context::check(Result result, const char* what) {
  if (result == success) return;
  if (loses_context(result)) {
    Result none = success;
    lost_.compare_exchange_strong(none, result);
  }
  fail(status_of(result), "%s on %s failed: %s%s", what, name_.c_str(),
       driver_.describe(result).c_str(),
       loses_context(result) ? "; the GPU can be used again by a new process only" : "");
}

bool Context::same_process() const { return getpid() == process_; }

void Context::check_usable() const {
  if (!same_process()) {
    fail(BURNISH_ERROR_USER,
         "%s was opened before the fork; GPUs do not survive it: load the model "
         "in the child",
         name_.c_str());
  }
  const Result lost = lost_.load(std::memory_order_relaxed);
  if (lost == success) return;
  fail(BURNISH_ERROR_FAULT,
       "%s was lost to this process by an earlier error, %s; start a new process", name_.c_str(),
       driver_.describe(lost).c_str());
}

Current::Current(Context& context) : context_(context) {
  context.check_usable();
  context.check(context.driver_.context_push(context.handle_), "entering the context");
}

Current::~Current() {
  Context_ popped = nullptr;
  context_.driver_.context_pop(&popped);
}

Stream Context::take_stream() {
  const Current current(*this);
  const std::lock_guard lock(streams_mutex_);
  if (free_streams_.empty()) {
    Stream stream = nullptr;
    check(driver_.stream_create(&stream, stream_non_blocking), "making a stream");
    free_streams_.reserve(free_streams_.capacity() + 1);  // giving back never fails
    return stream;
  }
  const Stream stream = free_streams_.back();
  free_streams_.pop_back();
  return stream;
}

void Context::give_back(Stream stream) noexcept {
  const std::lock_guard lock(streams_mutex_);
  free_streams_.push_back(stream);
}

OwnedEvent new_event(Context& context, unsigned flags) {
  Event event = nullptr;
  context.check(context.driver().event_create(&event, flags), "making an event");
  return {context, event};
}

DeviceBuffer::DeviceBuffer(Context& context, std::uint64_t bytes, const char* what)
    : context_(&context) {
  const std::string doing =
      std::string("allocating ") + std::to_string(bytes) + " bytes for " + what;
  context.check(context.driver().memory_allocate(&address_, at_least_some(bytes)), doing.c_str());
}

DeviceBuffer::~DeviceBuffer() {
  if (address_ == 0) return;
  context_->release([this](const Driver& d) { d.memory_free(address_); });
}

PinnedBuffer::PinnedBuffer(Context& context, std::uint64_t bytes, const char* what)
    : context_(&context) {
  const std::string doing = std::string("allocating ") + std::to_string(bytes) +
                            " bytes of the host's memory for " + what;
  context.check(context.driver().host_allocate(&data_, at_least_some(bytes), 0), doing.c_str());
  std::memset(data_, 0, at_least_some(bytes));
}

PinnedBuffer::~PinnedBuffer() {
  if (!data_) return;
  context_->release([this](const Driver& d) { d.host_free(data_); });
}

}  // namespace burnish::runtime::cuda
