// What tests may ask of the fake driver (dlsym), besides what it does for the runtime.
#pragma once

#include <cstddef>

extern "C" {
// From the call after `after` successful ones on, that function ("cuMemAlloc_v2", or "kernel" for
// its execution) fails once with the driver's number of an error.
void fake_cuda_fail(const char* function, int after, int result);
int fake_cuda_calls(const char* function);
// Buffers of GPUs and of pinned memory that live.
std::size_t fake_cuda_allocated();
}
