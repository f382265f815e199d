// One user of a model: its tensors and what a run needs besides. Names, checks and turns are here;
// CpuSession and cuda::Session run.
#pragma once

#include "model.h"

#include <atomic>
#include <memory>
#include <vector>

namespace burnish::runtime {

enum class Port { Input, Output };
const char* port_name(Port port);

class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  virtual ~Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  virtual std::uint32_t threads() const = 0;
  virtual burnish_device_info device() const;
  std::size_t steps() const { return model_->metadata().steps.size(); }

  // Null: the session's own buffer again.
  void bind(Port port, const char* name, const burnish_tensor* tensor);
  void set_input(const char* name, const burnish_tensor& tensor);
  burnish_tensor get(Port port, const char* name);
  // The session's own buffer in the GPU's memory, which runs then use.
  burnish_tensor get_device(Port port, const char* name);

  // Throws Failure. step_ns: null, or one element a step.
  void run(std::uint64_t* step_ns, std::uint64_t* total_ns);
  // On the caller's stream; `run` without waiting for the end.
  void run_async(void* stream);
  // Waits for what run_async began.
  void synchronize();

 protected:
  // An input or output: its index in inputs-then-outputs, and what the model says about it.
  struct Slot {
    Port port;
    std::size_t index;
    const TensorSpec& spec;
  };
  const Model& model() const { return *model_; }
  const Metadata& metadata() const { return model_->metadata(); }

 private:
  // What the functions above do, arguments checked, by one thread at a time. data: never null but
  // for tensors without elements.
  virtual void bind_to(const Slot& slot, void* data) = 0;
  virtual void bind_own(const Slot& slot) = 0;
  virtual void copy_in(const Slot& slot, const void* data) = 0;
  virtual void* where(const Slot& slot) = 0;
  virtual void* where_on_device(const Slot& slot);
  virtual void run_once(std::uint64_t* step_ns, std::uint64_t* total_ns) = 0;
  virtual void begin_run(void* stream);
  virtual void wait() {}

  struct InUse;
  Slot find(Port port, const char* name) const;

  std::shared_ptr<const Model> model_;
  std::atomic<bool> in_use_{false};
};

}  // namespace burnish::runtime

struct burnish_session {
  std::unique_ptr<burnish::runtime::Session> session;
};
