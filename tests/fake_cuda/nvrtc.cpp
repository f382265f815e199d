// A libnvrtc.so for tests (BURNISH_NVRTC names it): kernels become images of the fake driver, by
// the C++ compiler and the emulation. The program's name must be the kernel's, as Burnish names it.
// Its PTX loads nowhere. BURNISH_FAKE_FAULT makes kernels misbehave: "refuse" (they do not compile), "nothing" (they write
// nothing), "hang", or "illegal" (an illegal address).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace {

struct Program {
  std::string source, kernel, log, cubin;
};
constexpr char ptx[] = "// of the fake NVRTC: .entry";

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int give_size(const std::string& text, size_t* size) {
  *size = text.size();
  return 0;
}
int give(const std::string& text, char* out) {
  std::memcpy(out, text.data(), text.size());
  return 0;
}
Program& at(void* program) { return *static_cast<Program*>(program); }

}  // namespace

extern "C" {

#pragma GCC visibility push(default)

int nvrtcVersion(int* major, int* minor) {
  *major = 0;
  *minor = 1;
  return 0;
}
const char* nvrtcGetErrorString(int) { return "an error of the fake NVRTC"; }
int nvrtcCreateProgram(void** program, const char* source, const char* name, int,
                       const char* const*, const char* const*) {
  const std::string kernel = name;
  *program = new Program{source, kernel.substr(0, kernel.rfind(".cu")), "Used 1 registers", ""};
  return 0;
}
int nvrtcDestroyProgram(void** program) {
  delete static_cast<Program*>(*program);
  *program = nullptr;
  return 0;
}
int nvrtcCompileProgram(void* program, int, const char* const*) {
  Program& p = at(program);
  const char* given = std::getenv("BURNISH_FAKE_FAULT");
  const std::string fault = given ? given : "";
  if (fault == "refuse") {
    p.log = "refused as asked";
    return 6;
  }
  std::string known = "FAKE_KERNEL(" + p.kernel + ")\n";
  if (fault == "nothing" || fault == "hang") {
    known = "extern \"C\" int fake_count_" + p.kernel + "() { return fake::count(" + p.kernel +
            "); }\nextern \"C\" void fake_launch_" + p.kernel + "(unsigned, unsigned, void**) { " +
            (fault == "hang" ? "for (volatile int i = 0;; i = i + 1) {}" : "") + " }\n";
  } else if (fault == "illegal") {
    known += "extern \"C\" int fake_result_" + p.kernel + "() { return 700; }\n";
  }
  std::string folder = std::filesystem::temp_directory_path() / "burnish-fake-nvrtc-XXXXXX";
  if (!mkdtemp(folder.data())) return 1;
  std::ofstream(folder + "/kernel.cpp")
      << "#include \"" BURNISH_SOURCE_DIR "/tests/fake_cuda/image.h\"\n"
      << p.source << "\n" << known;
  const std::string command = BURNISH_TEST_CXX
                              " -std=c++17 -O1 -fwrapv -w -fno-gnu-unique -shared -fPIC -s -o " +
                              folder + "/kernel.so " + folder + "/kernel.cpp 2> " + folder + "/log";
  const bool built = std::system(command.c_str()) == 0;
  if (built)
    p.cubin = read(folder + "/kernel.so");
  else
    p.log = read(folder + "/log");
  std::filesystem::remove_all(folder);
  return built ? 0 : 6;
}
int nvrtcGetProgramLogSize(void* program, size_t* size) { return give_size(at(program).log, size); }
int nvrtcGetProgramLog(void* program, char* out) { return give(at(program).log, out); }
int nvrtcGetPTXSize(void*, size_t* size) {
  *size = sizeof ptx;
  return 0;
}
int nvrtcGetPTX(void*, char* out) {
  std::memcpy(out, ptx, sizeof ptx);
  return 0;
}
int nvrtcGetCUBINSize(void* program, size_t* size) { return give_size(at(program).cubin, size); }
int nvrtcGetCUBIN(void* program, char* out) { return give(at(program).cubin, out); }

#pragma GCC visibility pop

}  // extern "C"
