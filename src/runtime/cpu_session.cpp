#include "cpu_session.h"

#include "failure.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace burnish::runtime {

// What the host's callbacks see of one run.
struct CpuSession::Run {
  using Clock = std::chrono::steady_clock;

  CpuSession& session;
  burnish_frame frame;
  burnish_host host;
  std::uint64_t* step_ns;
  Clock::time_point last_mark{};
  std::atomic<std::uint32_t> fault_code{0};
  std::atomic<std::uint32_t> fault_thread{0};

  static Run& of(void* ctx) { return *static_cast<Run*>(ctx); }
  static void no_barrier(void*, std::uint32_t) {}
  static void barrier(void* ctx, std::uint32_t thread) { of(ctx).session.pool_->barrier(thread); }
  static void mark(void* ctx, std::uint32_t, std::uint32_t step) {
    Run& run = of(ctx);
    if (step >= run.session.metadata().steps.size()) return;
    const Clock::time_point now = Clock::now();
    run.step_ns[step] +=
        static_cast<std::uint64_t>((now - run.last_mark) / std::chrono::nanoseconds(1));
    run.last_mark = now;
  }
  static void fault(void* ctx, std::uint32_t thread, std::uint32_t code) {
    Run& run = of(ctx);
    std::uint32_t none = 0;
    if (code == 0) code = UINT32_MAX;
    if (run.fault_code.compare_exchange_strong(none, code)) run.fault_thread.store(thread);
  }
  static void thread_main(void* ctx, std::uint32_t thread) {
    Run& run = of(ctx);
    const std::int32_t code = run.session.model().entry().run(&run.frame, thread, &run.host);
    if (code != 0) fault(ctx, thread, static_cast<std::uint32_t>(code));
  }
};

CpuSession::CpuSession(std::shared_ptr<const Model> model, std::shared_ptr<Pool> pool,
                       std::uint32_t threads)
    : Session(std::move(model)), pool_(std::move(pool)), threads_(threads),
      working_(std::min(threads, metadata().most_threads)) {
  const Metadata& m = metadata();
  arena_ = Buffer(m.arena_bytes, "the arena of a session");
  // 128: threads' areas share no line, nor the line that is prefetched with it.
  scratch_stride_ = (m.scratch_bytes + 127) / 128 * 128;
  scratch_ = Buffer(scratch_stride_ * working_, "the scratch memory of a session");
  tensors_.resize(m.inputs.size() + m.outputs.size());
  own_.resize(tensors_.size());
}

void* CpuSession::own_buffer(std::size_t index, const TensorSpec& spec) {
  if (!own_[index]) own_[index] = Buffer(spec.bytes, "a tensor of a session");
  return own_[index].data();
}

void CpuSession::give_buffers() {
  std::size_t index = 0;
  for (const auto* specs : {&metadata().inputs, &metadata().outputs}) {
    for (const TensorSpec& spec : *specs) {
      if (!tensors_[index]) tensors_[index] = own_buffer(index, spec);
      ++index;
    }
  }
}

void CpuSession::copy_in(const Slot& slot, const void* data) {
  tensors_[slot.index] = own_buffer(slot.index, slot.spec);
  if (slot.spec.bytes != 0) std::memmove(tensors_[slot.index], data, slot.spec.bytes);
}

void* CpuSession::where(const Slot& slot) {
  if (!tensors_[slot.index]) tensors_[slot.index] = own_buffer(slot.index, slot.spec);
  return tensors_[slot.index];
}

void CpuSession::run_once(std::uint64_t* step_ns, std::uint64_t* total_ns) {
  give_buffers();
  Run run{.session = *this,
          .frame = {.tensors = tensors_.data(),
                    .arena = arena_.data(),
                    .weights = model().weights(),
                    .scratch = scratch_.data(),
                    .scratch_stride = scratch_stride_,
                    .symbols = nullptr,
                    .threads = working_,
                    .reserved = 0},
          .host = {.ctx = nullptr,
                   .barrier = working_ == 1 ? Run::no_barrier : Run::barrier,
                   .mark = step_ns ? Run::mark : nullptr,
                   .fault = Run::fault},
          .step_ns = step_ns};
  run.host.ctx = &run;
  const Run::Clock::time_point start = Run::Clock::now();
  run.last_mark = start;
  pool_->run(working_, Run::thread_main, &run);
  if (total_ns) {
    *total_ns =
        static_cast<std::uint64_t>((Run::Clock::now() - start) / std::chrono::nanoseconds(1));
  }
  if (const std::uint32_t code = run.fault_code.load(); code != 0) {
    fail(BURNISH_ERROR_FAULT,
         "the model reported fault %u on thread %u: its input has a value that it cannot process",
         code, run.fault_thread.load());
  }
}

}  // namespace burnish::runtime
