#include "search/measure/process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"

extern char** environ;

namespace burnish::search {

namespace {

namespace fs = std::filesystem;

constexpr const char* program_name = "burnish-worker";
constexpr int worker_socket = 3;

// The file that holds this code: the program, or the library that a program loaded.
fs::path this_file() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&find_worker), &info) && info.dli_fname) {
    std::error_code error;
    fs::path p = fs::canonical(info.dli_fname, error);
    if (!error) return p;
  }
  return {};
}

bool is_program(const fs::path& p) {
  std::error_code error;
  return fs::is_regular_file(p, error) && access(p.c_str(), X_OK) == 0;
}

std::string signal_text(int signal) {
  const char* name = sigabbrev_np(signal);
  const char* meaning = sigdescr_np(signal);
  return fmt::format("SIG{} ({})", name ? name : std::to_string(signal), meaning ? meaning : "unknown");
}

struct Spawn {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  Spawn() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~Spawn() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;
};

// Above the numbers that the worker's own take, or duplicating one of them would close another.
int moved_up(int fd) {
  const int up = fcntl(fd, F_DUPFD_CLOEXEC, 16);
  const int error = errno;
  close(fd);
  require(up >= 0, "cannot start a worker: {}", std::strerror(error));
  return up;
}

}  // namespace

std::string find_worker(const std::string& wanted) {
  for (const std::string& given : {environment("BURNISH_WORKER"), wanted}) {
    if (given.empty()) continue;
    require(is_program(given), "{} is no program that can be run; candidates are built and timed by {}", given,
            program_name);
    return given;
  }
  std::vector<fs::path> folders;
  std::error_code error;
  for (const fs::path& file : {this_file(), fs::read_symlink("/proc/self/exe", error)}) {
    if (file.empty()) continue;
    const fs::path here = file.parent_path();
    folders.insert(folders.end(), {here, here / "bin", here / "../bin", here / "../libexec/burnish"});
    // Build trees: src/driver/cli, tests, python.
    for (const char* up : {"..", "../..", "../../.."}) {
      folders.insert(folders.end(), {here / up / "search", here / up / "src/search"});
    }
  }
  for (const fs::path& folder : folders) {
    if (is_program(folder / program_name)) return fs::canonical(folder / program_name).string();
  }
  fail_user("the program {} was not found beside {}; say where it is with BURNISH_WORKER", program_name,
            this_file().string());
}

Worker::Worker(const std::string& program, const std::string& folder) {
  int ends[2];
  require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "cannot start a worker: {}",
          std::strerror(errno));
  socket_ = ends[0];
  fcntl(socket_, F_SETFL, O_NONBLOCK);
  int other = -1;
  try {
    other = moved_up(ends[1]);
    const int words = memfd_create("burnish-worker", MFD_CLOEXEC);
    require(words >= 0, "cannot start a worker: {}", std::strerror(errno));
    stderr_ = moved_up(words);

    Spawn spawn;
    posix_spawn_file_actions_addopen(&spawn.actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&spawn.actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&spawn.actions, stderr_, 2);
    posix_spawn_file_actions_adddup2(&spawn.actions, other, worker_socket);
    posix_spawn_file_actions_addclosefrom_np(&spawn.actions, worker_socket + 1);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    posix_spawnattr_setsigmask(&spawn.attributes, &none);
    posix_spawnattr_setsigdefault(&spawn.attributes, &all);
    posix_spawnattr_setpgroup(&spawn.attributes, 0);
    posix_spawnattr_setflags(&spawn.attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    const std::string number = std::to_string(worker_socket);
    char* const argv[] = {const_cast<char*>(program.c_str()), const_cast<char*>(number.c_str()),
                          const_cast<char*>(folder.c_str()), nullptr};
    const int error = posix_spawn(&pid_, program.c_str(), &spawn.actions, &spawn.attributes, argv, environ);
    if (error != 0) pid_ = -1;
    require(error == 0, "cannot start {}: {}", program, std::strerror(error));
    close(other);
  } catch (...) {
    if (other >= 0) close(other);
    if (stderr_ >= 0) close(stderr_);
    close(socket_);
    throw;
  }
}

