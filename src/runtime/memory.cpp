#include "memory.h"

#include "failure.h"

#include <sys/mman.h>
#include <unistd.h>

namespace burnish::runtime {

Buffer::Buffer(std::uint64_t bytes, const char* what) {
  constexpr std::uint64_t huge = std::uint64_t{2} << 20;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::uint64_t unit = bytes >= huge ? huge : page;
  const std::uint64_t slack = unit > page ? unit : 0;
  constexpr std::uint64_t limit = std::uint64_t{1} << 46;
  const std::uint64_t size = bytes == 0 ? unit : (bytes + unit - 1) / unit * unit;
  void* mapped = bytes > limit ? MAP_FAILED
                               : mmap(nullptr, size + slack, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    fail(BURNISH_ERROR_MEMORY, "the system does not give %.1f MB of memory for %s",
         static_cast<double>(bytes) / 1e6, what);
  }
  auto* begin = static_cast<std::byte*>(mapped);
  if (slack != 0) {  // cut to an aligned piece
    const std::uint64_t head = (unit - reinterpret_cast<std::uintptr_t>(begin) % unit) % unit;
    if (head != 0) munmap(begin, head);
    begin += head;
    if (slack != head) munmap(begin + size, slack - head);
    madvise(begin, size, MADV_HUGEPAGE);  // a wish: it may be switched off
  }
  data_ = begin;
  size_ = size;
}

Buffer::~Buffer() {
  if (data_) munmap(data_, size_);
}

void Buffer::make_read_only() {
  if (data_) mprotect(data_, size_, PROT_READ);
}

}  // namespace burnish::runtime
