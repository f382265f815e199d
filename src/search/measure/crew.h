// Workers at work, from the parent's side: they are given requests, and replaced when they do not live to answer.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "search/measure/messages.h"
#include "search/measure/process.h"

namespace burnish::search {

// Starts workers, some before they are needed.
class Recruiter {
 public:
  explicit Recruiter(std::string program);
  ~Recruiter();
  Recruiter(const Recruiter&) = delete;
  Recruiter& operator=(const Recruiter&) = delete;
  // Processes that wait for their role from now on: `n` in all.
  void prepare(size_t n);
  // A worker that has its role. UserError when workers do not start.
  std::unique_ptr<Worker> hire(const Setup& setup);
  // For the temporary files of workers, which cannot clean up when they are killed.
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::string program_;
  std::filesystem::path folder_;
  std::vector<std::unique_ptr<Worker>> spare_;
};

// What becomes of a candidate whose worker died by itself. `lost`: the cause came from outside, so once more may help.
struct Verdict {
  Status status;
  bool lost = false;
};
Verdict verdict_of(const Death& d);

struct BuildJob {
  const std::string* hash;
  const std::string* workload;
  const std::string* trace;  // null: the plain schedule
  bool verify = true;
  const std::string* name = nullptr;  // of the kernel in the model; null: the group's
};

class BuilderCrew {
 public:
  BuilderCrew(Recruiter& recruiter, const Setup& setup, int count, double timeout);
  // One reply a job, in order. `finished` is called with each as it comes, while others are built, and may take it away.
  using Finished = std::function<void(size_t job, BuildReply& reply)>;
  std::vector<BuildReply> build(const std::vector<BuildJob>& jobs, const Finished& finished = {});

 private:
  struct Hand {
    std::unique_ptr<Worker> worker;
    std::set<std::string> known;  // workloads that it has
    std::optional<size_t> job;
    Clock::time_point deadline;
  };
  void give(Hand& hand, size_t job, const BuildJob& what, bool with_workload);

  Recruiter& recruiter_;
  Setup setup_;
  double timeout_;
  uint32_t request_ = 0;
  std::vector<Hand> hands_;
};

class RunnerClient {
 public:
  RunnerClient(Recruiter& recruiter, const Setup& setup, double timeout);
  RunReply run(const RunRequest& r);
  CompareReply compare(const CompareRequest& r, double timeout);
  pid_t pid() const { return worker_ ? worker_->pid() : -1; }  // of the process that would run the next

 private:
  // The answer of type `wanted`; else why there is none.
  struct Answer {
    std::optional<Message> message;
    Verdict verdict{Status::Lost};
    std::string why;
  };
  Answer ask(MessageType type, const std::string& payload, MessageType wanted, double timeout);

  Recruiter& recruiter_;
  Setup setup_;
  double timeout_;
  uint32_t request_ = 0;
  std::unique_ptr<Worker> worker_;
};

}  // namespace burnish::search
