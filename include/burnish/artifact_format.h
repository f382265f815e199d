// How the checks of a compiled library (model.so) are laid out in its file: finding the Burnish
// notes, and the checksum. Shared by the runtime, which verifies, and by the compiler, which
// stamps. Header-only; needs nothing but std. The prose is in docs/artifact.md.
#ifndef BURNISH_ARTIFACT_FORMAT_H
#define BURNISH_ARTIFACT_FORMAT_H

#include <burnish/abi.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

namespace burnish::artifact {

static_assert(std::endian::native == std::endian::little, "the format is read in place");

struct ElfHeader {
  std::uint8_t ident[16];
  std::uint16_t type, machine;
  std::uint32_t version;
  std::uint64_t entry, phoff, shoff;
  std::uint32_t flags;
  std::uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
static_assert(sizeof(ElfHeader) == 64);

struct ProgramHeader {
  std::uint32_t type, flags;
  std::uint64_t offset, vaddr, paddr, filesz, memsz, align;
};
static_assert(sizeof(ProgramHeader) == 56);

inline constexpr std::uint32_t kLoad = 1, kDynamic = 2, kNote = 4, kPhdr = 6;
inline constexpr std::size_t kMaxProgramHeaders = 64;

// A piece of the file.
struct Extent {
  std::uint64_t offset = 0, size = 0;
};

// What the file says about itself. `error` is null when the file is a whole 64-bit ELF shared
// object with both notes; otherwise it ends the sentence "PATH ...", and nothing else here may be
// used.
struct Layout {
  const char* error = nullptr;
  ElfHeader header{};
  std::array<ProgramHeader, kMaxProgramHeaders> segments{};
  Extent metadata, checksum;  // contents of the two notes

  std::span<const ProgramHeader> program() const { return {segments.data(), header.phnum}; }
};

namespace detail {

template <class T> T read_at(std::span<const std::byte> file, std::uint64_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

inline bool inside(std::uint64_t offset, std::uint64_t size, std::uint64_t whole) {
  return offset <= whole && size <= whole - offset;
}

// Looks through one PT_NOTE segment; false when a note leaves it or a Burnish note comes twice.
inline bool read_notes(std::span<const std::byte> file, const ProgramHeader& segment, Layout& out) {
  const std::uint64_t align = segment.align == 8 ? 8 : 4;
  const auto padded = [align](std::uint64_t n) { return (n + align - 1) & ~(align - 1); };
  std::uint64_t at = 0;
  while (segment.filesz - at >= 12) {
    const auto head = read_at<std::array<std::uint32_t, 3>>(file, segment.offset + at);
    const std::uint64_t name = at + 12, desc = padded(name + head[0]);
    if (!inside(desc, head[1], segment.filesz)) return false;
    constexpr std::size_t owner = sizeof(BURNISH_NOTE_OWNER);
    if (head[0] == owner &&
        std::memcmp(file.data() + segment.offset + name, BURNISH_NOTE_OWNER, owner) == 0) {
      Extent* slot = head[2] == BURNISH_NOTE_METADATA   ? &out.metadata
                     : head[2] == BURNISH_NOTE_CHECKSUM ? &out.checksum
                                                        : nullptr;
      if (slot && slot->offset != 0) return false;
      if (slot) *slot = {segment.offset + desc, head[1]};
    }
    at = padded(desc + head[1]);
    if (at > segment.filesz) break;
  }
  return true;
}

}  // namespace detail

inline Layout read_layout(std::span<const std::byte> file) {
  Layout out;
  const auto fail = [&out](const char* why) {
    out.error = why;
    return out;
  };
  const std::uint64_t size = file.size();
  if (size < sizeof(ElfHeader)) return fail("is too short to be a shared library");
  out.header = detail::read_at<ElfHeader>(file, 0);
  const ElfHeader& h = out.header;
  if (std::memcmp(h.ident,
                  "\x7f"
                  "ELF",
                  4) != 0)
    return fail("is not an ELF shared library");
  if (h.ident[4] != 2 || h.ident[5] != 1) return fail("is not a 64-bit little-endian library");
  if (h.type != 3) return fail("is an ELF file, but not a shared library");
  if (h.phentsize != sizeof(ProgramHeader) || h.phnum == 0 || h.phnum > kMaxProgramHeaders) {
    return fail("is damaged: its program header table has an impossible size");
  }
  if (!detail::inside(h.phoff, h.phnum * sizeof(ProgramHeader), size) ||
      (h.shoff != 0 && !detail::inside(h.shoff, std::uint64_t{h.shnum} * h.shentsize, size))) {
    return fail("is truncated or damaged: its header tables end after the end of the file");
  }
  std::uint64_t loaded = 0, next_vaddr = 0;
  for (std::size_t i = 0; i < h.phnum; ++i) {
    const auto p = detail::read_at<ProgramHeader>(file, h.phoff + i * sizeof(ProgramHeader));
    out.segments[i] = p;
    if (!detail::inside(p.offset, p.filesz, size)) {
      return fail("is truncated or damaged: a segment ends after the end of the file");
    }
    if (p.type != kLoad) continue;
    loaded += p.filesz;
    constexpr std::uint64_t address_space = std::uint64_t{1} << 47;
    if (p.filesz > p.memsz || p.vaddr < next_vaddr || loaded > size ||
        !detail::inside(p.vaddr, p.memsz, address_space)) {
      return fail("is damaged: its segments overlap or have impossible sizes");
    }
    next_vaddr = p.vaddr + p.memsz;
  }
  for (const ProgramHeader& p : out.program()) {
    if (p.type != kNote) continue;
    bool covered = false;
    for (const ProgramHeader& l : out.program()) {
      covered |= l.type == kLoad && p.offset >= l.offset &&
                 detail::inside(p.offset - l.offset, p.filesz, l.filesz);
    }
    if (covered && !detail::read_notes(file, p, out))
      return fail("is damaged: its notes are malformed");
  }
  if (out.metadata.offset == 0 || out.checksum.offset == 0) {
    return fail("is a shared library, but not one that Burnish compiled (it has no Burnish notes)");
  }
  if (out.checksum.size != 8) return fail("is damaged: its checksum note does not have 8 bytes");
  return out;
}

// XXH64 with seed 0, fed in pieces (xxHash specification,
// https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md).
class Xxh64 {
 public:
  void update(const std::byte* data, std::size_t size) {
    total_ += size;
    if (fill_ != 0) {
      const std::size_t take = size < 32 - fill_ ? size : 32 - fill_;
      std::memcpy(buffer_ + fill_, data, take);
      fill_ += take, data += take, size -= take;
      if (fill_ < 32) return;
      block(buffer_);
      fill_ = 0;
    }
    for (; size >= 32; data += 32, size -= 32) block(data);
    if (size != 0) std::memcpy(buffer_, data, size);
    fill_ = size;
  }

