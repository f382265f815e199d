// The C interface of burnish/runtime.h: checks arguments, then hands over.
#include "cpu.h"
#include "cpu_session.h"
#include "cuda/session.h"
#include "failure.h"
#include "model.h"
#include "pool.h"
#include "session.h"

#include <burnish/runtime.h>

#include <algorithm>
#include <cstring>

namespace {

using namespace burnish::runtime;

void need(const void* pointer, const char* what) {
  if (!pointer) fail(BURNISH_ERROR_USER, "the argument \"%s\" is null", what);
}

// An options struct of a caller that may be older (shorter) or newer (longer) than this library.
// Null: the defaults.
template <class T> T read_options(const T* given, const char* what) {
  T out{};
  if (!given) return out;
  if (given->struct_size < sizeof(std::size_t) || given->struct_size > 4096) {
    fail(BURNISH_ERROR_USER, "%s.struct_size is %zu; set it to sizeof(%s)", what,
         given->struct_size, what);
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  for (std::size_t i = sizeof(T); i < given->struct_size; ++i) {
    if (bytes[i] != 0) {
      fail(BURNISH_ERROR_UNSUPPORTED,
           "%s has an option that this runtime does not know; use a newer runtime", what);
    }
  }
  std::memcpy(&out, given, std::min(sizeof(T), given->struct_size));
  return out;
}

// As much of a struct as the caller knows.
template <class T> void give_struct(const T& out, T& info, const char* what) {
  const std::size_t size = info.struct_size;
  if (size < sizeof(std::size_t)) {
    fail(BURNISH_ERROR_USER, "%s.struct_size is %zu; set it to sizeof(%s)", what, size, what);
  }
  std::memcpy(&info, &out, std::min(sizeof out, size));
  info.struct_size = size;
}

void give_tensor_info(const std::vector<TensorSpec>& specs, std::uint32_t index, const char* what,
                      burnish_tensor_info* info) {
  need(info, "info");
  if (index >= specs.size()) {
    fail(BURNISH_ERROR_USER, "there is no %s number %u; the model has %zu", what, index,
         specs.size());
  }
  const TensorSpec& s = specs[index];
  *info = {.name = s.name.c_str(),
           .dtype = s.dtype,
           .rank = static_cast<std::uint32_t>(s.shape.size()),
           .shape = s.shape.data(),
           .bytes = s.bytes};
}

std::unique_ptr<Session> new_session(std::shared_ptr<const Model> model,
                                     const burnish_session_options& o) {
  if (model->metadata().device) return std::make_unique<cuda::Session>(std::move(model), o.device);
  if (o.device != 0) {
    fail(BURNISH_ERROR_USER, "GPU number %d is asked for, but the model runs on the CPU", o.device);
  }
  std::shared_ptr<Pool> pool;
  if (o.pool) {
    pool = o.pool->pool;
  } else {
    pool = std::make_shared<Pool>(
        PoolOptions{.threads = o.threads, .spin_us = o.spin_us, .pin = o.pin != 0});
  }
  const std::uint32_t threads = o.threads != 0 ? o.threads : pool->threads();
  if (threads > pool->threads()) {
    fail(BURNISH_ERROR_USER, "%u threads are asked for, the pool has %u", threads, pool->threads());
  }
  return std::make_unique<CpuSession>(std::move(model), std::move(pool), threads);
}

burnish_weights checked(burnish_weights weights) {
  switch (weights) {
  case BURNISH_WEIGHTS_AUTO:
  case BURNISH_WEIGHTS_COPY:
  case BURNISH_WEIGHTS_DIRECT: return weights;
  }
  fail(BURNISH_ERROR_USER, "%d is no way to hold weights", static_cast<int>(weights));
}

}  // namespace

extern "C" {

const char* burnish_last_error(void) { return last_error(); }

const char* burnish_version(void) { return BURNISH_VERSION; }

const char* burnish_dtype_name(burnish_dtype dtype) { return dtype_name(dtype); }

size_t burnish_dtype_size(burnish_dtype dtype) { return dtype_size(dtype); }

uint32_t burnish_cpu_count(void) {
  std::uint32_t count = 1;
  guard([&] { count = static_cast<std::uint32_t>(affinity_cpus().size()); });
  return count;
}

burnish_status burnish_model_load(const char* path, const burnish_load_options* options,
                                  burnish_model** model) {
  return guard([&] {
    need(path, "path");
    need(model, "model");
    const auto o = read_options(options, "burnish_load_options");
    File file = open_artifact(path);
    if (o.private_copy) file = sealed_copy(file, path);
    *model = new burnish_model{Model::load(std::move(file), path, checked(o.weights))};
  });
}

burnish_status burnish_model_load_memory(const void* data, size_t bytes,
                                         const burnish_load_options* options,
                                         burnish_model** model) {
  return guard([&] {
    need(data, "data");
    need(model, "model");
    const auto o = read_options(options, "burnish_load_options");
    const std::string name = "the library in memory";
    *model =
        new burnish_model{Model::load(sealed_file(data, bytes, name), name, checked(o.weights))};
  });
}

void burnish_model_release(burnish_model* model) { delete model; }

burnish_status burnish_model_get_info(const burnish_model* model, burnish_model_info* info) {
  return guard([&] {
    need(model, "model");
    need(info, "info");
    const Metadata& m = model->model->metadata();
    const burnish_model_info out = {.struct_size = sizeof out,
                                    .metadata = m.text.c_str(),
                                    .compiler = m.compiler.c_str(),
                                    .target = m.target.c_str(),
                                    .cpu = m.cpu.c_str(),
                                    .threads = m.threads,
                                    .inputs = static_cast<std::uint32_t>(m.inputs.size()),
                                    .outputs = static_cast<std::uint32_t>(m.outputs.size()),
                                    .steps = static_cast<std::uint32_t>(m.steps.size()),
                                    .arena_bytes = m.arena_bytes,
                                    .scratch_bytes = m.scratch_bytes,
                                    .weights_bytes = m.weights_bytes,
                                    .macs = m.macs};
    give_struct(out, *info, "burnish_model_info");
  });
}

burnish_status burnish_model_get_input(const burnish_model* model, uint32_t index,
                                       burnish_tensor_info* info) {
  return guard([&] {
    need(model, "model");
    give_tensor_info(model->model->metadata().inputs, index, "input", info);
  });
}

burnish_status burnish_model_get_output(const burnish_model* model, uint32_t index,
                                        burnish_tensor_info* info) {
  return guard([&] {
    need(model, "model");
    give_tensor_info(model->model->metadata().outputs, index, "output", info);
  });
}

burnish_status burnish_model_get_step(const burnish_model* model, uint32_t index,
                                      burnish_step_info* info) {
  return guard([&] {
    need(model, "model");
    need(info, "info");
    const auto& steps = model->model->metadata().steps;
    if (index >= steps.size()) {
      fail(BURNISH_ERROR_USER, "there is no step number %u; the model has %zu", index,
           steps.size());
    }
    const StepSpec& s = steps[index];
    *info = {.name = s.name.c_str(),
             .schedule = s.schedule.c_str(),
             .sources = s.source_texts.data(),
             .source_count = static_cast<std::uint32_t>(s.source_texts.size()),
             .macs = s.macs,
             .bytes = s.bytes};
  });
}

burnish_status burnish_pool_create(const burnish_pool_options* options, burnish_pool** pool) {
  return guard([&] {
    need(pool, "pool");
    const auto o = read_options(options, "burnish_pool_options");
    *pool = new burnish_pool{std::make_shared<Pool>(
        PoolOptions{.threads = o.threads, .spin_us = o.spin_us, .pin = o.pin != 0})};
  });
}

void burnish_pool_release(burnish_pool* pool) { delete pool; }

uint32_t burnish_pool_threads(const burnish_pool* pool) { return pool ? pool->pool->threads() : 0; }

burnish_status burnish_session_create(const burnish_model* model,
                                      const burnish_session_options* options,
                                      burnish_session** session) {
  return guard([&] {
    need(model, "model");
    need(session, "session");
    const auto o = read_options(options, "burnish_session_options");
    *session = new burnish_session{new_session(model->model, o)};
  });
}

void burnish_session_release(burnish_session* session) { delete session; }

uint32_t burnish_session_threads(const burnish_session* session) {
  return session ? session->session->threads() : 0;
}

burnish_status burnish_session_bind_input(burnish_session* session, const char* name,
                                          const burnish_tensor* tensor) {
  return guard([&] {
    need(session, "session");
    session->session->bind(Port::Input, name, tensor);
  });
}

burnish_status burnish_session_bind_output(burnish_session* session, const char* name,
                                           const burnish_tensor* tensor) {
  return guard([&] {
    need(session, "session");
    session->session->bind(Port::Output, name, tensor);
  });
}

burnish_status burnish_session_set_input(burnish_session* session, const char* name,
                                         const burnish_tensor* tensor) {
  return guard([&] {
    need(session, "session");
    need(tensor, "tensor");
    session->session->set_input(name, *tensor);
  });
}

burnish_status burnish_session_get_input(burnish_session* session, const char* name,
                                         burnish_tensor* tensor) {
  return guard([&] {
    need(session, "session");
    need(tensor, "tensor");
    *tensor = session->session->get(Port::Input, name);
  });
}

burnish_status burnish_session_get_output(burnish_session* session, const char* name,
                                          burnish_tensor* tensor) {
  return guard([&] {
    need(session, "session");
    need(tensor, "tensor");
    *tensor = session->session->get(Port::Output, name);
  });
}

burnish_status burnish_session_get_device_input(burnish_session* session, const char* name,
                                                burnish_tensor* tensor) {
  return guard([&] {
    need(session, "session");
    need(tensor, "tensor");
    *tensor = session->session->get_device(Port::Input, name);
  });
}

burnish_status burnish_session_get_device_output(burnish_session* session, const char* name,
                                                 burnish_tensor* tensor) {
  return guard([&] {
    need(session, "session");
    need(tensor, "tensor");
    *tensor = session->session->get_device(Port::Output, name);
  });
}

burnish_status burnish_session_get_device(const burnish_session* session,
                                          burnish_device_info* info) {
  return guard([&] {
    need(session, "session");
    need(info, "info");
    give_struct(session->session->device(), *info, "burnish_device_info");
  });
}

burnish_status burnish_session_run_async(burnish_session* session, void* stream) {
  return guard([&] {
    need(session, "session");
    session->session->run_async(stream);
  });
}

burnish_status burnish_session_synchronize(burnish_session* session) {
  return guard([&] {
    need(session, "session");
    session->session->synchronize();
  });
}

burnish_status burnish_session_run(burnish_session* session) {
  return guard([&] {
    need(session, "session");
    session->session->run(nullptr, nullptr);
  });
}

burnish_status burnish_session_profile(burnish_session* session, uint64_t* step_ns, uint32_t steps,
                                       uint64_t* total_ns) {
  return guard([&] {
    need(session, "session");
    if (!step_ns) need(total_ns, "step_ns, or else total_ns,");
    const std::size_t have = session->session->steps();
    if (step_ns && steps != have)
      fail(BURNISH_ERROR_USER, "step_ns has %u elements, the model %zu steps", steps, have);
    session->session->run(step_ns, total_ns);
  });
}

}  // extern "C"
