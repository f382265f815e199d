#include "import/onnx/external_data.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace burnish::onnx {

namespace {

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(File&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  File& operator=(File&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Opens component by component, so that no part of the path can be a link; the folder itself is the
// user's choice.
File open_inside(const std::filesystem::path& folder, std::string_view location) {
  require(!folder.empty(),
          "external data '{}' needs the model's folder, but the model was given as bytes",
          location);
  require(!location.empty() && location.size() <= 4096,
          "external data needs a file name of 1 to 4096 characters");
  require(location.find('\0') == std::string_view::npos,
          "the name of an external data file contains a zero byte");
  require(location.front() != '/' && location.find('\\') == std::string_view::npos,
          "external data '{}' must be a relative path inside the model's folder", location);
  std::vector<std::string> parts;
  for (std::string& part : split_text(location, '/')) {
    if (part.empty() || part == ".") continue;
    require(part != "..", "external data '{}' leaves the model's folder", location);
    parts.push_back(std::move(part));
  }
  require(!parts.empty(), "external data '{}' names no file", location);

  File at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  require(at.fd() >= 0, "cannot open the model's folder {}: {}", folder.string(),
          std::strerror(errno));
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    const int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (last ? 0 : O_DIRECTORY);
    File next(::openat(at.fd(), parts[i].c_str(), flags));
    if (next.fd() < 0) {
      struct stat info{};
      const int error = errno;
      const bool link = ::fstatat(at.fd(), parts[i].c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISLNK(info.st_mode);
      require(!link, "external data '{}' passes the symbolic link '{}': links are not followed",
              location, parts[i]);
      fail_user("cannot open external data '{}': {}", location, std::strerror(error));
    }
    at = std::move(next);
  }
  return at;
}

// Where the bytes begin, once it is certain that they exist.
File checked(const std::filesystem::path& folder, const ExternalRange& range, uint64_t needed) {
  File file = open_inside(folder, range.location);
  struct stat info{};
  require(::fstat(file.fd(), &info) == 0 && S_ISREG(info.st_mode),
          "external data '{}' is not a regular file", range.location);
  const auto size = static_cast<uint64_t>(info.st_size);
  require(range.offset <= size, "external data '{}' has {} bytes, but offset {} is asked for",
          range.location, size, range.offset);
  const uint64_t length = range.length.value_or(size - range.offset);
  require(length <= size - range.offset,
          "external data '{}' has {} bytes after offset {}, but {} are asked for", range.location,
          size - range.offset, range.offset, length);
  require(length == needed, "external data '{}' gives {} bytes, but the tensor needs {}",
          range.location, length, needed);
  return file;
}

}  // namespace

void check_external(const std::filesystem::path& folder, const ExternalRange& range,
                    uint64_t bytes_needed) {
  checked(folder, range, bytes_needed);
}

void read_external(const std::filesystem::path& folder, const ExternalRange& range,
                   std::span<std::byte> into) {
  const File file = checked(folder, range, into.size());
  for (size_t done = 0; done < into.size();) {
    const ssize_t got = ::pread(file.fd(), into.data() + done, into.size() - done,
                                static_cast<off_t>(range.offset + done));
    if (got < 0 && errno == EINTR) continue;
    require(got > 0, "cannot read external data '{}': {}", range.location,
            got == 0 ? "the file became shorter" : std::strerror(errno));
    done += static_cast<size_t>(got);
  }
}

}  // namespace burnish::onnx
