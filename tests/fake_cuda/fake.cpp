#include "fake_cuda/fake.h"

#include "runtime/support.h"

#include <dlfcn.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace burnish::test {

void use_fake_driver() { setenv("BURNISH_CUDA_DRIVER", BURNISH_FAKE_CUDA, 1); }

void* fake_symbol(const char* name) {
  static void* const library = dlopen(BURNISH_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
  void* at = library ? dlsym(library, name) : nullptr;
  if (!at) throw std::runtime_error(std::string("no function ") + name + " in " BURNISH_FAKE_CUDA);
  return at;
}

std::vector<std::byte> fake_image(const std::string& source) {
  const TempDir dir;
  std::ofstream(dir.path("image.cpp"))
      << "#include \"" BURNISH_SOURCE_DIR "/tests/fake_cuda/image.h\"\n"
      << source;
  const std::string command = std::string(BURNISH_TEST_CXX) +
                              " -std=c++17 -O1 -w -fno-gnu-unique -shared -fPIC -s -o " +
                              dir.path("image.so") + " " + dir.path("image.cpp");
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  return read_file(dir.path("image.so"));
}

}  // namespace burnish::test
