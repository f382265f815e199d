// Kernels of the CUDA dialect as an image for the fake driver: a shared library in which
//   FAKE_KERNEL(name)
// behind a kernel makes it known. Compile with -fno-gnu-unique, so that images share nothing.
#pragma once

#include "../cuda/emulation.h"

#include <utility>

namespace fake {

template <class... P> constexpr int count(void (*)(P*...)) { return sizeof...(P); }

template <class... P, size_t... I>
void launch(void (*kernel)(P*...), unsigned blocks, unsigned threads, void** parameters,
            std::index_sequence<I...>) {
  emulation::launch(blocks, threads, false, [&] { kernel(*static_cast<P**>(parameters[I])...); });
}

}  // namespace fake

#define FAKE_KERNEL(name)                                                                          \
  extern "C" int fake_count_##name() { return fake::count(name); }                                 \
  extern "C" void fake_launch_##name(unsigned blocks, unsigned threads, void** parameters) {       \
    fake::launch(name, blocks, threads, parameters,                                                \
                 std::make_index_sequence<fake::count(name)>());                                   \
  }
