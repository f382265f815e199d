#include "session.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
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
  void output(const std::string& name, const burnish_tensor& tensor) {
    check(burnish_session_bind_output(session, name.c_str(), &tensor));
    outputs.push_back(name);
  }
};

InferenceSession::InferenceSession(const Model& model, uint32_t threads, bool pin, const ThreadPool* pool)
    : inputs_(model.inputs()), outputs_(model.outputs()) {
  burnish_session_options options{};
  options.struct_size = sizeof options;
  options.threads = threads;
  options.pin = pin;
  options.pool = pool ? pool->get() : nullptr;
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

InferenceSession::Feeds InferenceSession::collect(nb::dict feeds, bool all_needed) const {
  Feeds all;
  for (auto [key, value] : feeds) {
    std::string name;
    if (!nb::try_cast(key, name)) throw UserError("the keys of the feeds must be the inputs' names");
    const bool known = std::any_of(inputs_.begin(), inputs_.end(),
                                   [&name](const TensorInfo& info) { return info.name == name; });
    if (!known) throw UserError("there is no input '" + name + "'; the inputs are " + described(inputs_));
    Feed feed = feed_of(name.c_str(), value);
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

nb::list InferenceSession::run(std::optional<std::vector<std::string>> names, nb::dict feeds) {
  std::vector<size_t> wanted;
  if (names && !names->empty()) {
    for (const std::string& name : *names) wanted.push_back(output_index(name));
  } else {
    for (size_t i = 0; i < outputs_.size(); ++i) wanted.push_back(i);
  }
  Feeds inputs = collect(feeds, true);
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
    const TensorInfo& info = outputs_[i];
    if (!arrays[i].is_valid()) {
      arrays[i] = array_over(std::move(buffers[i]), info.dtype, static_cast<uint32_t>(info.shape.size()),
                             info.shape.data());
    }
    results.append(arrays[i]);
  }
  return results;
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
  nb::class_<InferenceSession>(module, "InferenceSession",
                               "A compiled network ready to run. Runs from several threads take turns; for runs side by "
                               "side, make one session a thread of one Model.")
      .def("__init__",
           [](InferenceSession* self, const Model& model, uint32_t threads, bool pin, const ThreadPool* pool) {
             new (self) InferenceSession(model, threads, pin, pool);
           },
           "model"_a, nb::kw_only(), "threads"_a = 0, "pin"_a = false, "pool"_a.none() = nb::none())
      // Before the path, which may be bytes, too.
      .def("__init__",
           [](InferenceSession* self, nb::bytes library, uint32_t threads, bool pin, const ThreadPool* pool) {
             new (self) InferenceSession(Model(library), threads, pin, pool);
           },
           "library"_a, nb::kw_only(), "threads"_a = 0, "pin"_a = false, "pool"_a.none() = nb::none())
      .def("__init__",
           [](InferenceSession* self, const Path& path, uint32_t threads, bool pin, const ThreadPool* pool) {
             new (self) InferenceSession(Model(path.string()), threads, pin, pool);
           },
           "path"_a, nb::kw_only(), "threads"_a = 0, "pin"_a = false, "pool"_a.none() = nb::none(),
           "Loads the library at path. threads counts the calling thread; 0 stands for all CPUs that this process may "
           "use. pin keeps each worker on one CPU. With pool, the session has no threads of its own.")
      .def("run", &InferenceSession::run, "output_names"_a.none(), "feeds"_a,
           nb::sig("def run(self, output_names: typing.Sequence[str] | None, "
                   "feeds: typing.Mapping[str, typing.Any]) -> list[numpy.ndarray]"),
           "One inference: the wanted outputs (None: all of them, in order). feeds maps each input's name to a numpy "
           "array or anything with __dlpack__ of exactly the input's shape and type. The results are fresh arrays, "
           "written by the network without a copy; later runs leave them alone. The GIL is released meanwhile.")
      .def("get_inputs", &InferenceSession::inputs)
      .def("get_outputs", &InferenceSession::outputs)
      .def_prop_ro("threads", &InferenceSession::threads);
}

}  // namespace burnish::python
