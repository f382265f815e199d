#include "session.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace burnish::python {
namespace {

using namespace nb::literals;

std::string described(const TensorInfo& info) {
  std::string text = info.name + " (" + numpy_name(info.dtype) + " ";
  for (size_t i = 0; i < info.shape.size(); ++i) text += (i ? "x" : "") + std::to_string(info.shape[i]);
  return text + (info.shape.empty() ? "scalar)" : ")");
}

std::string described(const std::vector<TensorInfo>& infos) {
  std::string text;
  for (const TensorInfo& info : infos) text += (text.empty() ? "" : ", ") + described(info);
  return text;
}

// A stream's number: of an int, of torch's and cupy's streams; 0 is the default one.
intptr_t stream_of(nb::handle stream) {
  if (stream.is_none()) return kDefaultStream;
  nb::object number = nb::borrow(stream);
  for (const char* attribute : {"cuda_stream", "ptr"}) {
    if (nb::hasattr(stream, attribute)) {
      number = stream.attr(attribute);
      break;
    }
  }
  intptr_t value = 0;
  if (!nb::try_cast(number, value) || value < 0) {
    throw UserError("stream: expected a stream of torch or cupy, or its number");
  }
  return value == 0 ? kDefaultStream : value;
}

// What __dlpack__ promises: whoever takes it on another stream finds it written.
void wait_for(const DeviceArray& array, nb::handle stream) {
  if (array.pending && stream_of(stream) != array.stream) nb::cast<InferenceSession&>(array.owner).synchronize();
}

nb::object dlpack(const DeviceArray& array, nb::kwargs options) {
  wait_for(array, options.contains("stream") ? nb::object(options["stream"]) : nb::none());
  std::vector<size_t> shape(array.shape.begin(), array.shape.end());
  const nb::object made = nb::cast(nb::ndarray<nb::array_api>(array.data, shape.size(), shape.data(), array.owner, nullptr,
                                                 dlpack_of(array.dtype), nb::device::cuda::value, array.device));
  return made.attr("__dlpack__")(**options);
}

nb::tuple shape_of(const DeviceArray& array) {
  nb::list shape;
  for (int64_t size : array.shape) shape.append(size);
  return nb::tuple(shape);
}

nb::dict interface(const DeviceArray& array) {
  constexpr const char* types[] = {"", "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<V2", "<f4", "<f8"};
  nb::dict out;
  out["shape"] = shape_of(array);
  out["typestr"] = types[static_cast<int>(array.dtype)];
  out["data"] = nb::make_tuple(reinterpret_cast<uintptr_t>(array.data), false);
  out["strides"] = nb::none();
  out["stream"] = array.stream;
  out["version"] = 3;
  return out;
}

}  // namespace

// What is bound to the session; the destructor gives the session its own buffers back.
struct InferenceSession::Bindings {
  burnish_session* session;
  std::vector<std::string> inputs{}, outputs{};

  explicit Bindings(burnish_session* s) : session(s) {}
  Bindings(const Bindings&) = delete;
  Bindings& operator=(const Bindings&) = delete;
  ~Bindings() {
    for (const std::string& name : inputs) burnish_session_bind_input(session, name.c_str(), nullptr);
    for (const std::string& name : outputs) burnish_session_bind_output(session, name.c_str(), nullptr);
  }
  void input(const std::string& name, const burnish_tensor& tensor) {
    check(burnish_session_bind_input(session, name.c_str(), &tensor));
    inputs.push_back(name);
  }
  // Where on the GPU the session's own buffer is.
  void* device_output(const std::string& name) {
    burnish_tensor tensor{};
    check(burnish_session_get_device_output(session, name.c_str(), &tensor));
    outputs.push_back(name);
    return tensor.data;
  }
  void output(const std::string& name, const burnish_tensor& tensor) {
    check(burnish_session_bind_output(session, name.c_str(), &tensor));
    outputs.push_back(name);
  }
};

