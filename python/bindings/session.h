// burnish.InferenceSession: one network ready to run, with the calls that users of other runtimes know.
#pragma once

#include "model.h"
#include "tensors.h"

#include <functional>
#include <mutex>
#include <optional>

namespace burnish::python {

struct ReleaseSession {
  void operator()(burnish_session* session) const { burnish_session_release(session); }
};

class InferenceSession {
 public:
  InferenceSession(const Model& model, uint32_t threads, bool pin, const ThreadPool* pool, int device);

  // One inference. The outputs are fresh arrays over memory that the network wrote directly, but for what the options
  // of GPUs say.
  struct GpuOptions {
    nb::object outputs;  // a mapping, or None
    bool on_device = false;
    nb::object stream;  // or None
  };
  nb::list run(std::optional<std::vector<std::string>> names, nb::dict feeds, const GpuOptions& gpu);

  void synchronize();

  // Calls `body`, which may run the session any number of times, with the feeds bound and the GIL released. Inputs
  // without a feed stay as they are in the session: zero.
  void with_feeds(nb::dict feeds, const std::function<void(burnish_session*)>& body);

  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  const std::vector<TensorInfo>& outputs() const { return outputs_; }
  uint32_t threads() const { return burnish_session_threads(handle_.get()); }

 private:
  using Feeds = std::vector<std::pair<std::string, Feed>>;
  struct Bindings;

  Feeds collect(nb::dict feeds, bool all_needed, intptr_t stream = kDefaultStream) const;
  nb::list run_on_gpu(const std::vector<size_t>& wanted, const Feeds& inputs, const GpuOptions& gpu, intptr_t stream);
  nb::object output_array(size_t index, std::unique_ptr<PooledBuffer> buffer) const;
  size_t output_index(const std::string& name) const;

  std::unique_ptr<burnish_session, ReleaseSession> handle_;
  std::vector<TensorInfo> inputs_, outputs_;
  int device_;
  std::vector<std::shared_ptr<BufferPool>> pools_;  // one an output
  std::mutex mutex_;  // runs from several Python threads take turns; taken without the GIL only
};

}  // namespace burnish::python
