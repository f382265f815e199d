#include "session.h"

#include "../failure.h"

#include <algorithm>
#include <cstring>

namespace burnish::runtime::cuda {

namespace {

// Kernels read several elements at once.
constexpr std::uintptr_t alignment = 16;
// Graphs that are kept: callers that let buffers take turns have a few sets of addresses.
constexpr std::size_t most_captured = 8;

const char* side(bool input) { return input ? "an input on the GPU" : "an output on the GPU"; }

}  // namespace

Session::Session(std::shared_ptr<const Model> model, int ordinal)
    : runtime::Session(std::move(model)), program_(this->model().on_gpu(ordinal)),
      context_(program_->context()), stream_(context_) {
  const Current current(context_);
  const Metadata& m = metadata();
  done_ = new_event(context_, event_no_timing);
  arena_ = zeros(m.arena_bytes, "the arena of a session");
  for (const TensorSpec& t : m.inputs) {
    tensors_.emplace_back();
    tensors_.back().bytes = t.bytes;
    tensors_.back().input = true;
  }
  for (const TensorSpec& t : m.outputs) {
    tensors_.emplace_back();
    tensors_.back().bytes = t.bytes;
  }
  addresses_.resize(tensors_.size());
  std::size_t count = 0;
  for (const DeviceLaunch& launch : m.device->launches) {
    first_parameter_.push_back(count);
    count += launch.args.size();
  }
  parameters_.resize(count);
  for (Address& p : parameters_) parameter_pointers_.push_back(&p);
}

Session::~Session() {
  if (pending_) context_.release([this](const Driver& d) { d.event_synchronize(done_.get()); });
}

// ---- tensors

void Session::place(Tensor& tensor, Place place) {
  tensor.place = place;
  graph_ = nullptr;
  marked_ = {};
}

void Session::bind_to(const Slot& slot, void* data) {
  if (slot.spec.bytes == 0) return bind_own(slot);
  const Current current(context_);
  Tensor& tensor = tensors_[slot.index];
  const auto address = static_cast<Address>(reinterpret_cast<std::uintptr_t>(data));
  unsigned type = 0;
  // Memory that the driver has not heard of is the host's.
  const Result known = driver().address_attribute(&type, address_memory_type, address);
  if (known != success && known != invalid_value) context_.check(known, "looking up an address");
  if (known != success || type == memory_type_host) {
    tensor.host = data;
    return place(tensor, Place::Host);
  }
  int ordinal = -1;
  context_.check(driver().address_attribute(&ordinal, address_device, address),
                 "looking up an address");
  if (ordinal != context_.ordinal()) {
    fail(BURNISH_ERROR_USER, "%s \"%.200s\" was given memory of GPU %d; the session is on %s",
         port_name(slot.port), slot.spec.name.c_str(), ordinal, context_.name().c_str());
  }
  if (address % alignment != 0) {
    fail(BURNISH_ERROR_USER,
         "%s \"%.200s\" was given memory of the GPU that is not aligned to %d bytes; copy it to "
         "memory that is",
         port_name(slot.port), slot.spec.name.c_str(), static_cast<int>(alignment));
  }
  tensor.device = address;
  place(tensor, Place::Device);
}

void Session::bind_own(const Slot& slot) { place(tensors_[slot.index], Place::OwnHost); }

void* Session::staging(Tensor& tensor) {
  if (!tensor.staging) tensor.staging = PinnedBuffer(context_, tensor.bytes, "a tensor");
  return tensor.staging.data();
}

void Session::copy_in(const Slot& slot, const void* data) {
  wait();
  const Current current(context_);
  Tensor& tensor = tensors_[slot.index];
  place(tensor, Place::OwnHost);
  if (tensor.bytes != 0) std::memmove(staging(tensor), data, tensor.bytes);
}

void* Session::where(const Slot& slot) {
  wait();
  Tensor& tensor = tensors_[slot.index];
  if (!tensor.copied()) {
    fail(BURNISH_ERROR_USER,
         "%s \"%.200s\" is in the GPU's memory; ask for it with burnish_session_get_device_%s, or "
         "bind it to memory of the host",
         port_name(slot.port), slot.spec.name.c_str(), port_name(slot.port));
  }
  if (tensor.place == Place::Host) return tensor.host;
  const Current current(context_);
  return staging(tensor);
}

void* Session::where_on_device(const Slot& slot) {
  const Current current(context_);
  Tensor& tensor = tensors_[slot.index];
  if (tensor.copied()) place(tensor, Place::OwnDevice);
  give_buffers();
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>(tensor.address()));
}

