// Burnish's runtime for C++17 and later: RAII and exceptions over the C interface of runtime.h.
// Header-only; link burnish::runtime.
//
//   auto model = burnish::Model::load("m.so");
//   burnish::SessionOptions options;
//   options.threads = 2;
//   auto session = model.session(options);           // C++20: model.session({.threads = 2})
//   session.set_input("x", pixels.data(), pixels.size());
//   session.run();
//   for (float y : session.output<float>("y")) ...
//
// Errors: UserError (wrong file, name, dtype, size), Unsupported (a library for another CPU or
// ABI), InternalError; all are burnish::Error, a std::runtime_error. Threads: as runtime.h says:
// share models and pools, not sessions.
#ifndef BURNISH_HPP
#define BURNISH_HPP

#include <burnish/error.h>
#include <burnish/runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif

namespace burnish {

// 16-bit floats: C++ has no type for them before C++23. The bits are the tensor's.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

namespace detail {

inline void check(burnish_status status) {
  switch (status) {
  case BURNISH_OK: return;
  case BURNISH_ERROR_UNSUPPORTED: throw Unsupported(burnish_last_error());
  case BURNISH_ERROR_INTERNAL: throw InternalError(burnish_last_error());
  case BURNISH_ERROR_USER:
  case BURNISH_ERROR_MEMORY:
  case BURNISH_ERROR_FAULT: throw UserError(burnish_last_error());
  }
  throw InternalError(
      "the runtime returned an unknown status; header and library do not belong together");
}

template <class> constexpr bool no_dtype = false;

template <class T> constexpr burnish_dtype dtype_of() {
  if constexpr (std::is_same_v<T, bool>)
    return BURNISH_BOOL;
  else if constexpr (std::is_same_v<T, std::int8_t>)
    return BURNISH_I8;
  else if constexpr (std::is_same_v<T, std::uint8_t>)
    return BURNISH_U8;
  else if constexpr (std::is_same_v<T, std::int16_t>)
    return BURNISH_I16;
  else if constexpr (std::is_same_v<T, std::uint16_t>)
    return BURNISH_U16;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return BURNISH_I32;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return BURNISH_U32;
  else if constexpr (std::is_integral_v<T> && sizeof(T) == 8)
    return std::is_signed_v<T> ? BURNISH_I64 : BURNISH_U64;
  else if constexpr (std::is_same_v<T, Float16>)
    return BURNISH_F16;
  else if constexpr (std::is_same_v<T, BFloat16>)
    return BURNISH_BF16;
  else if constexpr (std::is_same_v<T, float>)
    return BURNISH_F32;
  else if constexpr (std::is_same_v<T, double>)
    return BURNISH_F64;
  else
    static_assert(no_dtype<T>, "no tensor has elements of this type");
}

}  // namespace detail

// The elements of a tensor, dense and row-major, and its shape. Does not own them: it is valid
// while the session lives and the tensor is not bound anew.
template <class T> class TensorView {
 public:
  TensorView(T* data, std::size_t size, std::vector<std::int64_t> shape)
      : data_(data), size_(size), shape_(std::move(shape)) {}

  T* data() const { return data_; }
  std::size_t size() const { return size_; }  // in elements
  const std::vector<std::int64_t>& shape() const { return shape_; }
  T& operator[](std::size_t i) const { return data_[i]; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
#if __cplusplus >= 202002L
  operator std::span<T>() const { return {data_, size_}; }
#endif

 private:
  T* data_;
  std::size_t size_;
  std::vector<std::int64_t> shape_;
};

// What a model says about one of its inputs or outputs.
struct TensorInfo {
  std::string name;
  burnish_dtype dtype = BURNISH_F32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;

  // Elements.
  std::uint64_t size() const { return bytes / burnish_dtype_size(dtype); }
};

// One step of a model, for profiles.
struct StepInfo {
  std::string name, schedule;
  std::vector<std::string> sources;  // the nodes that it came from
  std::uint64_t macs = 0;            // multiply-accumulates a run
  std::uint64_t bytes = 0;           // read and written a run
};

struct Profile {
  std::vector<std::uint64_t> step_ns;  // wall time of each step, in nanoseconds
  std::uint64_t total_ns = 0;
};

// Threads that several sessions share; their runs take turns. Copies are the same pool.
class ThreadPool {
 public:
  // threads: with the calling one; 0: all CPUs that the calling thread may use.
  // spin_us: how long a waiting thread spins before it sleeps; 0: 100; negative: never. pin:
  // workers stay on their CPU.
  explicit ThreadPool(std::uint32_t threads = 0, std::int32_t spin_us = 0, bool pin = false) {
    burnish_pool_options options{};
    options.struct_size = sizeof options;
    options.threads = threads;
    options.spin_us = spin_us;
    options.pin = pin;
    burnish_pool* pool = nullptr;
    detail::check(burnish_pool_create(&options, &pool));
    handle_.reset(pool, burnish_pool_release);
  }
  std::uint32_t threads() const { return burnish_pool_threads(handle_.get()); }
  burnish_pool* handle() const { return handle_.get(); }

 private:
  std::shared_ptr<burnish_pool> handle_;
};

struct SessionOptions {
  std::uint32_t threads =
      0;  // 0: all CPUs that the calling thread may use, or all threads of `pool`
  std::int32_t spin_us = 0;          // as in ThreadPool
  bool pin = false;                  // as in ThreadPool
  const ThreadPool* pool = nullptr;  // null: the session has threads of its own
  std::int32_t device = 0;           // of a model for GPUs: which one, as CUDA numbers them
};

// One user of a model. Move-only; used by one thread at a time.
class Session {
 public:
  std::uint32_t threads() const { return burnish_session_threads(handle_.get()); }

  // Where runs read an input; write it there. Throws UserError when T is not the input's dtype.
  template <class T> TensorView<T> input(const std::string& name) {
    return view<T>(burnish_session_get_input, "input", name);
  }
  // Where runs write an output: valid after a run, until the next one.
  template <class T> TensorView<T> output(const std::string& name) {
    return view<T>(burnish_session_get_output, "output", name);
  }
  // Copies `count` elements into the session's own buffer.
  template <class T> void set_input(const std::string& name, const T* data, std::size_t count) {
    const burnish_tensor tensor = tensor_of(const_cast<T*>(data), count);
    detail::check(burnish_session_set_input(handle_.get(), name.c_str(), &tensor));
  }
  // Makes runs read the caller's memory, which must stay valid, without a copy.
  template <class T> void bind_input(const std::string& name, const T* data, std::size_t count) {
    const burnish_tensor tensor = tensor_of(const_cast<T*>(data), count);
    detail::check(burnish_session_bind_input(handle_.get(), name.c_str(), &tensor));
  }
  // Makes runs write to the caller's memory, which must stay valid.
  template <class T> void bind_output(const std::string& name, T* data, std::size_t count) {
    const burnish_tensor tensor = tensor_of(data, count);
    detail::check(burnish_session_bind_output(handle_.get(), name.c_str(), &tensor));
  }
  // Back to the session's own buffers.
  void unbind_input(const std::string& name) {
    detail::check(burnish_session_bind_input(handle_.get(), name.c_str(), nullptr));
  }
  void unbind_output(const std::string& name) {
    detail::check(burnish_session_bind_output(handle_.get(), name.c_str(), nullptr));
  }

  // ---- models for GPUs: bind_input and bind_output take memory of the GPU, too ----

  // Makes runs read (write) memory of the GPU that the session owns, and tells where it is.
  template <class T> T* device_input(const std::string& name) {
    return view<T>(burnish_session_get_device_input, "input", name).data();
  }
  template <class T> T* device_output(const std::string& name) {
    return view<T>(burnish_session_get_device_output, "output", name).data();
  }
  // One inference on the caller's stream (a cudaStream_t; null: CUDA's default stream), after what
  // was enqueued there; does not wait for it. All tensors must be on the GPU or in the session's
  // own buffers.
  void run_async(void* stream) { detail::check(burnish_session_run_async(handle_.get(), stream)); }
  void synchronize() { detail::check(burnish_session_synchronize(handle_.get())); }
  // The GPU; UserError for models of the CPU.
  burnish_device_info device() const {
    burnish_device_info info{};
    info.struct_size = sizeof info;
    detail::check(burnish_session_get_device(handle_.get(), &info));
    return info;
  }

  // One inference; the calling thread takes part. Allocates nothing after the first one.
  void run() { detail::check(burnish_session_run(handle_.get())); }
  // One inference, timed step by step.
  Profile profile() {
    Profile out;
    out.step_ns.resize(steps_);
    std::uint64_t none = 0;
    std::uint64_t* at = steps_ == 0 ? &none : out.step_ns.data();
    detail::check(burnish_session_profile(handle_.get(), at, steps_, &out.total_ns));
    return out;
  }

  burnish_session* handle() const { return handle_.get(); }

 private:
  friend class Model;
  Session(burnish_session* session, std::uint32_t steps) : handle_(session), steps_(steps) {}

  template <class T> static burnish_tensor tensor_of(T* data, std::size_t count) {
    burnish_tensor tensor{};
    tensor.data = data;
    tensor.bytes = count * sizeof(T);
    tensor.dtype = detail::dtype_of<T>();
    return tensor;
  }

  template <class T, class Get>
  TensorView<T> view(Get get, const char* port, const std::string& name) {
    burnish_tensor tensor{};
    detail::check(get(handle_.get(), name.c_str(), &tensor));
    constexpr burnish_dtype wanted = detail::dtype_of<T>();
    if (tensor.dtype != wanted) {
      throw UserError(std::string(port) + " \"" + name + "\" has elements of type " +
                      burnish_dtype_name(tensor.dtype) + ", not " + burnish_dtype_name(wanted));
    }
    return {static_cast<T*>(tensor.data), static_cast<std::size_t>(tensor.bytes / sizeof(T)),
            std::vector<std::int64_t>(tensor.shape, tensor.shape + tensor.rank)};
  }

  struct Release {
    void operator()(burnish_session* session) const { burnish_session_release(session); }
  };
  std::unique_ptr<burnish_session, Release> handle_;
  std::uint32_t steps_ = 0;
};

// A loaded model. Move-only; sessions keep what they need of it alive. May be used by any number of
// threads at once.
class Model {
 public:
  // Throws UserError (no such file, damaged, no Burnish library) or Unsupported (for another CPU,
  // ABI or system), before any of the library's code runs.
  static Model load(const std::string& path) {
    burnish_model* model = nullptr;
    detail::check(burnish_model_load(path.c_str(), nullptr, &model));
    return Model(model);
  }
  // The same for a library in memory, which is copied.
  static Model load(const void* data, std::size_t bytes) {
    burnish_model* model = nullptr;
    detail::check(burnish_model_load_memory(data, bytes, nullptr, &model));
    return Model(model);
  }

  std::vector<TensorInfo> inputs() const { return tensors(info().inputs, burnish_model_get_input); }
  std::vector<TensorInfo> outputs() const {
    return tensors(info().outputs, burnish_model_get_output);
  }
  std::vector<StepInfo> steps() const {
    std::vector<StepInfo> out(info().steps);
    for (std::uint32_t i = 0; i < out.size(); ++i) {
      burnish_step_info step{};
      detail::check(burnish_model_get_step(handle_.get(), i, &step));
      out[i].name = step.name;
      out[i].schedule = step.schedule;
      out[i].sources.assign(step.sources, step.sources + step.source_count);
      out[i].macs = step.macs;
      out[i].bytes = step.bytes;
    }
    return out;
  }
  // The texts in it live as long as the model.
  burnish_model_info info() const {
    burnish_model_info info{};
    info.struct_size = sizeof info;
    detail::check(burnish_model_get_info(handle_.get(), &info));
    return info;
  }
  // The metadata as JSON (docs/artifact.md).
  std::string metadata() const { return info().metadata; }

  Session session(const SessionOptions& options = {}) const {
    burnish_session_options o{};
    o.struct_size = sizeof o;
    o.threads = options.threads;
    o.spin_us = options.spin_us;
    o.pin = options.pin;
    o.pool = options.pool ? options.pool->handle() : nullptr;
    o.device = options.device;
    burnish_session* session = nullptr;
    detail::check(burnish_session_create(handle_.get(), &o, &session));
    return Session(session, info().steps);
  }

  burnish_model* handle() const { return handle_.get(); }

 private:
  explicit Model(burnish_model* model) : handle_(model) {}

  template <class Get> std::vector<TensorInfo> tensors(std::uint32_t count, Get get) const {
    std::vector<TensorInfo> out(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      burnish_tensor_info info{};
      detail::check(get(handle_.get(), i, &info));
      out[i].name = info.name;
      out[i].dtype = info.dtype;
      out[i].shape.assign(info.shape, info.shape + info.rank);
      out[i].bytes = info.bytes;
    }
    return out;
  }

  struct Release {
    void operator()(burnish_model* model) const { burnish_model_release(model); }
  };
  std::unique_ptr<burnish_model, Release> handle_;
};

}  // namespace burnish
#endif
