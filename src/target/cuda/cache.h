// Compiled kernels on disk, by the content of what they were compiled from.
#pragma once

#include <optional>
#include <string>

#include "target/cuda/nvrtc.h"

namespace burnish::cuda_target {

// In $BURNISH_CACHE, else $XDG_CACHE_HOME/burnish, else ~/.cache/burnish; BURNISH_CACHE=off:
// nowhere. A folder that cannot be read or written and an entry that is damaged are as if they were
// not there.
class Cache {
 public:
  Cache();
  // `key`: all that the result depends on.
  std::optional<Compiled> find(const std::string& key) const;
  void put(const std::string& key, const Compiled& c) const;

 private:
  std::string file_of(const std::string& key) const;
  std::string folder_;  // empty: off
};

}  // namespace burnish::cuda_target
