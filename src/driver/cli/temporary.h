// A folder that goes with its scope.
#pragma once

#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace burnish::cli {

struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "burnish-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr, "cannot make a temporary folder in {}",
            std::filesystem::temp_directory_path().string());
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace burnish::cli
