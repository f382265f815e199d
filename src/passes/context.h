// What passes may ask while they run, and what the runner is told to do around them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "target/target.h"

namespace burnish {

// Names are those of the passes in pipeline.cpp; the runner refuses unknown ones.
struct PassOptions {
  std::vector<std::string> dump;     // passes whose input and output are written to dump_dir; "all": every pass
  std::filesystem::path dump_dir = "dump";
  std::string stop_after;            // the last pass that runs; empty: all
  std::vector<std::string> disable;  // passes left out
#ifdef NDEBUG
  bool verify = false;               // check the IR after every pass
#else
  bool verify = true;
#endif
};

struct PassTime {
  std::string pass;
  double seconds;
};

// Shared by the passes of one compilation. The target may be absent for pipelines that never ask it.
struct Context {
  const Target* target = nullptr;
  PassOptions options;
  std::vector<PassTime>* times = nullptr;  // filled when not null, in the order of execution
};

}  // namespace burnish