InferenceSession::InferenceSession(const Model& model, uint32_t threads, bool pin, const ThreadPool* pool, int device)
    : inputs_(model.inputs()), outputs_(model.outputs()), device_(device) {
  burnish_session_options options{};
  options.struct_size = sizeof options;
  options.threads = threads;
  options.pin = pin;
  options.pool = pool ? pool->get() : nullptr;
  options.device = device;
  for (const TensorInfo& output : outputs_) pools_.push_back(std::make_shared<BufferPool>(output.bytes));
  nb::gil_scoped_release released;
  burnish_session* session = nullptr;
  check(burnish_session_create(model.get(), &options, &session));
  handle_.reset(session);
}

size_t InferenceSession::output_index(const std::string& name) const {
  const auto found = std::find_if(outputs_.begin(), outputs_.end(),
                                  [&name](const TensorInfo& info) { return info.name == name; });
  if (found == outputs_.end()) {
    throw UserError("there is no output '" + name + "'; the outputs are " + described(outputs_));
  }
  return static_cast<size_t>(found - outputs_.begin());
}

InferenceSession::Feeds InferenceSession::collect(nb::dict feeds, bool all_needed, intptr_t stream) const {
  Feeds all;
  for (auto [key, value] : feeds) {
    std::string name;
    if (!nb::try_cast(key, name)) throw UserError("the keys of the feeds must be the inputs' names");
    const bool known = std::any_of(inputs_.begin(), inputs_.end(),
                                   [&name](const TensorInfo& info) { return info.name == name; });
    if (!known) throw UserError("there is no input '" + name + "'; the inputs are " + described(inputs_));
    Feed feed = feed_of("input " + name, value, stream);
    all.emplace_back(std::move(name), std::move(feed));
  }
  if (!all_needed) return all;
  for (const TensorInfo& info : inputs_) {
    const bool given =
        std::any_of(all.begin(), all.end(), [&info](const auto& feed) { return feed.first == info.name; });
    if (!given) throw UserError("input " + described(info) + " is missing from the feeds");
  }
  return all;
}

nb::object InferenceSession::output_array(size_t index, std::unique_ptr<PooledBuffer> buffer) const {
  const TensorInfo& info = outputs_[index];
  return array_over(std::move(buffer), info.dtype, static_cast<uint32_t>(info.shape.size()), info.shape.data());
}

nb::list InferenceSession::run(std::optional<std::vector<std::string>> names, nb::dict feeds, const GpuOptions& gpu) {
  std::vector<size_t> wanted;
  if (names && !names->empty()) {
    for (const std::string& name : *names) wanted.push_back(output_index(name));
  } else {
    for (size_t i = 0; i < outputs_.size(); ++i) wanted.push_back(i);
  }
  const intptr_t stream = stream_of(gpu.stream);
  Feeds inputs = collect(feeds, true, stream);
  const bool on_gpu = std::any_of(inputs.begin(), inputs.end(), [](const auto& feed) { return feed.second.on_gpu; });
  if (on_gpu || gpu.on_device || !gpu.outputs.is_none() || !gpu.stream.is_none()) {
    return run_on_gpu(wanted, inputs, gpu, stream);
  }
  std::vector<std::unique_ptr<PooledBuffer>> buffers(outputs_.size());
  {
    nb::gil_scoped_release released;
    std::lock_guard lock(mutex_);
    Bindings bound(handle_.get());
    for (auto& [name, feed] : inputs) bound.input(name, feed.tensor());
    for (size_t i : wanted) {
      if (buffers[i]) continue;
      const TensorInfo& info = outputs_[i];
      buffers[i] = std::make_unique<PooledBuffer>(pools_[i]);
      bound.output(info.name, {buffers[i]->data(), info.bytes, info.dtype,
                               static_cast<uint32_t>(info.shape.size()), info.shape.data()});
    }
    check(burnish_session_run(handle_.get()));
  }
  std::vector<nb::object> arrays(outputs_.size());
  nb::list results;
  for (size_t i : wanted) {
    if (!arrays[i].is_valid()) arrays[i] = output_array(i, std::move(buffers[i]));
    results.append(arrays[i]);
  }
  return results;
}

