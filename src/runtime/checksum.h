// The checksum of a library that is being loaded, by several threads where it is long. Its weights
// are copied on the way: what is checked is the copy, and the file is read once.
#pragma once

#include "memory.h"

#include <burnish/artifact_format.h>

#include <cstdint>
#include <span>

namespace burnish::runtime {

// The file bytes of one segment, in memory of our own.
struct SegmentCopy {
  Buffer memory;
  std::uint64_t vaddr = 0, size = 0;

  // Where the copy of these addresses of the library is; null where it has no copy of all of them.
  const std::byte* find(std::uint64_t address, std::uint64_t bytes) const;
  std::byte* begin() const;
};

// The segment that holds the weights, if any are worth a copy: the largest that is only read.
const artifact::ProgramHeader* segment_of_weights(const artifact::Layout& layout,
                                                  std::uint64_t at_least);

// `bytes` is the whole file, `fd` too. Throws Failure where memory is short or the file cannot be
// read; `copied` null: nothing is copied.
std::uint64_t checksum_and_copy(int fd, std::span<const std::byte> bytes,
                                const artifact::Layout& layout,
                                const artifact::ProgramHeader* copied, SegmentCopy& copy);

}  // namespace burnish::runtime
