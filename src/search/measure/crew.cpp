#include "search/measure/crew.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>

#include "base/error.h"

namespace burnish::search {

namespace {

constexpr double start_timeout = 30, reference_timeout = 60;  // seconds

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// In memory where there is such a folder: linking writes small files and waits for the disk.
std::filesystem::path new_folder() {
  std::error_code error;
  for (const std::filesystem::path& base : {std::filesystem::path("/dev/shm"), std::filesystem::temp_directory_path(error)}) {
    std::string name = (base / "burnish-workers-XXXXXX").string();
    if (!base.empty() && mkdtemp(name.data())) return name;
  }
  fail_user("there is no folder for temporary files: set TMPDIR to one that can be written");
}

}  // namespace

// ---- starting

Recruiter::Recruiter(std::string program) : program_(std::move(program)), folder_(new_folder()) {}

Recruiter::~Recruiter() {
  spare_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void Recruiter::prepare(size_t n) {
  while (spare_.size() < n) spare_.push_back(std::make_unique<Worker>(program_, folder_.string()));
}

std::unique_ptr<Worker> Recruiter::hire(const Setup& setup) {
  std::string why;
  for (int tries = 0; tries < 3;) {
    if (spare_.empty()) ++tries;  // what waited for long may have died long ago
    prepare(1);
    std::unique_ptr<Worker> w = std::move(spare_.front());
    spare_.erase(spare_.begin());
    w->send({MessageType::Setup, 0, encode(setup)});
    const auto deadline = after(start_timeout);
    Worker* const one[] = {w.get()};
    for (;;) {
      while (auto m = w->next()) {
        if (m->type == MessageType::Ready) return w;
      }
      if (w->gone() || Clock::now() >= deadline) break;
      wait_for(one, deadline);
    }
    why = w->end().text;
  }
  fail_user("the worker {} does not start: it {}", program_, why);
}

Verdict verdict_of(const Death& d) {
  if (d.text.find("out of memory") != d.text.npos || d.text.find("bad_alloc") != d.text.npos) {
    return {Status::OutOfMemory};
  }
  if (d.nonsense) return {Status::Crashed};
  switch (d.signal) {
    case SIGKILL: case SIGTERM: case SIGINT: case SIGHUP: case SIGQUIT: return {Status::Lost, !d.killed};
    case SIGXCPU: case SIGALRM: return {Status::TimedOut};
    default: return {Status::Crashed};
  }
}

// ---- building

BuilderCrew::BuilderCrew(Recruiter& recruiter, const Setup& setup, int count, double timeout)
    : recruiter_(recruiter), setup_(setup), timeout_(timeout) {
  setup_.role = Role::Builder;
  hands_.resize(static_cast<size_t>(std::max(count, 1)));
}

void BuilderCrew::give(Hand& hand, size_t job, const BuildJob& what, bool with_workload) {
  if (!hand.worker) {
    hand.worker = recruiter_.hire(setup_);
    hand.known.clear();
  }
  BuildRequest r{.hash = *what.hash, .workload = {}, .trace = what.trace ? *what.trace : "", .plain = !what.trace,
                 .verify = what.verify, .name = what.name ? *what.name : ""};
  if (hand.known.insert(r.hash).second || with_workload) r.workload = *what.workload;
  hand.worker->send({MessageType::Build, ++request_, encode(r)});
  hand.job = job;
  hand.deadline = after(timeout_);
}

std::vector<BuildReply> BuilderCrew::build(const std::vector<BuildJob>& jobs, const Finished& finished) {
  std::vector<BuildReply> replies(jobs.size());
  std::vector<bool> lost_before(jobs.size());
  std::vector<size_t> todo;
  for (size_t i = jobs.size(); i-- > 0;) todo.push_back(i);

  std::vector<size_t> done;  // since the hands were given work
  const auto finish = [&](Hand& hand, BuildReply reply) {
    replies[*hand.job] = std::move(reply);
    done.push_back(*hand.job);
    hand.job.reset();
  };
  // Its worker is dead, or about to be.
  const auto replace = [&](Hand& hand, bool late, std::string complaint) {
    const size_t job = *hand.job;
    const Death death = hand.worker->end();
    hand.worker.reset();
    const Verdict v = verdict_of(death);
    if (late) {
      finish(hand, {.status = Status::BuildTimeout, .message = fmt::format("compiling it took more than {} s", timeout_)});
    } else if (v.lost && !lost_before[job]) {
      lost_before[job] = true;
      hand.job.reset();
      todo.push_back(job);
    } else {
      finish(hand, {.status = v.lost || v.status == Status::OutOfMemory ? v.status : Status::BuildFailed,
                    .message = fmt::format("the process that compiled it {}{}", death.text, complaint)});
    }
  };

  std::vector<Worker*> busy;
  for (;;) {
    busy.clear();
    auto next_deadline = Clock::time_point::max();
    for (Hand& hand : hands_) {
      if (!hand.job && !todo.empty()) {
        const size_t job = todo.back();
        todo.pop_back();
        give(hand, job, jobs[job], false);
      }
      if (!hand.job) continue;
      busy.push_back(hand.worker.get());
      next_deadline = std::min(next_deadline, hand.deadline);
    }
    if (finished) {
      for (const size_t job : done) finished(job, replies[job]);
    }
    done.clear();
    if (busy.empty()) return replies;
    wait_for(busy, next_deadline);
    for (Hand& hand : hands_) {
      if (!hand.job) continue;
      std::string complaint;
      while (auto m = hand.worker->next()) {
        if (m->type != MessageType::Built) continue;
        BuildReply reply;
        try {
          decode(m->payload, reply);
        } catch (const UserError& e) {
          complaint = fmt::format("; {}", e.what());
          break;
        }
        if (reply.unknown) give(hand, *hand.job, jobs[*hand.job], true);
        else finish(hand, std::move(reply));
        break;
      }
      if (!hand.job) continue;
      if (!complaint.empty() || hand.worker->gone()) replace(hand, false, complaint);
      else if (Clock::now() >= hand.deadline) replace(hand, true, {});
    }
  }
}

// ---- running

RunnerClient::RunnerClient(Recruiter& recruiter, const Setup& setup, double timeout)
    : recruiter_(recruiter), setup_(setup), timeout_(timeout) {
  setup_.role = Role::Runner;
  worker_ = recruiter_.hire(setup_);
}

RunnerClient::Answer RunnerClient::ask(MessageType type, const std::string& payload, MessageType wanted,
                                       double timeout) {
  if (!worker_ || worker_->gone()) {
    worker_.reset();
    worker_ = recruiter_.hire(setup_);
  }
  worker_->send({type, ++request_, payload});
  auto deadline = after(timeout);
  Phase phase = Phase::Timing;
  std::string complaint;
  Worker* const one[] = {worker_.get()};
  while (complaint.empty()) {
    while (auto m = worker_->next()) {
      if (m->request != request_) complaint = "; it answered what was not asked";
      if (m->type == wanted) return {.message = std::move(m), .verdict = {Status::Ok}, .why = {}};
      if (m->type != MessageType::Phase) continue;
      try {
        decode(m->payload, phase);
      } catch (const UserError& e) {
        complaint = fmt::format("; {}", e.what());
      }
      deadline = after(phase == Phase::Reference ? std::max(reference_timeout, timeout) : timeout);
    }
    if (worker_->gone() || Clock::now() >= deadline) break;
    wait_for(one, deadline);
  }
  const bool late = complaint.empty() && !worker_->gone();
  const Death death = worker_->end();
  worker_.reset();
  if (phase == Phase::Reference) {
    return {.message = {}, .verdict = {Status::Lost},
            .why = fmt::format("the process that computed the reference answer {}", late ? "took too long" : death.text)};
  }
  if (late) {
    return {.message = {}, .verdict = {Status::TimedOut},
            .why = fmt::format("it was still running after {} s, while {}", timeout, name_of(phase))};
  }
  return {.message = {}, .verdict = verdict_of(death),
          .why = fmt::format("its process {} while {}{}", death.text, name_of(phase), complaint)};
}

RunReply RunnerClient::run(const RunRequest& r) {
  const std::string payload = encode(r);
  for (bool again = true;; again = false) {
    Answer a = ask(MessageType::Run, payload, MessageType::Ran, timeout_);
    if (a.verdict.lost && again) continue;
    RunReply reply{.status = a.verdict.status, .message = a.why};
    if (!a.message) return reply;
    try {
      decode(a.message->payload, reply);
    } catch (const UserError& e) {
      worker_.reset();
      reply = {.status = Status::Crashed, .message = fmt::format("its process damaged its own memory: {}", e.what())};
    }
    return reply;
  }
}

CompareReply RunnerClient::compare(const CompareRequest& r, double timeout) {
  CompareReply reply;
  Answer a = ask(MessageType::Compare, encode(r), MessageType::Compared, timeout);
  if (a.message) decode(a.message->payload, reply);
  else reply.failure = a.why;
  return reply;
}

}  // namespace burnish::search