// On the stream that the arrays' producers have made wait for them (CUDA's default stream unless one is given). Arrays in
// main memory go through the session's own buffers.
nb::list InferenceSession::run_on_gpu(const std::vector<size_t>& wanted, const Feeds& inputs, const GpuOptions& gpu,
                                      intptr_t stream) {
  std::vector<nb::object> arrays(outputs_.size());
  std::vector<std::optional<Feed>> targets(outputs_.size());
  if (!gpu.outputs.is_none()) {
    for (auto [key, value] : nb::cast<nb::dict>(gpu.outputs)) {
      const std::string name = nb::cast<std::string>(key);
      const size_t i = output_index(name);
      targets[i] = feed_of("output " + name, value, stream);
      if (!targets[i]->on_gpu) {
        throw UserError("output " + name + ": outputs= takes arrays on the GPU; those in main memory are returned");
      }
      arrays[i] = nb::borrow(value);
    }
  }
  std::vector<std::unique_ptr<PooledBuffer>> buffers(outputs_.size());
  std::vector<void*> on_device(outputs_.size());
  bool wait = gpu.stream.is_none();
  {
    nb::gil_scoped_release released;
    std::lock_guard lock(mutex_);
    Bindings bound(handle_.get());
    for (const auto& [name, feed] : inputs) {
      const burnish_tensor tensor = feed.tensor();
      if (feed.on_gpu) bound.input(name, tensor);
      else check(burnish_session_set_input(handle_.get(), name.c_str(), &tensor));
    }
    for (size_t i = 0; i < targets.size(); ++i) {
      if (targets[i]) bound.output(outputs_[i].name, targets[i]->tensor());
    }
    for (size_t i : wanted) {
      if (targets[i] || buffers[i] || on_device[i]) continue;
      if (gpu.on_device) {
        on_device[i] = bound.device_output(outputs_[i].name);
      } else {
        buffers[i] = std::make_unique<PooledBuffer>(pools_[i]);
        wait = true;
      }
    }
    check(burnish_session_run_async(handle_.get(), reinterpret_cast<void*>(stream)));
    if (wait) check(burnish_session_synchronize(handle_.get()));
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (!buffers[i]) continue;
      burnish_tensor tensor{};
      check(burnish_session_get_output(handle_.get(), outputs_[i].name.c_str(), &tensor));
      std::memcpy(buffers[i]->data(), tensor.data, tensor.bytes);
    }
  }
  nb::list results;
  for (size_t i : wanted) {
    if (on_device[i] && !arrays[i].is_valid()) {
      arrays[i] = nb::cast(DeviceArray{on_device[i], outputs_[i].shape, outputs_[i].dtype, device_, stream, !wait, nb::find(this)});
    }
    if (!arrays[i].is_valid()) arrays[i] = output_array(i, std::move(buffers[i]));
    results.append(arrays[i]);
  }
  return results;
}

void InferenceSession::synchronize() {
  nb::gil_scoped_release released;
  std::lock_guard lock(mutex_);
  check(burnish_session_synchronize(handle_.get()));
}

void InferenceSession::with_feeds(nb::dict feeds, const std::function<void(burnish_session*)>& body) {
  Feeds inputs = collect(feeds, false);
  nb::gil_scoped_release released;
  std::lock_guard lock(mutex_);
  Bindings bound(handle_.get());
  for (auto& [name, feed] : inputs) bound.input(name, feed.tensor());
  body(handle_.get());
}

