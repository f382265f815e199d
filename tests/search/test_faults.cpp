// Candidates that misbehave in every way we could think of: each gets its status, and the next good one its time.
#include <burnish/artifact_format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <span>
#include <thread>

#include "base/temporary_folder.h"
#include "base/text.h"
#include "search/measure/crew.h"

namespace burnish::search {
namespace {

namespace fs = std::filesystem;

// tests/search/bad_libraries/bad.c, compiled to behave as `fault` says.
std::string library(const std::string& fault, const std::string& arena = "0") {
  constexpr size_t capacity = 1024;
#if defined(__x86_64__)
  const std::string triple = "x86_64-linux-gnu";
#else
  const std::string triple = "aarch64-linux-gnu";
#endif
  std::string metadata = R"({"abi":1,"compiler":"burnish 0.1.0","triple":")" + triple +
                         R"(","cpu":"test","features":[],"target":"llvm:cpu=test","threads":2,"weights_hash":"0",)"
                         R"("inputs":[{"name":"x","dtype":"f32","shape":[1000]}],)"
                         R"("outputs":[{"name":"y","dtype":"f32","shape":[1000]}],"arena_bytes":)" + arena +
                         R"(,"scratch_bytes":0,"weights_bytes":0,"macs":0,"steps":[{"name":"bad","source":[]}]})";
  metadata.resize(capacity, ' ');
  const TemporaryFolder folder;
  const auto file = [&](const char* name) { return (folder.path / name).string(); };
  std::string list;
  for (const char c : metadata) list += std::to_string(static_cast<int>(c)) + ",";
  std::ofstream(file("metadata.inc")) << list;
  const std::string command = std::string(BURNISH_TEST_CC) +
                              " -O1 -std=gnu11 -shared -fPIC -nostdlib -ffreestanding -fno-builtin"
                              " -fvisibility=hidden -fno-stack-protector -fno-asynchronous-unwind-tables -w"
                              " -DMETADATA_BYTES=1024 -DFAULT=" + fault + " -I" + file("") +
                              " -I" BURNISH_SOURCE_DIR "/include -I" BURNISH_SOURCE_DIR "/tests/runtime/models " BURNISH_TEST_DATA "/bad_libraries/bad.c -o " +
                              file("bad.so");
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  std::string bytes = read_file(file("bad.so"));
  if (const char* why = artifact::stamp_checksum(std::as_writable_bytes(std::span(bytes)))) throw std::runtime_error(why);
  return bytes;
}

Built built(std::string bytes) {
  return {.library = std::move(bytes),
          .parameters = {{.name = "x", .shape = {1000}}, {.name = "y", .shape = {1000}, .output = true}},
          .tolerance = {.relative = 1e-5}};
}

Setup setup(double min_time = 0.001) {
  return {.role = Role::Runner, .target = "native", .threads = 2, .memory_bytes = uint64_t{2} << 30,
          .l2_bytes = 1 << 20, .min_time = min_time, .min_repeats = 3, .cold_weights = true};
}

size_t open_files() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& e : fs::directory_iterator("/proc/self/fd")) ++n;
  return n;
}

std::vector<pid_t> children() {
  std::vector<pid_t> all;
  std::ifstream in("/proc/self/task/" + std::to_string(getpid()) + "/children");
  for (pid_t p; in >> p;) all.push_back(p);
  return all;
}

bool exists(pid_t p) { return kill(p, 0) == 0; }

class Faults : public ::testing::Test {
 protected:
  RunReply run(const std::string& fault, bool check = true, const std::string& arena = "0") {
    return runner.run({.hash = "bad", .candidate = built(library(fault, arena)), .reference = good, .check = check});
  }
  void expect_good() {
    const RunReply r = runner.run({.hash = "bad", .candidate = good, .reference = good, .check = true});
    EXPECT_EQ(r.status, Status::Ok) << r.message;
    EXPECT_TRUE(r.checked);
    EXPECT_GE(r.timing.repeats, 3);
  }
  void expect(const std::string& fault, Status status, const std::string& words, bool check = true) {
    const RunReply r = run(fault, check);
    EXPECT_EQ(r.status, status) << fault << ": " << name_of(r.status) << ": " << r.message;
    EXPECT_NE(r.message.find(words), std::string::npos) << fault << ": " << r.message;
    expect_good();
  }

  Recruiter recruiter{find_worker({})};
  RunnerClient runner{recruiter, setup(), 0.5};
  Built good = built(library("GOOD"));
};

TEST_F(Faults, WrongAnswers) {
  expect("WRONG", Status::Wrong, "y[321]");
  expect("NAN_ANSWER", Status::Wrong, "y[7] is nan");
  expect("SKIPS", Status::Wrong, "y[999] is");
  expect("OTHER_SEED", Status::Wrong, "y[5]");
  expect("FAULTS", Status::Wrong, "fault 5");
}

TEST_F(Faults, AccessesOutsideTensors) {
  expect("WRITES_AFTER", Status::Wrong, "behind the end of y", false);
  expect("WRITES_BEFORE", Status::Wrong, "before y", false);
  expect("WRITES_FAR", Status::Crashed, "SIGSEGV", false);
  expect("WRITES_INPUT", Status::Crashed, "SIGSEGV", false);
  expect("READS_PAST", Status::Crashed, "checking its answer");
}

TEST_F(Faults, Crashes) {
  expect("SEGFAULTS", Status::Crashed, "SIGSEGV");
  expect("ILLEGAL", Status::Crashed, "SIG");
#if defined(__x86_64__)
  expect("DIVIDES", Status::Crashed, "SIGFPE");
#endif
  expect("OVERFLOWS", Status::Crashed, "SIGSEGV");
  expect("EXITS", Status::Crashed, "exited with code 0");
  expect("BABBLES", Status::Crashed, "begin no message");
}

