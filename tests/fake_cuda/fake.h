// Test models for the fake driver.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace burnish::test {

// Makes the runtime use the fake driver; before anything asks for the driver.
void use_fake_driver();
// Functions of control.h, and of the driver.
void* fake_symbol(const char* name);
template <class F> F* fake_function(const char* name) {
  return reinterpret_cast<F*>(fake_symbol(name));
}

// Source of kernels, each followed by FAKE_KERNEL(name), as an image.
std::vector<std::byte> fake_image(const std::string& source);

}  // namespace burnish::test
