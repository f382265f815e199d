#include "search/worker/kernel_library.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace burnish::search {

namespace {

burnish_dtype dtype_of(DType t) {
  switch (t) {
    case DType::Bool: return BURNISH_BOOL;
    case DType::I8: return BURNISH_I8;
    case DType::U8: return BURNISH_U8;
    case DType::I16: return BURNISH_I16;
    case DType::U16: return BURNISH_U16;
    case DType::I32: return BURNISH_I32;
    case DType::U32: return BURNISH_U32;
    case DType::I64: return BURNISH_I64;
    case DType::U64: return BURNISH_U64;
    case DType::F16: return BURNISH_F16;
    case DType::BF16: return BURNISH_BF16;
    case DType::TF32:
    case DType::F32: return BURNISH_F32;
    case DType::F64: return BURNISH_F64;
  }
  return BURNISH_F32;
}

Status status_of(burnish_status s) {
  switch (s) {
    case BURNISH_ERROR_MEMORY: return Status::OutOfMemory;
    case BURNISH_ERROR_FAULT: return Status::Wrong;  // valid inputs, and it says that they are not
    case BURNISH_OK: case BURNISH_ERROR_USER: case BURNISH_ERROR_UNSUPPORTED: case BURNISH_ERROR_INTERNAL: break;
  }
  return Status::BuildFailed;
}

}  // namespace

namespace {

// A device that has met an error serves this process no more: another one goes on, and the candidate gets the blame.
[[noreturn]] void leave_device() {
  std::fprintf(stderr, "%s\n", burnish_last_error());
  std::fflush(stderr);
  _exit(1);
}

burnish_tensor tensor_of(const Parameter& p, void* data, int64_t bytes) {
  return {.data = data, .bytes = static_cast<uint64_t>(bytes), .dtype = dtype_of(p.dtype), .rank = 0, .shape = nullptr};
}
int64_t own_bytes(const Parameter& p) { return physical_size(p.layout, p.shape) * size_of(p.dtype); }

}  // namespace

void succeed(burnish_status s) {
  if (s != BURNISH_OK) throw RunFailure{status_of(s), burnish_last_error()};
}

Handle<burnish_pool> new_pool(int threads) {
  burnish_pool_options o{.struct_size = sizeof o, .threads = static_cast<uint32_t>(threads), .spin_us = 0, .pin = 0};
  burnish_pool* pool = nullptr;
  succeed(burnish_pool_create(&o, &pool));
  return Handle<burnish_pool>(pool);
}

KernelLibrary::KernelLibrary(const Built& built, burnish_pool* pool) : built_(built) {
  const std::string& bytes = built.library;
  burnish_load_options o{.struct_size = sizeof o, .weights = BURNISH_WEIGHTS_DIRECT, .private_copy = 0};
  burnish_model* model = nullptr;
  succeed(burnish_model_load_memory(bytes.data(), bytes.size(), &o, &model));
  model_.reset(model);
  burnish_session_options so{.struct_size = sizeof so, .threads = 0, .spin_us = 0, .pin = 0, .pool = pool};
  burnish_session* session = nullptr;
  succeed(burnish_session_create(model, &so, &session));
  session_.reset(session);
  burnish_model_info info{};
  info.struct_size = sizeof info;
  succeed(burnish_model_get_info(model, &info));
  if (info.steps == 0) throw RunFailure{Status::BuildFailed, "the library has no steps"};
  steps_.resize(info.steps);
  burnish_device_info gpu{};
  gpu.struct_size = sizeof gpu;
  device_ = burnish_session_get_device(session, &gpu) == BURNISH_OK;
}

void KernelLibrary::bind(const Parameter& p, void* data) {
  if (p.constant && built_.copies > 1) {
    const auto stride = static_cast<size_t>(stride_of(p));
    std::vector<std::byte> all(stride * static_cast<size_t>(built_.copies));
    for (size_t i = 0; i < all.size(); i += stride) std::memcpy(all.data() + i, data, static_cast<size_t>(own_bytes(p)));
    const burnish_tensor t = tensor_of(p, all.data(), std::ssize(all));
    succeed(burnish_session_set_input(session_.get(), p.name.c_str(), &t));
    return;
  }
  const burnish_tensor t = tensor_of(p, data, own_bytes(p));
  succeed(p.output ? burnish_session_bind_output(session_.get(), p.name.c_str(), &t)
                   : burnish_session_bind_input(session_.get(), p.name.c_str(), &t));
}

KernelLibrary::Times KernelLibrary::run() {
  if (device_) {
    const burnish_status s = burnish_session_run(session_.get());
    if (s == BURNISH_ERROR_FAULT) leave_device();
    succeed(s);
    return {0, 0};
  }
  uint64_t total = 0;
  succeed(burnish_session_profile(session_.get(), steps_.data(), static_cast<uint32_t>(steps_.size()), &total));
  return {static_cast<double>(steps_.back()) * 1e-9, static_cast<double>(total) * 1e-9};
}

std::vector<void*> KernelLibrary::on_device() {
  std::vector<void*> at;
  for (const Parameter& p : built_.parameters) {
    burnish_tensor t{};
    succeed(p.output ? burnish_session_get_device_output(session_.get(), p.name.c_str(), &t)
                     : burnish_session_get_device_input(session_.get(), p.name.c_str(), &t));
    at.push_back(t.data);
  }
  return at;
}

DeviceTensors KernelLibrary::keep_tensors() && {
  std::vector<void*> at = on_device();
  return {built_.parameters, std::move(at), std::move(model_), std::move(session_)};
}

double KernelLibrary::launch_seconds() {
  uint64_t total = 0;
  const burnish_status s = burnish_session_profile(session_.get(), nullptr, 0, &total);
  if (s == BURNISH_ERROR_FAULT) leave_device();
  succeed(s);
  return static_cast<double>(total) * 1e-9 / built_.launches;
}

}  // namespace burnish::search
