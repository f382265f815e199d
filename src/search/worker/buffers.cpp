#include "search/worker/buffers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace burnish::search {

namespace {

constexpr std::byte known{0xa5};
constexpr size_t huge = size_t{2} << 20;

size_t page() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
size_t rounded(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

GuardedBuffer::GuardedBuffer(size_t bytes, Place place, unsigned stagger) : size_(bytes) {
  const size_t p = page();
  const bool large = bytes >= huge && place == Place::Start;  // as the runtime does: 2 MB pages
  const size_t lead = place == Place::Start ? p : 0;
  const size_t inner = lead + rounded(bytes + size_t{stagger} * 64 + (place == Place::Start ? p : 0), p);
  mapped_ = inner + 2 * p + (large ? huge : 0);
  void* at = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  map_ = static_cast<std::byte*>(at);
  if (large) {
    madvise(map_, mapped_, MADV_HUGEPAGE);
    const auto address = reinterpret_cast<uintptr_t>(map_) + p + lead;
    data_ = map_ + p + lead + (rounded(address, huge) - address) + size_t{stagger} * 64;
  } else if (place == Place::Start) {
    data_ = map_ + p + lead + size_t{stagger} * 64;
  } else {
    data_ = map_ + p + (inner - rounded(bytes, 64));
  }
  mprotect(map_, p, PROT_NONE);
  mprotect(map_ + mapped_ - p, p, PROT_NONE);
  repair();
}

GuardedBuffer::GuardedBuffer(GuardedBuffer&& o) noexcept
    : map_(std::exchange(o.map_, nullptr)), data_(o.data_), mapped_(o.mapped_), size_(o.size_) {}

GuardedBuffer::~GuardedBuffer() {
  if (map_) munmap(map_, mapped_);
}

void GuardedBuffer::fill(std::byte value) { std::memset(data_, static_cast<int>(value), size_); }

namespace {

// What of the surroundings is looked at: up to a page on each side.
struct Zones {
  size_t before, after;
};
Zones zones(const std::byte* map, const std::byte* data, size_t mapped, size_t size) {
  const size_t p = page();
  return {std::min<size_t>(static_cast<size_t>(data - map) - p, p),
          std::min<size_t>(mapped - p - static_cast<size_t>(data - map) - size, p)};
}

}  // namespace

void GuardedBuffer::repair() {
  const Zones z = zones(map_, data_, mapped_, size_);
  std::memset(data_ - z.before, static_cast<int>(known), z.before);
  std::memset(data_ + size_, static_cast<int>(known), z.after);
}

std::optional<int64_t> GuardedBuffer::damage() const {
  const Zones z = zones(map_, data_, mapped_, size_);
  for (size_t i = 0; i < z.after; ++i) {
    if (data_[size_ + i] != known) return static_cast<int64_t>(size_ + i);
  }
  for (size_t i = 1; i <= z.before; ++i) {
    if (*(data_ - i) != known) return -static_cast<int64_t>(i);
  }
  return {};
}

void GuardedBuffer::read_only() { mprotect(map_ + page(), mapped_ - 2 * page(), PROT_READ); }

}  // namespace burnish::search
