#include "session.h"

#include "failure.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace burnish::runtime {

namespace {

const char* port_name(Port port) { return port == Port::Input ? "input" : "output"; }

std::string names_of(const std::vector<TensorSpec>& specs) {
  std::string out;
  for (const TensorSpec& s : specs) {
    if (out.size() > 500) return out + ", ...";
    out += (out.empty() ? "\"" : ", \"") + s.name + '"';
  }
  return out.empty() ? "none" : out;
}

// Refuses a tensor of the caller's that does not fit; the text says what was expected.
void check_tensor(Port port, const TensorSpec& spec, const burnish_tensor& given) {
  const char* dtype = dtype_name(given.dtype);
  const auto refuse = [&](const std::string& got) {
    fail(BURNISH_ERROR_USER, "%s \"%s\" is %s of shape %s (%llu bytes), but %s was given",
         port_name(port), spec.name.c_str(), dtype_name(spec.dtype), shape_text(spec.shape).c_str(),
         static_cast<unsigned long long>(spec.bytes), got.c_str());
  };
  if (!dtype) refuse("the unknown dtype number " + std::to_string(static_cast<int>(given.dtype)));
  if (given.shape) {
    if (given.rank > 64) refuse("a tensor of rank " + std::to_string(given.rank));
    const std::span<const std::int64_t> shape(given.shape, given.rank);
    if (!std::equal(shape.begin(), shape.end(), spec.shape.begin(), spec.shape.end())) {
      refuse(std::string(dtype) + " of shape " + shape_text(shape));
    }
  }
  if (given.dtype != spec.dtype) refuse(dtype);
  if (given.bytes != spec.bytes) refuse(std::to_string(given.bytes) + " bytes");
  if (spec.bytes != 0 && !given.data) refuse("a null pointer");
  if (reinterpret_cast<std::uintptr_t>(given.data) % dtype_size(spec.dtype) != 0) {
    refuse("memory that is not aligned to its elements");
  }
}

}  // namespace

// What the host's callbacks see of one run.
struct Session::Run {
  using Clock = std::chrono::steady_clock;

  Session& session;
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
    if (step >= run.session.model_->metadata().steps.size()) return;
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
    const std::int32_t code = run.session.model_->entry().run(&run.frame, thread, &run.host);
    if (code != 0) fault(ctx, thread, static_cast<std::uint32_t>(code));
  }
};

// A session is used by one thread at a time; two at once get an error instead of a broken frame.
struct Session::InUse {
  explicit InUse(Session& session) : session_(session) {
    if (session.in_use_.exchange(true, std::memory_order_acquire)) {
      fail(BURNISH_ERROR_USER, "the session is in use by another thread; make a session for each "
                               "thread (they share the model)");
    }
  }
  ~InUse() { session_.in_use_.store(false, std::memory_order_release); }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;

 private:
  Session& session_;
};

Session::Session(std::shared_ptr<const Model> model, std::shared_ptr<Pool> pool,
                 std::uint32_t threads)
    : model_(std::move(model)), pool_(std::move(pool)), threads_(threads),
      working_(std::min(threads, model_->metadata().most_threads)) {
  const Metadata& m = model_->metadata();
  arena_ = Buffer(m.arena_bytes, "the arena of a session");
  // 128: threads' areas share no line, nor the line that is prefetched with it.
  scratch_stride_ = (m.scratch_bytes + 127) / 128 * 128;
  scratch_ = Buffer(scratch_stride_ * working_, "the scratch memory of a session");
  tensors_.resize(m.inputs.size() + m.outputs.size());
  own_.resize(tensors_.size());
}

const std::vector<TensorSpec>& Session::specs(Port port) const {
  const Metadata& m = model_->metadata();
  return port == Port::Input ? m.inputs : m.outputs;
}

std::size_t Session::find(Port port, const char* name, const TensorSpec** spec) const {
  const auto& all = specs(port);
  for (std::size_t i = 0; name && i < all.size(); ++i) {
    if (all[i].name != name) continue;
    *spec = &all[i];
    return port == Port::Input ? i : model_->metadata().inputs.size() + i;
  }
  fail(BURNISH_ERROR_USER, "there is no %s \"%.200s\"; the model's %ss are %s", port_name(port),
       name ? name : "(null)", port_name(port), names_of(all).c_str());
}

void* Session::own_buffer(std::size_t index, const TensorSpec& spec) {
  if (!own_[index]) own_[index] = Buffer(spec.bytes, "a tensor of a session");
  return own_[index].data();
}

void Session::give_buffers() {
  std::size_t index = 0;
  for (const Port port : {Port::Input, Port::Output}) {
    for (const TensorSpec& spec : specs(port)) {
      if (!tensors_[index]) tensors_[index] = own_buffer(index, spec);
      ++index;
    }
  }
}

void Session::bind(Port port, const char* name, const burnish_tensor* tensor) {
  const InUse in_use(*this);
  const TensorSpec* spec = nullptr;
  const std::size_t index = find(port, name, &spec);
  if (tensor) check_tensor(port, *spec, *tensor);
  tensors_[index] = tensor ? tensor->data : nullptr;
}

void Session::set_input(const char* name, const burnish_tensor& tensor) {
  const InUse in_use(*this);
  const TensorSpec* spec = nullptr;
  const std::size_t index = find(Port::Input, name, &spec);
  check_tensor(Port::Input, *spec, tensor);
  tensors_[index] = own_buffer(index, *spec);
  if (spec->bytes != 0) std::memmove(tensors_[index], tensor.data, spec->bytes);
}

burnish_tensor Session::get(Port port, const char* name) {
  const InUse in_use(*this);
  const TensorSpec* spec = nullptr;
  const std::size_t index = find(port, name, &spec);
  if (!tensors_[index]) tensors_[index] = own_buffer(index, *spec);
  return {.data = tensors_[index],
          .bytes = spec->bytes,
          .dtype = spec->dtype,
          .rank = static_cast<std::uint32_t>(spec->shape.size()),
          .shape = spec->shape.data()};
}

void Session::run(std::uint64_t* step_ns, std::uint64_t* total_ns) {
  const InUse in_use(*this);
  give_buffers();
  Run run{.session = *this,
          .frame = {.tensors = tensors_.data(),
                    .arena = arena_.data(),
                    .weights = model_->weights(),
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
  const std::size_t steps = model_->metadata().steps.size();
  for (std::size_t i = 0; step_ns && i < steps; ++i) step_ns[i] = 0;
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
