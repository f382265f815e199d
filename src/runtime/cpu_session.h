// A session of a model for the CPU: tensors, arena, scratch and threads.
#pragma once

#include "pool.h"
#include "session.h"

#include <memory>
#include <vector>

namespace burnish::runtime {

class CpuSession final : public Session {
 public:
  CpuSession(std::shared_ptr<const Model> model, std::shared_ptr<Pool> pool, std::uint32_t threads);

  std::uint32_t threads() const override { return threads_; }

 private:
  struct Run;

  void bind_to(const Slot& slot, void* data) override { tensors_[slot.index] = data; }
  void bind_own(const Slot& slot) override { tensors_[slot.index] = nullptr; }
  void copy_in(const Slot& slot, const void* data) override;
  void* where(const Slot& slot) override;
  void run_once(std::uint64_t* step_ns, std::uint64_t* total_ns) override;

  void* own_buffer(std::size_t index, const TensorSpec& spec);
  void give_buffers();

  std::shared_ptr<Pool> pool_;
  std::uint32_t threads_;  // as asked for
  std::uint32_t working_;  // of them, those that a run takes
  Buffer arena_, scratch_;
  std::uint64_t scratch_stride_ = 0;
  std::vector<void*> tensors_;  // inputs, then outputs; null: own buffer, not yet made
  std::vector<Buffer> own_;     // by the same index
};

}  // namespace burnish::runtime
