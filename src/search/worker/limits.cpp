#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <vector>

#include "search/worker/worker.h"

namespace burnish::search {

void end_with(int socket, const std::string& folder) {
  std::thread([socket, folder] {
    pollfd fd{socket, 0, 0};  // POLLHUP is always told
    while (poll(&fd, 1, -1) <= 0 || !(fd.revents & (POLLHUP | POLLERR))) {
    }
    // First out of the way of those that still write to it; one of them can do this, and then clears it.
    std::error_code error;
    std::filesystem::rename(folder, folder + ".gone", error);
    if (!error) std::filesystem::remove_all(folder + ".gone", error);
    kill(0, SIGKILL);
  }).detach();
}

void limit_memory(uint64_t bytes) {
  unsigned long pages = 0;
  if (FILE* f = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(f, "%lu", &pages) != 1) pages = 0;
    std::fclose(f);
  }
  const auto set = [](auto which, uint64_t value) {
    rlimit limit{};
    getrlimit(which, &limit);
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? value : std::min<uint64_t>(value, limit.rlim_max);
    limit.rlim_max = limit.rlim_cur;
    setrlimit(which, &limit);
  };
  set(RLIMIT_CORE, 0);
  set(RLIMIT_FSIZE, uint64_t{2} << 30);
#if !defined(__SANITIZE_ADDRESS__)  // which reserves terabytes
  if (bytes > 0) set(RLIMIT_AS, pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) + bytes);
#endif
}

bool forbid_processes() {
#if defined(__x86_64__)
  constexpr uint32_t arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
  constexpr uint32_t arch = AUDIT_ARCH_AARCH64;
#else
  return false;
#endif
#if defined(__x86_64__) || defined(__aarch64__)
  const auto word = [](uint32_t offset) { return sock_filter(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); };
  const auto give = [](uint32_t action) { return sock_filter(BPF_STMT(BPF_RET | BPF_K, action)); };
  const auto skip_unless = [](uint32_t value, uint8_t n) {
    return sock_filter(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, n));
  };
  constexpr uint32_t number = offsetof(seccomp_data, nr), first = offsetof(seccomp_data, args);
  // Another architecture's numbers (32-bit calls) are none of ours.
  std::vector<sock_filter> f = {word(offsetof(seccomp_data, arch)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 1, 0),
                                give(SECCOMP_RET_KILL_PROCESS), word(number)};
  std::vector<uint32_t> never = {__NR_execve, __NR_execveat, __NR_ptrace, __NR_setpgid, __NR_setsid};
#if defined(__x86_64__)
  never.insert(never.end(), {__NR_fork, __NR_vfork});
#endif
  for (uint32_t call : never) {
    f.push_back(skip_unless(call, 1));
    f.push_back(give(SECCOMP_RET_KILL_PROCESS));
  }
  // glibc then takes clone, whose flags can be seen.
  f.push_back(skip_unless(__NR_clone3, 1));
  f.push_back(give(SECCOMP_RET_ERRNO | ENOSYS));
  f.push_back(skip_unless(__NR_clone, 4));
  f.push_back(word(first));
  f.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1));
  f.push_back(give(SECCOMP_RET_ALLOW));
  f.push_back(give(SECCOMP_RET_KILL_PROCESS));
  // Signals to its own group only (0): end_with.
  f.push_back(skip_unless(__NR_kill, 4));
  f.push_back(word(first));
  f.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1));
  f.push_back(give(SECCOMP_RET_ALLOW));
  f.push_back(give(SECCOMP_RET_KILL_PROCESS));
  f.push_back(give(SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(f.size()), f.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  // All threads that are there already, too.
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
#endif
}

}  // namespace burnish::search
