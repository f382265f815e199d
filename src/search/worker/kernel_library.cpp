#include "search/worker/kernel_library.h"

#include <fmt/format.h>

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

void succeed(burnish_status s) {
  if (s != BURNISH_OK) throw RunFailure{status_of(s), burnish_last_error()};
}

Handle<burnish_pool> new_pool(int threads) {
  burnish_pool_options o{.struct_size = sizeof o, .threads = static_cast<uint32_t>(threads), .spin_us = 0, .pin = 0};
  burnish_pool* pool = nullptr;
  succeed(burnish_pool_create(&o, &pool));
  return Handle<burnish_pool>(pool);
}

KernelLibrary::KernelLibrary(const std::string& bytes, burnish_pool* pool) {
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
}

void KernelLibrary::bind(const Parameter& p, void* data) {
  const auto bytes = static_cast<uint64_t>(physical_size(p.layout, p.shape)) * static_cast<uint64_t>(size_of(p.dtype));
  const burnish_tensor t{.data = data, .bytes = bytes, .dtype = dtype_of(p.dtype), .rank = 0, .shape = nullptr};
  succeed(p.output ? burnish_session_bind_output(session_.get(), p.name.c_str(), &t)
                   : burnish_session_bind_input(session_.get(), p.name.c_str(), &t));
}

KernelLibrary::Times KernelLibrary::run() {
  uint64_t total = 0;
  succeed(burnish_session_profile(session_.get(), steps_.data(), static_cast<uint32_t>(steps_.size()), &total));
  return {static_cast<double>(steps_.back()) * 1e-9, static_cast<double>(total) * 1e-9};
}

}  // namespace burnish::search
