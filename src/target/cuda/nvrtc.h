// NVIDIA's run-time compiler, found where it is installed; nothing of it is needed to build Burnish
// or to load it.
#pragma once

#include <string>
#include <vector>

namespace burnish::cuda_target {

// What a compilation leaves.
struct Compiled {
  std::string cubin, ptx;   // PTX ends with a zero byte
  int registers = 0;        // of a thread
  int64_t spill_bytes = 0;  // stored to memory for want of registers
};

class Nvrtc {
 public:
  // UserError says how to get it. Safe from any thread.
  static const Nvrtc& instance();
  static bool available();

  std::string version() const;  // "13.0"
  // One kernel; for a virtual architecture ("compute_90") PTX alone. InternalError with the compiler's log where the source is refused.
  Compiled compile(const std::string& name, const std::string& source,
                   const std::vector<std::string>& options) const;

 private:
  Nvrtc() = default;
  static const Nvrtc* loaded(std::string& why);
  struct Functions;
  const Functions* f_ = nullptr;
};

// A graphics processor of this machine: its compute capability, 90 for 9.0; 0 where there is none,
// or no driver.
int capability_of_machine();

}  // namespace burnish::cuda_target
