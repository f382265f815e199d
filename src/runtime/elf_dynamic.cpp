#include "elf_dynamic.h"

#include <optional>

namespace burnish::runtime {

namespace {

using artifact::Layout;
using artifact::ProgramHeader;
using artifact::detail::inside;
using artifact::detail::read_at;

struct Dynamic {
  std::uint64_t tag, value;
};
struct Relocation {
  std::uint64_t offset, info, addend;
};
struct Symbol {
  std::uint32_t name;
  std::uint8_t info, other;
  std::uint16_t section;
  std::uint64_t value, size;
};

constexpr std::uint64_t tag_needed = 1, tag_pltrelsz = 2, tag_strtab = 5, tag_symtab = 6,
                        tag_rela = 7, tag_relasz = 8, tag_init = 12, tag_fini = 13, tag_rel = 17,
                        tag_textrel = 22, tag_jmprel = 23, tag_init_array = 25, tag_fini_array = 26,
                        tag_flags = 30, tag_preinit_array = 32;
constexpr std::uint64_t flag_textrel = 4;
constexpr std::uint32_t irelative_x86 = 37, irelative_arm = 1032;
constexpr std::uint8_t symbol_ifunc = 10;

class Image {
 public:
  Image(std::span<const std::byte> file, const Layout& layout) : file_(file), layout_(layout) {}

  // Where `size` bytes at an address of the library stand in the file.
  std::optional<std::uint64_t> offset_of(std::uint64_t vaddr, std::uint64_t size) const {
    for (const ProgramHeader& p : layout_.program()) {
      if (p.type == artifact::kLoad && vaddr >= p.vaddr &&
          inside(vaddr - p.vaddr, size, p.filesz)) {
        return p.offset + (vaddr - p.vaddr);
      }
    }
    return std::nullopt;
  }

  template <class T> std::optional<T> read(std::uint64_t vaddr) const {
    const auto at = offset_of(vaddr, sizeof(T));
    if (!at) return std::nullopt;
    return read_at<T>(file_, *at);
  }

  std::string text(std::uint64_t vaddr) const {
    std::string out;
    for (auto c = read<char>(vaddr); c && *c && out.size() < 100; c = read<char>(++vaddr))
      out += *c;
    return out;
  }

 private:
  std::span<const std::byte> file_;
  const Layout& layout_;
};

constexpr const char* bad_table = "is damaged: its dynamic section points outside the file";

struct Tables {
  std::uint64_t symbols = 0, strings = 0;
};

std::string check_relocations(const Image& image, const Tables& tables, std::uint64_t at,
                              std::uint64_t bytes) {
  if (bytes == 0) return {};
  if (!image.offset_of(at, bytes)) return bad_table;
  for (std::uint64_t i = 0; i + sizeof(Relocation) <= bytes; i += sizeof(Relocation)) {
    const auto reloc = image.read<Relocation>(at + i);
    if (!reloc) return bad_table;
    const auto type = static_cast<std::uint32_t>(reloc->info);
    const std::uint64_t index = reloc->info >> 32;
    if (type == irelative_x86 || type == irelative_arm)
      return "runs code while it is loaded (a resolver function)";
    if (index == 0) continue;
    const auto symbol = image.read<Symbol>(tables.symbols + index * sizeof(Symbol));
    if (!symbol) return bad_table;
    if (symbol->section == 0) {
      return "imports the symbol \"" + image.text(tables.strings + symbol->name) +
             "\"; a compiled model imports nothing";
    }
    if ((symbol->info & 15) == symbol_ifunc)
      return "runs code while it is loaded (a resolver function)";
  }
  return {};
}

}  // namespace

std::string check_self_contained(std::span<const std::byte> file, const Layout& layout) {
  const Image image(file, layout);
  Tables tables;
  std::uint64_t rela = 0, rela_bytes = 0, plt = 0, plt_bytes = 0;
  for (const ProgramHeader& p : layout.program()) {
    if (p.type != artifact::kDynamic) continue;
    for (std::uint64_t i = 0; i + sizeof(Dynamic) <= p.filesz; i += sizeof(Dynamic)) {
      const auto d = image.read<Dynamic>(p.vaddr + i);
      if (!d) return bad_table;
      if (d->tag == 0) break;
      switch (d->tag) {
      case tag_needed: return "needs other libraries; a compiled model needs none";
      case tag_init:
      case tag_fini:
      case tag_init_array:
      case tag_fini_array:
      case tag_preinit_array: return "runs code while it is loaded (an initialiser)";
      case tag_textrel: return "has relocated code";
      case tag_rel: return "has relocations of an unknown kind";
      case tag_flags:
        if (d->value & flag_textrel) return "has relocated code";
        break;
      case tag_strtab: tables.strings = d->value; break;
      case tag_symtab: tables.symbols = d->value; break;
      case tag_rela: rela = d->value; break;
      case tag_relasz: rela_bytes = d->value; break;
      case tag_jmprel: plt = d->value; break;
      case tag_pltrelsz: plt_bytes = d->value; break;
      default: break;
      }
    }
  }
  if (std::string why = check_relocations(image, tables, rela, rela_bytes); !why.empty())
    return why;
  return check_relocations(image, tables, plt, plt_bytes);
}

}  // namespace burnish::runtime
