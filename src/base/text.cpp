#include "base/text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/hold_signals.h"

namespace burnish {

std::vector<std::string> split_text(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    auto at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const size_t first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i) text += separator;
    text += parts[i];
  }
  return text;
}

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

namespace {
struct File {
  int fd;
  ~File() {
    if (fd >= 0) ::close(fd);
  }
};
}  // namespace

std::string read_file(const std::filesystem::path& path, uint64_t limit) {
  File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  require(file.fd >= 0, "cannot read {}: {}", path.string(), std::strerror(errno));
  struct stat info {};
  require(::fstat(file.fd, &info) == 0, "cannot read {}: {}", path.string(), std::strerror(errno));
  require(S_ISREG(info.st_mode), "cannot read {}: it is not a regular file", path.string());
  require(static_cast<uint64_t>(info.st_size) <= limit, "{} is {} bytes, more than the {} allowed",
          path.string(), info.st_size, limit);
  std::string bytes(static_cast<size_t>(info.st_size), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t n = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    require(n >= 0, "cannot read {}: {}", path.string(), std::strerror(errno));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  auto write_all = [&](int fd) {
    size_t done = 0;
    while (done < bytes.size()) {
      ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      done += static_cast<size_t>(n);
    }
    return true;
  };
  // A device or a pipe is written to, not replaced: /dev/null has to stay what it is.
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode)) {
    File file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    const bool written = file.fd >= 0 && write_all(file.fd);
    require(written, "cannot write {}: {}", path.string(), std::strerror(errno));
    return;
  }
  const HoldSignals held;
  std::string temporary = path.string() + ".XXXXXX";
  File file{::mkostemp(temporary.data(), O_CLOEXEC)};
  require(file.fd >= 0, "cannot write {}: {}", path.string(), std::strerror(errno));
  auto give_up = [&](const char* what) {
    int error = errno;
    ::unlink(temporary.c_str());
    fail_user("cannot write {}: {}: {}", path.string(), what, std::strerror(error));
  };
  if (!write_all(file.fd)) give_up("write");
  mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(file.fd, 0666 & ~mask) != 0) give_up("chmod");
  if (::fsync(file.fd) != 0) give_up("fsync");
  if (::rename(temporary.c_str(), path.c_str()) != 0) give_up("rename");
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  uint64_t h = seed;
  for (unsigned char c : bytes) h = (h ^ c) * 0x100000001b3u;
  return h;
}

}  // namespace burnish
