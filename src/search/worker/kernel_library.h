// A library in this process: loaded by the runtime, its tensors where the caller says.
#pragma once

#include <burnish/runtime.h>

#include <memory>
#include <string>
#include <vector>

#include "search/measure/messages.h"

namespace burnish::search {

// Why a candidate has no time; its status and a sentence.
struct RunFailure {
  Status status;
  std::string message;
};

struct Release {
  void operator()(burnish_model* m) const { burnish_model_release(m); }
  void operator()(burnish_session* s) const { burnish_session_release(s); }
  void operator()(burnish_pool* p) const { burnish_pool_release(p); }
};
template <class T>
using Handle = std::unique_ptr<T, Release>;

// Throws RunFailure unless `s` is BURNISH_OK.
void succeed(burnish_status s);

Handle<burnish_pool> new_pool(int threads);

// Tensors that a library had on a device, for others of its task.
struct DeviceTensors {
  std::vector<Parameter> parameters;
  std::vector<void*> at;  // by parameter
  Handle<burnish_model> model;
  Handle<burnish_session> session;  // whose memory they are
};

class KernelLibrary {
 public:
  KernelLibrary(const Built& built, burnish_pool* pool);

  // A library for a device copies inputs there and outputs back with each run, until on_device(), but those that `data` has there. Constants
  // are copied here.
  void bind(const Parameter& p, void* data);
  struct Times {
    double kernel, whole;  // seconds: of the last step, and with what starting a run costs
  };
  Times run();
  // Runs leave their tensors on the device; they begin with what the last run has copied there. Where they are, by parameter.
  std::vector<void*> on_device();
  DeviceTensors keep_tensors() &&;
  // Seconds of one launch, on average over those of a run on the device.
  double launch_seconds();

 private:
  const Built& built_;
  bool device_ = false;
  Handle<burnish_model> model_;
  Handle<burnish_session> session_;
  std::vector<uint64_t> steps_;
};

}  // namespace burnish::search
