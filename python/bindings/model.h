// A loaded library and a pool of threads, as Python sees them.
#pragma once

#include "errors.h"

#include <nanobind/nanobind.h>

#include <memory>
#include <string>
#include <vector>

namespace burnish::python {

struct ReleaseModel {
  void operator()(burnish_model* model) const { burnish_model_release(model); }
};
struct ReleasePool {
  void operator()(burnish_pool* pool) const { burnish_pool_release(pool); }
};

// Name, shape and dtype of an input or output.
struct TensorInfo {
  std::string name;
  std::vector<int64_t> shape;
  burnish_dtype dtype;
  uint64_t bytes;
};

class Model {
 public:
  explicit Model(const std::string& path);
  explicit Model(nanobind::bytes library);

  burnish_model* get() const { return handle_.get(); }
  burnish_model_info info() const;
  std::vector<TensorInfo> inputs() const;
  std::vector<TensorInfo> outputs() const;

 private:
  std::unique_ptr<burnish_model, ReleaseModel> handle_;
};

class ThreadPool {
 public:
  ThreadPool(uint32_t threads, bool pin);
  burnish_pool* get() const { return handle_.get(); }
  uint32_t threads() const { return burnish_pool_threads(handle_.get()); }

 private:
  std::unique_ptr<burnish_pool, ReleasePool> handle_;
};

void bind_model(nanobind::module_& module);
void bind_session(nanobind::module_& module);
void bind_timing(nanobind::module_& module);

}  // namespace burnish::python
