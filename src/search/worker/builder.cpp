// The worker that turns schedules into libraries.
#include <fmt/format.h>

#include <map>
#include <new>

#include "base/clock.h"
#include "base/error.h"
#include "search/measure/kernel.h"
#include "search/worker/worker.h"

namespace burnish::search {

struct Builder::State {
  std::shared_ptr<const Target> target, reference;  // plain schedules are for CPUs
  std::map<std::string, StageGroup> groups;  // by the hash of their text
};

Builder::Builder(const Setup& setup) : state_(std::make_unique<State>()) {
  state_->target = make_target(setup.target, setup.threads);
  state_->reference = setup.device ? make_target("native", setup.threads) : state_->target;
}

Builder::~Builder() = default;

BuildReply Builder::build(const BuildRequest& r) {
  const auto start = Clock::now();
  BuildReply reply;
  const auto fail = [&](Status status, std::string why) {
    reply.status = status;
    reply.message = std::move(why);
  };
  try {
    auto it = state_->groups.find(r.hash);
    if (it == state_->groups.end()) {
      if (r.workload.empty()) {
        reply.unknown = true;
        return reply;
      }
      constexpr size_t most = 4096;
      if (state_->groups.size() >= most) state_->groups.clear();
      it = state_->groups.emplace(r.hash, parse_stages(r.workload)).first;
    }
    const Target& target = r.plain ? *state_->reference : *state_->target;
    const Result<Schedule> s = r.plain ? plain_schedule(it->second, target.machine()) : replayed(it->second, r.trace);
    if (!s) {
      fail(Status::Illegal, s.reason());
    } else if (Result<Built> built = build_kernel(*s, target, r.verify, r.name); built.ok()) {
      reply.built = std::move(*built);
    } else {
      fail(Status::Illegal, built.reason());
    }
  } catch (const UserError& e) {  // stages that do not read
    fail(Status::Illegal, e.what());
  } catch (const std::bad_alloc&) {
    fail(Status::OutOfMemory, "compiling it took more memory than a worker may have");
  } catch (const std::exception& e) {
    fail(Status::BuildFailed, e.what());
  }
  reply.seconds = since(start);
  return reply;
}

}  // namespace burnish::search
