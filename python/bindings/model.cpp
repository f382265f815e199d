#include "model.h"

#include "tensors.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <filesystem>
#include <fstream>

namespace burnish::python {
namespace {

using namespace nb::literals;

template <class Get>
std::vector<TensorInfo> tensors(uint32_t count, Get get) {
  std::vector<TensorInfo> all;
  for (uint32_t i = 0; i < count; ++i) {
    burnish_tensor_info info{};
    check(get(i, &info));
    all.push_back({info.name, {info.shape, info.shape + info.rank}, info.dtype, info.bytes});
  }
  return all;
}

nb::tuple shape_tuple(const std::vector<int64_t>& shape) {
  nb::list list;
  for (int64_t size : shape) list.append(size);
  return nb::tuple(list);
}

// An ONNX file begins with its first field, the format's version.
bool may_be_onnx(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return file.get() == 0x08;
}

std::string repr(const TensorInfo& info) {
  std::string text = "TensorInfo(name='" + info.name + "', shape=(";
  for (int64_t size : info.shape) text += std::to_string(size) + ", ";
  if (info.shape.size() > 1) text.resize(text.size() - 2);
  if (info.shape.size() == 1) text.resize(text.size() - 1);
  return text + "), type='" + numpy_name(info.dtype) + "')";
}

}  // namespace

Model::Model(const std::string& path) {
  nb::gil_scoped_release released;
  burnish_model* model = nullptr;
  const burnish_status status = burnish_model_load(path.c_str(), nullptr, &model);
  if (status == BURNISH_ERROR_USER && may_be_onnx(path)) {
    throw UserError(std::string(burnish_last_error()) + "; if it is a model, compile it first: burnish.compile(\"" + path +
                    "\").export(\"model.so\")");
  }
  check(status);
  handle_.reset(model);
}

Model::Model(nb::bytes library) {
  nb::gil_scoped_release released;
  burnish_model* model = nullptr;
  check(burnish_model_load_memory(library.data(), library.size(), nullptr, &model));
  handle_.reset(model);
}

burnish_model_info Model::info() const {
  burnish_model_info info{};
  info.struct_size = sizeof info;
  check(burnish_model_get_info(get(), &info));
  return info;
}

std::vector<TensorInfo> Model::inputs() const {
  return tensors(info().inputs, [this](uint32_t i, burnish_tensor_info* info) {
    return burnish_model_get_input(get(), i, info);
  });
}

std::vector<TensorInfo> Model::outputs() const {
  return tensors(info().outputs, [this](uint32_t i, burnish_tensor_info* info) {
    return burnish_model_get_output(get(), i, info);
  });
}

ThreadPool::ThreadPool(uint32_t threads, bool pin) {
  burnish_pool_options options{};
  options.struct_size = sizeof options;
  options.threads = threads;
  options.pin = pin;
  burnish_pool* pool = nullptr;
  check(burnish_pool_create(&options, &pool));
  handle_.reset(pool);
}

void bind_model(nb::module_& module) {
  nb::class_<TensorInfo>(module, "TensorInfo", "Name, shape and element type of an input or output.")
      .def_ro("name", &TensorInfo::name)
      .def_prop_ro("shape", [](const TensorInfo& info) { return shape_tuple(info.shape); },
                   nb::sig("def shape(self) -> tuple[int, ...]"))
      .def_prop_ro("type", [](const TensorInfo& info) { return numpy_name(info.dtype); },
                   "The element type as numpy names it, such as 'float32'.")
      .def_ro("nbytes", &TensorInfo::bytes)
      .def("__repr__", &repr);

  nb::class_<Model>(module, "Model", "A compiled network, which any number of sessions may run.")
      .def(nb::init<nb::bytes>(), "library"_a, "Loads a library from memory.")  // first: paths may be bytes, too
      .def("__init__", [](Model* self, const std::filesystem::path& path) { new (self) Model(path.string()); },
           "path"_a, "Loads a library. It is checked before any of its code is mapped.")
      .def_prop_ro("inputs", &Model::inputs)
      .def_prop_ro("outputs", &Model::outputs)
      .def_prop_ro("metadata", [](const Model& model) { return std::string(model.info().metadata); },
                   "All that the compiler recorded, as JSON.")
      .def_prop_ro("target", [](const Model& model) { return std::string(model.info().target); })
      .def_prop_ro("macs", [](const Model& model) { return model.info().macs; },
                   "Multiply-accumulates of one run.");

  nb::class_<ThreadPool>(module, "ThreadPool", "Threads that several sessions may share; their runs take turns.")
      .def(nb::init<uint32_t, bool>(), "threads"_a = 0, nb::kw_only(), "pin"_a = false,
           "threads counts the calling thread; 0 stands for all CPUs that this process may use.")
      .def_prop_ro("threads", &ThreadPool::threads);
}

}  // namespace burnish::python