  std::uint64_t digest() const {
    std::uint64_t h = p5;
    if (total_ >= 32) {
      h = std::rotl(a_, 1) + std::rotl(b_, 7) + std::rotl(c_, 12) + std::rotl(d_, 18);
      for (const std::uint64_t lane : {a_, b_, c_, d_}) h = (h ^ round(0, lane)) * p1 + p4;
    }
    h += total_;
    std::size_t i = 0;
    for (; i + 8 <= fill_; i += 8)
      h = std::rotl(h ^ round(0, load<std::uint64_t>(buffer_ + i)), 27) * p1 + p4;
    for (; i + 4 <= fill_; i += 4)
      h = std::rotl(h ^ (load<std::uint32_t>(buffer_ + i) * p1), 23) * p2 + p3;
    for (; i < fill_; ++i)
      h = std::rotl(h ^ (static_cast<std::uint64_t>(buffer_[i]) * p5), 11) * p1;
    h = (h ^ (h >> 33)) * p2;
    h = (h ^ (h >> 29)) * p3;
    return h ^ (h >> 32);
  }

 private:
  static constexpr std::uint64_t p1 = 0x9E3779B185EBCA87, p2 = 0xC2B2AE3D27D4EB4F,
                                 p3 = 0x165667B19E3779F9, p4 = 0x85EBCA77C2B2AE63,
                                 p5 = 0x27D4EB2F165667C5;
  template <class T> static T load(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  static std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
    return std::rotl(lane + input * p2, 31) * p1;
  }
  void block(const std::byte* at) {
    a_ = round(a_, load<std::uint64_t>(at));
    b_ = round(b_, load<std::uint64_t>(at + 8));
    c_ = round(c_, load<std::uint64_t>(at + 16));
    d_ = round(d_, load<std::uint64_t>(at + 24));
  }

