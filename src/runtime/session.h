// One user of a model: its tensors, arena, scratch and threads.
#pragma once

#include "model.h"
#include "pool.h"

#include <atomic>
#include <memory>
#include <vector>

namespace burnish::runtime {

enum class Port { Input, Output };

class Session {
 public:
  Session(std::shared_ptr<const Model> model, std::shared_ptr<Pool> pool, std::uint32_t threads);

  std::uint32_t threads() const { return threads_; }

  std::size_t steps() const { return model_->metadata().steps.size(); }

  // Null: the session's own buffer again.
  void bind(Port port, const char* name, const burnish_tensor* tensor);
  void set_input(const char* name, const burnish_tensor& tensor);
  burnish_tensor get(Port port, const char* name);

  // Throws Failure. step_ns: null, or one element a step.
  void run(std::uint64_t* step_ns, std::uint64_t* total_ns);

 private:
  struct Run;
  struct InUse;

  const std::vector<TensorSpec>& specs(Port port) const;
  // The index in tensors_, and what the model says about it.
  std::size_t find(Port port, const char* name, const TensorSpec** spec) const;
  void* own_buffer(std::size_t index, const TensorSpec& spec);
  void give_buffers();

  std::shared_ptr<const Model> model_;
  std::shared_ptr<Pool> pool_;
  std::uint32_t threads_;  // as asked for
  std::uint32_t working_;  // of them, those that a run takes
  Buffer arena_, scratch_;
  std::uint64_t scratch_stride_ = 0;
  std::vector<void*> tensors_;  // inputs, then outputs; null: own buffer, not yet made
  std::vector<Buffer> own_;     // by the same index
  std::atomic<bool> in_use_{false};
};

}  // namespace burnish::runtime

struct burnish_session {
  burnish::runtime::Session session;
};
