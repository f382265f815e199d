// A loaded model: what its sessions share.
#pragma once

#include "artifact.h"
#include "cuda/program.h"
#include "memory.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace burnish::runtime {

class Model {
 public:
  // Texts of Failures begin with `path`.
  static std::shared_ptr<const Model> load(File file, const std::string& path,
                                           burnish_weights weights);

  const Metadata& metadata() const { return metadata_; }
  const burnish_entry& entry() const { return library_.entry(); }
  const void* weights() const { return weights_; }
  // Of a model for GPUs: on the GPU of this number, loaded at the first use.
  std::shared_ptr<const cuda::Program> on_gpu(int ordinal) const;

 private:
  Metadata metadata_;
  Library library_;
  Buffer copy_;  // of the weights, or nothing
  const void* weights_ = nullptr;
  mutable std::mutex loading_;
  mutable std::map<int, std::shared_ptr<const cuda::Program>> on_gpus_;
};

}  // namespace burnish::runtime

struct burnish_model {
  std::shared_ptr<const burnish::runtime::Model> model;
};
