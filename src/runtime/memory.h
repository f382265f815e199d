// Memory for tensors, arenas and weights: whole pages, zero at first, on 2 MB pages where they fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace burnish::runtime {

class Buffer {
 public:
  Buffer() = default;
  // At least one page, aligned to it; from 2 MB on aligned to 2 MB and backed by huge pages where
  // the system gives them. Throws Failure with BURNISH_ERROR_MEMORY; `what` names the purpose in
  // its text.
  Buffer(std::uint64_t bytes, const char* what);
  ~Buffer();
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  std::byte* data() const { return data_; }
  explicit operator bool() const { return data_ != nullptr; }
  void make_read_only();

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;  // of the mapping
};

}  // namespace burnish::runtime
