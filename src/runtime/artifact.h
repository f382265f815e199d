// A compiled library on its way into the process: opened, checked, and only then mapped.
#pragma once

#include "checksum.h"
#include "metadata.h"

#include <burnish/abi.h>

#include <string>
#include <utility>

namespace burnish::runtime {

// An open file descriptor.
class File {
 public:
  File() = default;
  explicit File(int fd) : fd_(fd) {}
  ~File();
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

// Texts of Failures from here begin with the path.
File open_artifact(const std::string& path);
// A file in memory with these contents, which nothing can change any more.
File sealed_file(const void* data, std::size_t bytes, const std::string& path);
File sealed_copy(const File& file, const std::string& path);

// Reads and checks: whole ELF library of this machine, imports nothing and runs nothing on being
// loaded, checksum, metadata, ABI, CPU features. The segment of the weights is copied while it is
// checked if it has `copy_from` bytes or more.
struct Checked {
  Metadata metadata;
  SegmentCopy copy;
};
Checked check_artifact(const File& file, const std::string& path, std::uint64_t copy_from);

// The library, mapped.
class Library {
 public:
  Library() = default;
  // `file` has been checked. Its own descriptor is what is mapped, so that a file put in its place
  // meanwhile is not.
  Library(const File& file, const Metadata& metadata, const std::string& path);
  ~Library();
  Library(Library&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)),
        entry_(std::exchange(other.entry_, nullptr)) {}
  Library& operator=(Library&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(entry_, other.entry_);
    return *this;
  }
  const burnish_entry& entry() const { return *entry_; }
  // What the file calls this address: less what the library was moved by.
  std::uint64_t address_in_file(const void* at) const;

 private:
  void* handle_ = nullptr;
  const burnish_entry* entry_ = nullptr;
};

}  // namespace burnish::runtime
