#include "session.h"

#include "failure.h"

#include <algorithm>
#include <span>
#include <string>

namespace burnish::runtime {

const char* port_name(Port port) { return port == Port::Input ? "input" : "output"; }

namespace {

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

Session::Slot Session::find(Port port, const char* name) const {
  const Metadata& m = metadata();
  const auto& all = port == Port::Input ? m.inputs : m.outputs;
  for (std::size_t i = 0; name && i < all.size(); ++i) {
    if (all[i].name == name) return {port, port == Port::Input ? i : m.inputs.size() + i, all[i]};
  }
  fail(BURNISH_ERROR_USER, "there is no %s \"%.200s\"; the model's %ss are %s", port_name(port),
       name ? name : "(null)", port_name(port), names_of(all).c_str());
}

void Session::bind(Port port, const char* name, const burnish_tensor* tensor) {
  const InUse in_use(*this);
  const Slot slot = find(port, name);
  if (!tensor) return bind_own(slot);
  check_tensor(port, slot.spec, *tensor);
  bind_to(slot, tensor->data);
}

void Session::set_input(const char* name, const burnish_tensor& tensor) {
  const InUse in_use(*this);
  const Slot slot = find(Port::Input, name);
  check_tensor(Port::Input, slot.spec, tensor);
  copy_in(slot, tensor.data);
}

namespace {
burnish_tensor tensor_at(void* data, const TensorSpec& spec) {
  return {.data = data,
          .bytes = spec.bytes,
          .dtype = spec.dtype,
          .rank = static_cast<std::uint32_t>(spec.shape.size()),
          .shape = spec.shape.data()};
}
}  // namespace

burnish_tensor Session::get(Port port, const char* name) {
  const InUse in_use(*this);
  const Slot slot = find(port, name);
  return tensor_at(where(slot), slot.spec);
}

burnish_tensor Session::get_device(Port port, const char* name) {
  const InUse in_use(*this);
  const Slot slot = find(port, name);
  return tensor_at(where_on_device(slot), slot.spec);
}

void Session::run(std::uint64_t* step_ns, std::uint64_t* total_ns) {
  const InUse in_use(*this);
  for (std::size_t i = 0; step_ns && i < steps(); ++i) step_ns[i] = 0;
  run_once(step_ns, total_ns);
}

void Session::run_async(void* stream) {
  const InUse in_use(*this);
  begin_run(stream);
}

void Session::synchronize() {
  const InUse in_use(*this);
  wait();
}

burnish_device_info Session::device() const {
  fail(BURNISH_ERROR_USER, "the model runs on the CPU: it has no GPU");
}

void* Session::where_on_device(const Slot&) {
  fail(BURNISH_ERROR_USER, "the model runs on the CPU: it has no memory of a GPU");
}

void Session::begin_run(void*) {
  fail(BURNISH_ERROR_USER,
       "the model runs on the CPU, on the calling thread; use burnish_session_run");
}

}  // namespace burnish::runtime
