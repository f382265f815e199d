#include "checksum.h"

#include "cpu.h"
#include "failure.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <thread>
#include <vector>

namespace burnish::runtime {

namespace {

constexpr std::uint64_t page = 4096;
// What stays in the caches between being copied and being hashed.
constexpr std::uint64_t block = std::uint64_t{256} << 10;

bool read_all(int fd, std::uint64_t offset, std::byte* to, std::uint64_t size) {
  while (size != 0) {
    const ssize_t n = pread(fd, to, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to += n, offset += static_cast<std::uint64_t>(n), size -= static_cast<std::uint64_t>(n);
  }
  return true;
}

// Asks for the pages at once instead of a fault for every few. A wish: Linux before 5.14 ignores it.
void prepare(const std::byte* data, std::uint64_t size) {
  constexpr int populate_read = 22;
  const auto begin = reinterpret_cast<std::uintptr_t>(data) / page * page;
  madvise(reinterpret_cast<void*>(begin), reinterpret_cast<std::uintptr_t>(data) + size - begin,
          populate_read);
}

}  // namespace

std::byte* SegmentCopy::begin() const { return memory.data() + vaddr % page; }

const std::byte* SegmentCopy::find(std::uint64_t address, std::uint64_t bytes) const {
  if (!memory || address < vaddr || !artifact::detail::inside(address - vaddr, bytes, size)) {
    return nullptr;
  }
  return begin() + (address - vaddr);
}

const artifact::ProgramHeader* segment_of_weights(const artifact::Layout& layout,
                                                  std::uint64_t at_least) {
  constexpr std::uint32_t executable = 1, writable = 2;
  const artifact::ProgramHeader* largest = nullptr;
  for (const artifact::ProgramHeader& p : layout.program()) {
    if (p.type != artifact::kLoad || (p.flags & (executable | writable)) != 0) continue;
    if (p.filesz >= at_least && (!largest || p.filesz > largest->filesz)) largest = &p;
  }
  return largest;
}

std::uint64_t checksum_and_copy(int fd, std::span<const std::byte> bytes,
                                const artifact::Layout& layout,
                                const artifact::ProgramHeader* copied, SegmentCopy& copy) {
  if (copied) {
    copy.vaddr = copied->vaddr;
    copy.size = copied->filesz;
    copy.memory = Buffer(copied->filesz + copied->vaddr % page, "the weights");
  }
  const std::vector<artifact::Extent> pieces = artifact::pieces_of(layout);
  const artifact::Cover cover(layout);
  std::vector<std::uint64_t> digests(pieces.size());
  std::atomic<std::size_t> next{0};
  std::atomic<bool> unreadable{false};
  const auto work = [&] {
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces.size();) {
      const artifact::Extent piece = pieces[i];
      const std::byte* from = bytes.data() + piece.offset;
      std::byte* to = nullptr;
      if (copied && piece.offset >= copied->offset &&
          piece.offset - copied->offset < copied->filesz) {
        to = copy.begin() + (piece.offset - copied->offset);
      } else {
        prepare(from, piece.size);
      }
      artifact::Xxh64 hash;
      for (std::uint64_t at = 0; at < piece.size; at += block) {
        const std::uint64_t n = std::min(block, piece.size - at);
        if (to && !read_all(fd, piece.offset + at, to + at, n)) {
          unreadable = true;
          return;
        }
        cover.feed(hash, piece.offset + at, (to ? to : from) + at, n);
      }
      digests[i] = hash.digest();
    }
  };
  // A thread is worth starting for some pieces; memory is busy with a few.
  constexpr std::size_t worth_a_thread = 3, most_threads = 8;
  const std::size_t threads =
      std::min({affinity_cpus().size(), pieces.size() / worth_a_thread, most_threads});
  {
    std::vector<std::jthread> others;
    try {
      for (std::size_t t = 1; t < threads; ++t) others.emplace_back(work);
    } catch (const std::system_error&) {
      // With those that there are.
    }
    work();
  }
  if (unreadable) {
    fail(BURNISH_ERROR_USER, "cannot be read to its end; it became shorter, or its disk fails");
  }
  return artifact::checksum_of(bytes, layout, digests);
}

}  // namespace burnish::runtime
