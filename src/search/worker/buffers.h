// Memory for a kernel's tensors in which damage around them shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace burnish::search {

// A page that cannot be touched on both sides, bytes of a known value between these and the data.
class GuardedBuffer {
 public:
  enum class Place {
    Start,  // begins `stagger` cache lines behind the guard, at least one page of known bytes after it
    End,    // ends as near to the guard as its alignment (64) lets it: reading past it is a fault, too
  };
  // std::bad_alloc when there is no memory.
  GuardedBuffer(size_t bytes, Place place, unsigned stagger = 0);
  ~GuardedBuffer();
  GuardedBuffer(GuardedBuffer&& o) noexcept;
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  void fill(std::byte value);  // of the data
  // Where bytes around the data were written to: their distance from its first byte. Nothing: nowhere.
  std::optional<int64_t> damage() const;
  void repair();
  void read_only();  // from now on writing is a fault

 private:
  std::byte *map_ = nullptr, *data_ = nullptr;
  size_t mapped_ = 0, size_ = 0;
};

}  // namespace burnish::search