TEST_F(Faults, Hangs) {
  expect("LOOPS", Status::TimedOut, "0.5 s");
  const RunReply r = run("CLOSES");
  EXPECT_TRUE(r.status == Status::TimedOut || r.status == Status::Lost || r.status == Status::Crashed) << r.message;
  expect_good();
}

TEST_F(Faults, Processes) {
  const size_t before = children().size();
  for (const char* fault : {"FORKS", "CLONES", "EXECUTES", "KILLS", "LEAVES"}) {
    expect(fault, Status::Crashed, "SIGSYS");
  }
  EXPECT_EQ(children().size(), before);
}

TEST_F(Faults, Memory) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "address space cannot be limited under AddressSanitizer";
#endif
  const RunReply r = run("ALLOCATES");
  EXPECT_TRUE(r.status == Status::Crashed || r.status == Status::OutOfMemory) << r.message;
  expect_good();
  const RunReply arena = run("GOOD", true, "107374182400");
  EXPECT_EQ(arena.status, Status::OutOfMemory) << arena.message;
  expect_good();
}

TEST_F(Faults, LibrariesThatAreNone) {
  for (const std::string& bytes : {std::string("no library"), std::string(), good.library.substr(0, 5000)}) {
    const RunReply r = runner.run({.hash = "bad", .candidate = built(bytes), .reference = good});
    EXPECT_EQ(r.status, Status::BuildFailed) << r.message;
  }
  Built other = good;
  other.parameters[0].shape = {1001};
  const RunReply r = runner.run({.hash = "bad", .candidate = other, .reference = good});
  EXPECT_EQ(r.status, Status::BuildFailed) << r.message;
  expect_good();
}

TEST_F(Faults, KilledFromOutside) {
  kill(runner.pid(), SIGKILL);
  expect_good();
  kill(-runner.pid(), SIGTERM);
  expect_good();
}

TEST_F(Faults, AReferenceThatCrashesIsNotTheCandidatesFault) {
  const Built bad = built(library("SEGFAULTS"));
  const RunReply r = runner.run({.hash = "other", .candidate = good, .reference = bad, .check = true});
  EXPECT_EQ(r.status, Status::Lost) << r.message;
  EXPECT_NE(r.message.find("reference"), std::string::npos) << r.message;
  expect_good();
}

TEST(Workers, LeaveNothingBehind) {
  const size_t files = open_files(), processes = children().size();
  fs::path folder;
  pid_t runner_pid = 0;
  {
    Recruiter recruiter(find_worker({}));
    recruiter.prepare(2);
    folder = recruiter.folder();
    EXPECT_TRUE(fs::exists(folder)) << folder;
    RunnerClient runner(recruiter, setup(), 0.3);
    EXPECT_EQ(runner.run({.hash = "a", .candidate = built(library("LOOPS"))}).status, Status::TimedOut);
    EXPECT_EQ(runner.run({.hash = "a", .candidate = built(library("GOOD"))}).status, Status::Ok);
    runner_pid = runner.pid();
    EXPECT_TRUE(exists(runner_pid));
  }
  EXPECT_FALSE(exists(runner_pid));
  EXPECT_FALSE(fs::exists(folder)) << folder;
  EXPECT_EQ(open_files(), files);
  EXPECT_EQ(children().size(), processes);
}

// A search that is killed takes its workers along, even one that runs a candidate that never ends.
TEST(Workers, EndWithTheirParent) {
  const std::string endless = library("LOOPS");
  int ends[2], names[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(pipe(names), 0);
  std::string mine;
  const pid_t parent = fork();
  if (parent == 0) {
    Recruiter recruiter(find_worker({}));
    recruiter.prepare(2);
    RunnerClient runner(recruiter, setup(), 100);
    std::vector<pid_t> all = children();
    mine = recruiter.folder();
    std::ofstream(recruiter.folder() / "file") << "left";
    if (write(names[1], mine.data(), mine.size()) < 0) _exit(1);
    close(names[1]);
    if (write(ends[1], all.data(), all.size() * sizeof(pid_t)) < 0) _exit(1);
    close(ends[1]);
    runner.run({.hash = "a", .candidate = built(endless)});
    _exit(0);
  }
  close(ends[1]);
  close(names[1]);
  char name[256];
  for (ssize_t n; (n = read(names[0], name, sizeof name)) > 0;) mine.append(name, static_cast<size_t>(n));
  close(names[0]);
  EXPECT_TRUE(fs::exists(mine)) << mine;
  std::vector<pid_t> workers;
  for (pid_t p; read(ends[0], &p, sizeof p) == sizeof p;) workers.push_back(p);
  close(ends[0]);
  EXPECT_GE(workers.size(), 2u);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto alive = [](pid_t p) {  // orphans may stay zombies where nobody waits for them
    std::ifstream in("/proc/" + std::to_string(p) + "/stat");
    std::string number, name, state;
    return static_cast<bool>(in >> number >> name >> state) && state != "Z" && state != "X";
  };
  while (std::ranges::any_of(workers, alive) && std::chrono::steady_clock::now() < patience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(std::ranges::none_of(workers, alive));
  EXPECT_FALSE(fs::exists(mine) || fs::exists(mine + ".gone")) << mine;
}

TEST(Workers, AProgramThatIsNoneIsNamed) {
  EXPECT_THROW((void)find_worker("/nowhere/burnish-worker"), UserError);
  Recruiter recruiter("/bin/true");
  try {
    (void)recruiter.hire(setup());
    FAIL();
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("/bin/true"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace burnish::search