DeviceBuffer Session::zeros(std::uint64_t bytes, const char* what) {
  DeviceBuffer memory(context_, bytes, what);
  if (bytes == 0) return memory;
  context_.check(driver().memory_set(memory.address(), 0, bytes), "clearing memory");
  context_.check(driver().stream_synchronize(nullptr), "clearing memory");
  return memory;
}

void Session::give_buffers() {
  for (Tensor& t : tensors_) {
    if (t.copied()) staging(t);
    if (t.own || t.place == Place::Device) continue;
    t.own = zeros(t.bytes, side(t.input));
  }
}

// ---- what a run is

void Session::set_parameters() {
  const auto& launches = metadata().device->launches;
  for (std::size_t i = 0; i < launches.size(); ++i) {
    Address* out = parameters_.data() + first_parameter_[i];
    for (const DeviceArgument& arg : launches[i].args) {
      const Address base = arg.place == DeviceArgument::arena ? arena_.address()
                           : arg.place == DeviceArgument::weights
                               ? program_->weights()
                               : tensors_[static_cast<std::size_t>(arg.place)].address();
      *out++ = base + arg.offset;
    }
  }
}

void Session::enqueue_copies(bool inputs) {
  const Stream stream = stream_.get();
  for (const Tensor& t : tensors_) {
    if (t.input != inputs || !t.copied() || t.bytes == 0) continue;
    context_.check(
        inputs ? driver().copy_to_device_async(t.own.address(), t.staging.data(), t.bytes, stream)
               : driver().copy_to_host_async(t.staging.data(), t.own.address(), t.bytes, stream),
        inputs ? "copying an input" : "copying an output");
  }
}

void Session::enqueue_launches(bool marked) {
  const auto& launches = metadata().device->launches;
  if (marked) mark(0, event_external);
  for (std::size_t i = 0, step = 0; step < steps(); ++step) {
    for (; i < launches.size() && launches[i].step == step; ++i) enqueue_launch(i);
    if (marked) mark(step + 1, event_external);
  }
}

void Session::enqueue_launch(std::size_t index) {
  const DeviceSpec& device = *metadata().device;
  const DeviceLaunch& launch = device.launches[index];
  const DeviceKernel& kernel = device.kernels[launch.kernel];
  void** parameters = parameter_pointers_.data() + first_parameter_[index];
  const Function function = program_->kernel(launch.kernel);
  Result result;
  if (launch.dependent) {
    LaunchAttribute attribute{.id = launch_programmatic_serialization, .pad = {}, .value = {}};
    attribute.value.number = 1;
    const LaunchConfig config{.grid_x = launch.blocks,
                              .block_x = kernel.threads,
                              .block_bytes = kernel.block_bytes,
                              .stream = stream_.get(),
                              .attributes = &attribute,
                              .attribute_count = 1};
    result = driver().launch_ex(&config, function, parameters, nullptr);
  } else {
    result = driver().launch(function, launch.blocks, 1, 1, kernel.threads, 1, 1,
                             kernel.block_bytes, stream_.get(), parameters, nullptr);
  }
  if (result == success) return;
  const std::string doing = "launching kernel \"" + kernel.name.substr(0, 200) + "\"";
  context_.check(result, doing.c_str());
}