Worker::~Worker() {
  end();
  close(socket_);
  close(stderr_);
}

void Worker::send(const Message& m) {
  if (sent_ > 0) {
    out_.erase(0, sent_);
    sent_ = 0;
  }
  out_ += frame(m);
  write();  // and not read: what has come would wake wait_for no more
}

void Worker::write() {
  while (!gone_ && sent_ < out_.size()) {
    const ssize_t n = ::send(socket_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (n > 0) sent_ += static_cast<size_t>(n);
    else if (errno == EINTR) continue;
    else if (errno == EAGAIN) break;
    else break;  // its end is closed: what it still said is read, then comes the end
  }
}

void Worker::read() {
  char buffer[1 << 16];
  while (!gone_) {
    const ssize_t n = recv(socket_, buffer, sizeof buffer, 0);
    if (n > 0) in_.feed({buffer, static_cast<size_t>(n)});
    else if (n < 0 && errno == EINTR) continue;
    else if (n < 0 && errno == EAGAIN) break;
    else gone_ = true;
  }
}

// The group's number is the worker's, which stays taken until the worker has been waited for: until then no other
// process can be meant.
void Worker::collect(bool killed) {
  kill(-pid_, SIGKILL);
  int status = 0;
  pid_t got;
  do {
    got = waitpid(pid_, &status, 0);
  } while (got < 0 && errno == EINTR);
  Death d{.killed = killed};
  if (got != pid_) d.text = "ended for an unknown reason";  // somebody else waits for this program's children
  else if (WIFSIGNALED(status)) {
    d.signal = WTERMSIG(status);
    d.text = "was ended by " + signal_text(d.signal);
  } else {
    d.code = WEXITSTATUS(status);
    d.text = fmt::format("exited with code {}", d.code);
  }
  if (!in_.broken().empty()) {
    d.nonsense = true;
    d.text += "; " + in_.broken();
  }
  if (const std::string words = last_words(); !words.empty()) d.text += ", saying: " + words;
  death_ = std::move(d);
}

const Death& Worker::end() {
  if (death_) return *death_;
  // One that closed its socket is about to end by itself; how, is worth knowing.
  siginfo_t info{};
  const auto patience = Clock::now() + std::chrono::milliseconds(gone() ? 200 : 0);
  bool over = false;
  do {
    info.si_pid = 0;
    over = waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid_;
    if (!over && gone()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  } while (!over && Clock::now() < patience);
  collect(!over);
  gone_ = true;
  return *death_;
}

std::string Worker::last_words() const {
  constexpr off_t most = 300;
  const off_t size = lseek(stderr_, 0, SEEK_END);
  if (size <= 0) return {};
  std::string text(static_cast<size_t>(std::min(size, most)), '\0');
  const ssize_t n = pread(stderr_, text.data(), text.size(), size - static_cast<off_t>(text.size()));
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  for (char& c : text) {
    if (c < ' ' || c > '~') c = c == '\n' ? ' ' : '?';
  }
  return std::string(trim(text));
}

void wait_for(std::span<Worker* const> workers, Clock::time_point until) {
  std::vector<pollfd> fds;
  for (Worker* w : workers) {
    if (w->gone()) return;
    const short events = static_cast<short>(POLLIN | (w->sent_ < w->out_.size() ? POLLOUT : 0));
    fds.push_back({w->socket_, events, 0});
  }
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  const int ready = poll(fds.data(), fds.size(), static_cast<int>(std::clamp<int64_t>(left + 1, 0, 60'000)));
  if (ready <= 0) return;
  for (size_t i = 0; i < fds.size(); ++i) {
    if (!fds[i].revents) continue;
    workers[i]->write();
    workers[i]->read();
  }
}

}  // namespace burnish::search
