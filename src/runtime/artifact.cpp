#include "artifact.h"

#include "cpu.h"
#include "elf_dynamic.h"
#include "failure.h"

#include <burnish/artifact_format.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace burnish::runtime {

namespace {

[[noreturn]] void fail_at(burnish_status status, const std::string& path, const std::string& why) {
  fail(status, "%s %s", path.c_str(), why.c_str());
}

std::string system_error(const char* what) {
  return std::string(what) + ": " + std::strerror(errno);
}

// The file's bytes, for reading.
class View {
 public:
  View(const File& file, const std::string& path) {
    struct stat st;
    if (fstat(file.fd(), &st) != 0)
      fail_at(BURNISH_ERROR_USER, path, system_error("cannot be read"));
    if (!S_ISREG(st.st_mode)) fail_at(BURNISH_ERROR_USER, path, "is not a file");
    if (st.st_size == 0) fail_at(BURNISH_ERROR_USER, path, "is empty");
    size_ = static_cast<std::size_t>(st.st_size);
    data_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
    if (data_ == MAP_FAILED) fail_at(BURNISH_ERROR_MEMORY, path, system_error("cannot be mapped"));
  }
  ~View() { munmap(data_, size_); }
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// A path of the open file that was never used before in this process: the system's loader compares
// paths before it looks at files, and would take "/proc/self/fd/5" for a library that it still
// holds under that name from an earlier descriptor 5. The number of the load is written in binary,
// "/" and "/./", which is the same path to the kernel.
std::string unique_path(const File& file) {
  static std::atomic<std::uint64_t> loads{0};
  std::string path = "/proc/self/fd/";
  for (std::uint64_t n = loads.fetch_add(1) + 1; n != 0; n >>= 1) path += n & 1 ? "./" : "/";
  return path + "./" + std::to_string(file.fd());
}

}  // namespace

File::~File() {
  if (fd_ >= 0) close(fd_);
}

File open_artifact(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) fail_at(BURNISH_ERROR_USER, path, system_error("cannot be opened"));
  return File(fd);
}

File sealed_file(const void* data, std::size_t bytes, const std::string& path) {
  // MFD_EXEC (0x10) exists from Linux 6.3 on, where some systems refuse to map other memory files
  // as code.
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING, executable = 0x10;
  int fd = memfd_create("burnish-model", flags | executable);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("burnish-model", flags);
  if (fd < 0) fail_at(BURNISH_ERROR_MEMORY, path, system_error("cannot be copied into memory"));
  File file(fd);
  const auto* at = static_cast<const std::byte*>(data);
  while (bytes != 0) {
    const ssize_t n = write(fd, at, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_at(BURNISH_ERROR_MEMORY, path, system_error("cannot be copied into memory"));
    at += n;
    bytes -= static_cast<std::size_t>(n);
  }
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    fail_at(BURNISH_ERROR_MEMORY, path, system_error("cannot be sealed in memory"));
  }
  return file;
}

File sealed_copy(const File& file, const std::string& path) {
  const View view(file, path);
  return sealed_file(view.bytes().data(), view.bytes().size(), path);
}

Checked check_artifact(const File& file, const std::string& path, std::uint64_t copy_from) {
  const View view(file, path);
  const auto bytes = view.bytes();
  const artifact::Layout layout = artifact::read_layout(bytes);
  if (layout.error) fail_at(BURNISH_ERROR_USER, path, layout.error);
  const Machine here = this_machine();
  if (layout.header.machine != here.elf) {
    fail(BURNISH_ERROR_UNSUPPORTED, "%s is for %s, this machine is %s; compile it for this machine",
         path.c_str(), machine_name(layout.header.machine), here.name);
  }
  Checked out;
  try {
    const auto stated = artifact::detail::read_at<std::uint64_t>(bytes, layout.checksum.offset);
    if (checksum_and_copy(file.fd(), bytes, layout, segment_of_weights(layout, copy_from),
                          out.copy) != stated) {
      fail(BURNISH_ERROR_USER, "is damaged: its checksum does not match; copy or compile it anew");
    }
    if (const std::string why = check_self_contained(bytes, layout); !why.empty()) {
      fail(BURNISH_ERROR_USER, "%s", why.c_str());
    }
    const auto* text = reinterpret_cast<const char*>(bytes.data() + layout.metadata.offset);
    out.metadata = parse_metadata({text, layout.metadata.size});
    check_machine(out.metadata);
  } catch (const Failure& f) {
    fail_at(f.status, path, f.text);
  }
  return out;
}

Library::Library(const File& file, const Metadata& metadata, const std::string& path) {
  const std::string mapped = unique_path(file);
  void* handle = dlopen(mapped.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = dlerror();
    fail(BURNISH_ERROR_USER, "%s cannot be loaded by the system: %s", path.c_str(),
         why ? why : "no reason given");
  }
  Library owner;  // closes the handle when a check below fails
  owner.handle_ = handle;
  const auto get_entry =
      reinterpret_cast<burnish_model_entry_fn>(dlsym(handle, BURNISH_ENTRY_SYMBOL));
  if (!get_entry) fail_at(BURNISH_ERROR_USER, path, "has no function " BURNISH_ENTRY_SYMBOL);
  owner.entry_ = get_entry();
  const burnish_entry* e = owner.entry_;
  if (!e || !e->run) fail_at(BURNISH_ERROR_USER, path, "has no code to run");
  if (e->abi != BURNISH_ABI_VERSION) {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "%s has ABI %u, this runtime has ABI %d; compile the model anew", path.c_str(), e->abi,
         BURNISH_ABI_VERSION);
  }
  if (e->weights_bytes != metadata.weights_bytes || (e->weights_bytes != 0 && !e->weights)) {
    fail(BURNISH_ERROR_USER,
         "%s has %llu bytes of weights, its metadata says %llu; compile the model anew",
         path.c_str(), static_cast<unsigned long long>(e->weights_bytes),
         static_cast<unsigned long long>(metadata.weights_bytes));
  }
  const std::size_t steps = metadata.device ? 0 : metadata.steps.size();  // code for the CPU
  if (e->steps != steps) {
    fail(BURNISH_ERROR_USER, "%s has %u steps, its metadata lists %zu; compile the model anew",
         path.c_str(), e->steps, steps);
  }
  if (metadata.device) {
    const std::span weights(static_cast<const std::byte*>(e->weights), e->weights_bytes);
    if (const std::string why = check_images(*metadata.device, weights); !why.empty()) {
      fail_at(BURNISH_ERROR_USER, path, why);
    }
  }
  *this = std::move(owner);
}

std::uint64_t Library::address_in_file(const void* at) const {
  const link_map* map = nullptr;
  if (dlinfo(handle_, RTLD_DI_LINKMAP, &map) != 0) return 0;
  return reinterpret_cast<std::uintptr_t>(at) - map->l_addr;
}

Library::~Library() {
  if (handle_) dlclose(handle_);
}

}  // namespace burnish::runtime