// What is enqueued on the stream while this lives becomes a graph.
class Session::Capture {
 public:
  Capture(Context& context, Stream stream) : context_(context), stream_(stream) {
    context.check(context.driver().capture_begin(stream, capture_thread_local), "capturing a run");
  }
  ~Capture() {
    if (!ended_) end();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  Result end() {
    ended_ = true;
    Graph graph = nullptr;
    const Result result = context_.driver().capture_end(stream_, &graph);
    graph_ = OwnedGraph(context_, graph);
    return result;
  }
  Graph graph() const { return graph_.get(); }

 private:
  Context& context_;
  Stream stream_;
  OwnedGraph graph_;
  bool ended_ = false;
};

OwnedGraphExec Session::captured(bool marked) {
  set_parameters();
  Capture capture(context_, stream_.get());
  enqueue_copies(true);
  enqueue_launches(marked);
  enqueue_copies(false);
  context_.check(capture.end(), "capturing a run");
  GraphExec exec = nullptr;
  context_.check(driver().graph_instantiate(&exec, capture.graph(), 0), "making a graph");
  return {context_, exec};
}

// Buffers must be there.
GraphExec Session::graph() {
  if (graph_) return graph_;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    addresses_[i] = tensors_[i].address() | (tensors_[i].copied() ? 1 : 0);
  }
  auto found = std::find_if(captured_.begin(), captured_.end(),
                            [&](const Captured& c) { return c.addresses == addresses_; });
  if (found == captured_.end()) {
    OwnedGraphExec exec = captured(false);
    if (captured_.size() < most_captured) {
      captured_.emplace_back();
      found = captured_.end() - 1;
    } else {
      wait();  // it may be running
      found = std::min_element(
          captured_.begin(), captured_.end(),
          [](const Captured& a, const Captured& b) { return a.last_used < b.last_used; });
    }
    found->addresses = addresses_;
    found->exec = std::move(exec);
  }
  found->last_used = ++uses_;
  return graph_ = found->exec.get();
}

// ---- runs

void Session::run_once(std::uint64_t* step_ns, std::uint64_t* total_ns) {
  wait();
  const Current current(context_);
  give_buffers();
  for (const Tensor& t : tensors_) {
    if (t.input && t.place == Place::Host) std::memcpy(t.staging.data(), t.host, t.bytes);
  }
  if (step_ns || total_ns) {
    if (step_ns) profile_steps(step_ns);
    if (total_ns) profile_whole(total_ns);
  } else {
    context_.check(driver().graph_launch(graph(), stream_.get()), "starting a run");
    context_.check(driver().stream_synchronize(stream_.get()), "a run");
  }
  for (const Tensor& t : tensors_) {
    if (!t.input && t.place == Place::Host) std::memcpy(t.host, t.staging.data(), t.bytes);
  }
}

void Session::begin_run(void* stream) {
  const Current current(context_);
  for (const Tensor& t : tensors_) {
    if (t.place == Place::Host) {
      fail(BURNISH_ERROR_USER,
           "%s are bound to memory of the host, which run_async cannot copy; bind "
           "memory of the GPU, or use the session's own buffers",
           t.input ? "inputs" : "outputs");
    }
  }
  give_buffers();
  const GraphExec exec = graph();
  const auto on = static_cast<Stream>(stream);
  if (pending_ && pending_on_ != on) {
    context_.check(driver().stream_wait(on, done_.get(), 0), "waiting for the run before");
  }
  context_.check(driver().graph_launch(exec, on), "starting a run");
  context_.check(driver().event_record(done_.get(), on, 0), "starting a run");
  pending_ = true;
  pending_on_ = on;
}

void Session::wait() {
  if (!pending_) return;
  const Current current(context_);
  pending_ = false;
  context_.check(driver().event_synchronize(done_.get()), "a run");
}

// ---- profiles

std::uint64_t Session::nanoseconds(std::size_t from, std::size_t to) {
  float milliseconds = 0;
  context_.check(driver().event_elapsed(&milliseconds, marks_[from].get(), marks_[to].get()),
                 "timing a run");
  return milliseconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(milliseconds) * 1e6) : 0;
}

void Session::mark(std::size_t index, unsigned flags) {
  context_.check(driver().event_record(marks_[index].get(), stream_.get(), flags), "timing a run");
}

void Session::make_marks(std::size_t count) {
  while (marks_.size() < count) marks_.push_back(new_event(context_, 0));
}

// With events between steps, in the graph, so that the GPU does not wait for the host.
void Session::profile_steps(std::uint64_t* step_ns) {
  make_marks(steps() + 1);
  if (!marked_) marked_ = captured(true);
  context_.check(driver().graph_launch(marked_.get(), stream_.get()), "starting a run");
  context_.check(driver().stream_synchronize(stream_.get()), "a run");
  for (std::size_t s = 0; s < steps(); ++s) step_ns[s] = nanoseconds(s, s + 1);
}

// The graph as it is, between two events.
void Session::profile_whole(std::uint64_t* total_ns) {
  make_marks(2);
  const GraphExec exec = graph();
  mark(0, 0);
  context_.check(driver().graph_launch(exec, stream_.get()), "starting a run");
  mark(1, 0);
  context_.check(driver().stream_synchronize(stream_.get()), "a run");
  *total_ns = nanoseconds(0, 1);
}

}  // namespace burnish::runtime::cuda
