// A folder that goes with its scope.
#pragma once

#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace burnish::search {

struct TemporaryFolder {
  std::filesystem::path path;
  TemporaryFolder() {
    const auto parent = std::filesystem::temp_directory_path();
    std::string name = (parent / "burnish-records-XXXXXX").string();
    require(::mkdtemp(name.data()) != nullptr, "cannot make a temporary folder in {}",
            parent.string());
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
};

}  // namespace burnish::search
