// A GPU as all models of the process use it: its primary context, which other CUDA programs in the
// process share, and what is allocated there.
#pragma once

#include "driver.h"

#include <burnish/runtime.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace burnish::runtime::cuda {

class Context {
 public:
  // The GPU by its number; made at the first use and kept to the end of the process. Throws
  // Failure.
  static Context& of(int ordinal);

  const Driver& driver() const { return driver_; }
  int ordinal() const { return ordinal_; }
  const std::string& name() const { return name_; }  // "GPU 0 (NVIDIA H100, sm_90)"
  const burnish_device_info& info() const { return info_; }
  int major() const { return info_.major; }
  int minor() const { return info_.minor; }
  std::uint32_t most_block_bytes() const { return most_block_bytes_; }

  // A stream, until it is given back; others get it then. Once kernels of a process have been
  // launched on more than eight streams, each launch takes longer for good.
  Stream take_stream();
  void give_back(Stream stream) noexcept;

  // Throws Failure where the result is none of success: "WHAT on GPU 0 (...): CUDA_ERROR_...". An
  // error after which the driver refuses everything (an illegal address, say) is remembered.
  void check(Result result, const char* what);
  // Throws when such an error has happened, or the process is a child of the one that made this.
  void check_usable() const;
  // f(driver) with the context current; for destructors: nothing is thrown, and nothing done where
  // it cannot be.
  template <class F> void release(F f) noexcept {
    Context_ popped = nullptr;
    if (!same_process() || driver_.context_push(handle_) != success) return;
    f(driver_);
    driver_.context_pop(&popped);
  }

 private:
  friend class Current;
  bool same_process() const;
  Context(const Driver& driver, int ordinal);

  const Driver& driver_;
  const int ordinal_;
  std::string name_, device_name_;
  Context_ handle_ = nullptr;
  burnish_device_info info_{};
  std::uint32_t most_block_bytes_ = 0;
  int process_ = 0;
  std::atomic<Result> lost_{success};
  std::mutex streams_mutex_;
  std::vector<Stream> free_streams_;
};

// The context is the calling thread's while this lives.
class Current {
 public:
  explicit Current(Context& context);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  Context& context_;
};

// A handle of the driver's and the function that destroys it.
template <Result (*Driver::*destroy)(Handle)> class Owned {
 public:
  Owned() = default;
  Owned(Context& context, Handle handle) : context_(&context), handle_(handle) {}
  ~Owned() {
    if (handle_) context_->release([this](const Driver& d) { (d.*destroy)(handle_); });
  }
  Owned(Owned&& other) noexcept
      : context_(other.context_), handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  Handle get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Context* context_ = nullptr;
  Handle handle_ = nullptr;
};
using OwnedModule = Owned<&Driver::module_unload>;
using OwnedEvent = Owned<&Driver::event_destroy>;
using OwnedGraph = Owned<&Driver::graph_destroy>;
using OwnedGraphExec = Owned<&Driver::graph_exec_destroy>;

// A stream of the context's for as long as this lives.
class TakenStream {
 public:
  explicit TakenStream(Context& context) : context_(context), stream_(context.take_stream()) {}
  ~TakenStream() { context_.give_back(stream_); }
  TakenStream(const TakenStream&) = delete;
  TakenStream& operator=(const TakenStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Context& context_;
  Stream stream_;
};

// Makes what it is named for; the context must be current.
OwnedEvent new_event(Context& context, unsigned flags);

// Memory of a GPU, aligned to 256 bytes.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // The context must be current. `what` is what it is for.
  DeviceBuffer(Context& context, std::uint64_t bytes, const char* what);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : context_(other.context_), address_(std::exchange(other.address_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(address_, other.address_);
    return *this;
  }
  Address address() const { return address_; }
  explicit operator bool() const { return address_ != 0; }

 private:
  Context* context_ = nullptr;
  Address address_ = 0;
};

// Memory of the host that copies to and from the GPU can use directly; zero at first.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  // As DeviceBuffer.
  PinnedBuffer(Context& context, std::uint64_t bytes, const char* what);
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : context_(other.context_), data_(std::exchange(other.data_, nullptr)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(data_, other.data_);
    return *this;
  }
  void* data() const { return data_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Context* context_ = nullptr;
  void* data_ = nullptr;
};

}  // namespace burnish::runtime::cuda
