// A folder that goes with its scope. Hold signals (hold_signals.h) where Ctrl-C must not leave it behind.
#pragma once

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/error.h"

namespace burnish {

struct TemporaryFolder {
  // UserError when there is no place for it.
  TemporaryFolder() {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "burnish-XXXXXX").string();
    require(!error, "there is no folder for temporary files: set TMPDIR to one that exists");
    require(::mkdtemp(name.data()) != nullptr, "cannot make the temporary folder {}: {}", name, std::strerror(errno));
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path path;
};

}  // namespace burnish
