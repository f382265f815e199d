#include "target/cuda/cache.h"

#include <fmt/format.h>

#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"

namespace burnish::cuda_target {

namespace {

// An entry: the magic, sizes, figures; then key, cubin and PTX; last a hash of all before it.
constexpr std::string_view magic = "burnish1";
struct Head {
  uint64_t key, cubin, ptx;
  int64_t registers, spill_bytes;
};

std::string packed(const std::string& key, const Compiled& c) {
  const Head head{key.size(), c.cubin.size(), c.ptx.size(), c.registers, c.spill_bytes};
  std::string out(magic);
  out.append(reinterpret_cast<const char*>(&head), sizeof head);
  out += key + c.cubin + c.ptx;
  const uint64_t hash = hash_bytes(out);
  out.append(reinterpret_cast<const char*>(&hash), sizeof hash);
  return out;
}

std::optional<Compiled> unpacked(const std::string& bytes, const std::string& key) {
  constexpr size_t around = magic.size() + sizeof(Head) + sizeof(uint64_t);
  if (bytes.size() < around || !bytes.starts_with(magic)) return {};
  Head head;
  std::memcpy(&head, bytes.data() + magic.size(), sizeof head);
  uint64_t hash;
  std::memcpy(&hash, bytes.data() + bytes.size() - sizeof hash, sizeof hash);
  const uint64_t rest = bytes.size() - around;
  if (head.key > rest || head.cubin > rest - head.key || head.ptx != rest - head.key - head.cubin)
    return {};
  if (hash != hash_bytes(std::string_view(bytes).substr(0, bytes.size() - sizeof hash))) return {};
  const size_t at = magic.size() + sizeof head;
  if (bytes.compare(at, head.key, key) != 0) return {};
  return Compiled{.cubin = bytes.substr(at + head.key, head.cubin),
                  .ptx = bytes.substr(at + head.key + head.cubin, head.ptx),
                  .registers = static_cast<int>(head.registers),
                  .spill_bytes = head.spill_bytes};
}

}  // namespace

Cache::Cache() {
  const std::string own = environment("BURNISH_CACHE"), shared = environment("XDG_CACHE_HOME"),
                    home = environment("HOME");
  if (own == "off") return;
  folder_ = !own.empty()      ? own
            : !shared.empty() ? shared + "/burnish"
            : !home.empty()   ? home + "/.cache/burnish"
                              : "";
}

std::string Cache::file_of(const std::string& key) const {
  constexpr uint64_t other_seed = 0x9ae16a3b2f90404f;
  return fmt::format("{}/cuda-{:016x}{:016x}", folder_, hash_bytes(key),
                     hash_bytes(key, other_seed));
}

std::optional<Compiled> Cache::find(const std::string& key) const {
  const std::string file = folder_.empty() ? "" : file_of(key);
  std::error_code error;
  if (file.empty() || !std::filesystem::is_regular_file(file, error)) return {};
  try {
    constexpr uint64_t limit = 64 << 20;
    return unpacked(read_file(file, limit), key);
  } catch (const UserError&) {
    return {};
  }
}

void Cache::put(const std::string& key, const Compiled& c) const {
  if (folder_.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return;
  try {
    write_file(file_of(key), packed(key, c));
  } catch (const UserError&) {
    // A full disk is no reason not to compile.
  }
}

}  // namespace burnish::cuda_target