  std::uint64_t a_ = p1 + p2, b_ = p2, c_ = 0, d_ = 0 - p1;
  std::uint64_t total_ = 0;
  std::byte buffer_[32];
  std::size_t fill_ = 0;
};

// Feeds stretches of the file to a hash. Taken as zero wherever they appear: what `strip` rewrites
// (e_shoff, e_shnum, e_shstrndx, and the sizes of PT_PHDR) and the checksum itself.
class Cover {
 public:
  explicit Cover(const Layout& layout) {
    take_as_zero({offsetof(ElfHeader, shoff), 8});
    take_as_zero({offsetof(ElfHeader, shnum), 4});
    take_as_zero({layout.checksum.offset, 8});
    for (std::size_t i = 0; i < layout.header.phnum; ++i) {
      if (layout.segments[i].type != kPhdr) continue;
      take_as_zero(
          {layout.header.phoff + i * sizeof(ProgramHeader) + offsetof(ProgramHeader, filesz), 16});
    }
  }

  // `bytes`: those of the file from `begin` on, in the file or in a copy.
  void feed(Xxh64& hash, std::uint64_t begin, const std::byte* bytes, std::uint64_t size) const {
    constexpr std::byte nothing[16]{};
    const std::uint64_t end = begin + size;
    const auto skip_to = [&](std::uint64_t at) { bytes += at - begin, begin = at; };
    for (std::size_t i = 0; i < zeros_ && begin < end; ++i) {
      const std::uint64_t from = zero_[i].offset, to = from + zero_[i].size;
      if (to <= begin || from >= end) continue;
      if (from > begin) hash.update(bytes, from - begin), skip_to(from);
      const std::uint64_t stop = to < end ? to : end;
      hash.update(nothing, stop - begin);
      skip_to(stop);
    }
    if (begin < end) hash.update(bytes, end - begin);
  }

 private:
  void take_as_zero(Extent e) {  // kept sorted by offset
    std::size_t at = zeros_++;
    for (; at > 0 && zero_[at - 1].offset > e.offset; --at) zero_[at] = zero_[at - 1];
    zero_[at] = e;
  }
  std::array<Extent, 3 + kMaxProgramHeaders> zero_;
  std::size_t zeros_ = 0;
};

// The checksum is made of digests of pieces, so that several threads can calculate it: the file
// bytes of every PT_LOAD segment, in the order of the table, each cut from its beginning.
inline constexpr std::uint64_t kPiece = std::uint64_t{2} << 20;

inline std::vector<Extent> pieces_of(const Layout& layout) {
  std::vector<Extent> pieces;
  for (const ProgramHeader& p : layout.program()) {
    if (p.type != kLoad) continue;
    for (std::uint64_t at = 0; at < p.filesz; at += kPiece) {
      pieces.push_back({p.offset + at, p.filesz - at < kPiece ? p.filesz - at : kPiece});
    }
  }
  return pieces;
}

// The checksum of docs/artifact.md: XXH64 over the ELF header, the program headers, and the digests
// of the pieces.
inline std::uint64_t checksum_of(std::span<const std::byte> file, const Layout& layout,
                                 std::span<const std::uint64_t> digests) {
  const Cover cover(layout);
  Xxh64 hash;
  cover.feed(hash, 0, file.data(), sizeof(ElfHeader));
  const std::uint64_t table = layout.header.phoff;
  cover.feed(hash, table, file.data() + table, layout.header.phnum * sizeof(ProgramHeader));
  hash.update(reinterpret_cast<const std::byte*>(digests.data()), digests.size_bytes());
  return hash.digest();
}

inline std::uint64_t checksum_of(std::span<const std::byte> file, const Layout& layout) {
  const Cover cover(layout);
  std::vector<std::uint64_t> digests;
  for (const Extent& piece : pieces_of(layout)) {
    Xxh64 hash;
    cover.feed(hash, piece.offset, file.data() + piece.offset, piece.size);
    digests.push_back(hash.digest());
  }
  return checksum_of(file, layout, digests);
}

// Where the 8 bytes of the checksum lie in a linked library; nothing when it is not a whole library
// with both notes.
inline std::optional<std::size_t> find_checksum_offset(std::span<const std::byte> file) {
  const Layout layout = read_layout(file);
  if (layout.error) return std::nullopt;
  return layout.checksum.offset;
}

// For the compiler, after linking: writes the checksum into its note. Returns null, or what is
// wrong with the file (the end of the sentence "PATH ...").
inline const char* stamp_checksum(std::span<std::byte> file) {
  const Layout layout = read_layout(file);
  if (layout.error) return layout.error;
  const std::uint64_t sum = checksum_of(file, layout);
  std::memcpy(file.data() + layout.checksum.offset, &sum, sizeof sum);
  return nullptr;
}

}  // namespace burnish::artifact
#endif