void bind_session(nb::module_& module) {
  using Path = std::filesystem::path;
  nb::class_<DeviceArray>(module, "DeviceArray",
                          "An output in a GPU's memory, for torch.from_dlpack, cupy.from_dlpack and the like. It belongs "
                          "to the session, whose next run overwrites it.")
      .def("__dlpack__", &dlpack)
      .def("__dlpack_device__", [](const DeviceArray& array) { return nb::make_tuple(nb::device::cuda::value, array.device); })
      .def_prop_ro("__cuda_array_interface__", &interface)
      .def_prop_ro("shape", &shape_of, nb::sig("def shape(self) -> tuple[int, ...]"))
      .def_prop_ro("type", [](const DeviceArray& array) { return numpy_name(array.dtype); },
                   "The element type as numpy names it, such as 'float32'.");
  nb::class_<InferenceSession>(module, "InferenceSession",
                               "A compiled network ready to run. Runs from several threads take turns; for runs side by "
                               "side, make one session a thread of one Model.")
      .def("__init__",
           [](InferenceSession* self, const Model& model, uint32_t threads, bool pin, const ThreadPool* pool, int device) {
             new (self) InferenceSession(model, threads, pin, pool, device);
           },
           "model"_a, nb::kw_only(), "threads"_a = 0, "pin"_a = false, "pool"_a.none() = nb::none(), "device"_a = 0)
      // Before the path, which may be bytes, too.
      .def("__init__",
           [](InferenceSession* self, nb::bytes library, uint32_t threads, bool pin, const ThreadPool* pool, int device) {
             new (self) InferenceSession(Model(library), threads, pin, pool, device);
           },
           "library"_a, nb::kw_only(), "threads"_a = 0, "pin"_a = false, "pool"_a.none() = nb::none(), "device"_a = 0)
      .def("__init__",
           [](InferenceSession* self, const Path& path, uint32_t threads, bool pin, const ThreadPool* pool, int device) {
             new (self) InferenceSession(Model(path.string()), threads, pin, pool, device);
           },
           "path"_a, nb::kw_only(), "threads"_a = 0, "pin"_a = false, "pool"_a.none() = nb::none(), "device"_a = 0,
           "Loads the library at path. threads counts the calling thread; 0 stands for all CPUs that this process may "
           "use. pin keeps each worker on one CPU. With pool, the session has no threads of its own. device: of a model for "
           "GPUs, the GPU's number.")
      .def("run",
           [](InferenceSession& self, std::optional<std::vector<std::string>> names, nb::dict feeds, nb::object outputs,
              bool on_device, nb::object stream) {
             return self.run(std::move(names), std::move(feeds), {std::move(outputs), on_device, std::move(stream)});
           },
           "output_names"_a.none(), "feeds"_a, nb::kw_only(), "outputs"_a.none() = nb::none(), "on_device"_a = false,
           "stream"_a.none() = nb::none(),
           nb::sig("def run(self, output_names: typing.Sequence[str] | None, "
                   "feeds: typing.Mapping[str, typing.Any], *, outputs: typing.Mapping[str, typing.Any] | None = None, "
                   "on_device: bool = False, stream: typing.Any = None) -> list[typing.Any]"),
           "One inference: the wanted outputs (None: all of them, in order). feeds maps each input's name to a numpy "
           "array or anything with __dlpack__ of exactly the input's shape and type. The results are fresh numpy arrays, "
           "written by the network without a copy; later runs leave them alone. The GIL is released meanwhile.\n\n"
           "Models for GPUs: feeds may be arrays on the GPU (torch tensors; __dlpack__ or __cuda_array_interface__), "
           "which are read in place. outputs maps names to arrays on the GPU, which are written in place and returned. "
           "on_device: the others are returned as DeviceArrays, memory of the session that its next run overwrites "
           "(torch.from_dlpack(y).clone() to keep one). stream: the run is enqueued there (a torch or cupy stream, or its number), "
           "and not waited for unless results are in main memory.")
      .def("synchronize", &InferenceSession::synchronize, "Waits for runs on streams.")
      .def("get_inputs", &InferenceSession::inputs)
      .def("get_outputs", &InferenceSession::outputs)
      .def_prop_ro("threads", &InferenceSession::threads);
}

}  // namespace burnish::python
