#include "driver/scheduled_target.h"

#include <limits>
#include <utility>

#include "driver/forwarding_target.h"
#include "search/task.h"

namespace burnish {

namespace {

class ScheduledTarget final : public ForwardingTarget {
 public:
  ScheduledTarget(std::shared_ptr<const Target> target, Scheduler scheduler)
      : ForwardingTarget(std::move(target)), scheduler_(std::move(scheduler)) {}

  Schedule default_schedule(const StageGroup& g) const override { return scheduler_(g); }

 private:
  Scheduler scheduler_;
};

class AvoidingTarget final : public ForwardingTarget {
 public:
  AvoidingTarget(std::shared_ptr<const Target> target, GroupHashes avoided, GroupHashes* offered)
      : ForwardingTarget(std::move(target)), avoided_(std::move(avoided)), offered_(offered) {}

  double estimate_us(const StageGroup& g) const override {
    constexpr double never = std::numeric_limits<double>::infinity();
    const double us = ForwardingTarget::estimate_us(g);
    return us < never && avoids(g) ? never : us;
  }

  bool prefers_one_nest(const StageGroup& g) const override {
    return ForwardingTarget::prefers_one_nest(g) && !avoids(g);
  }

 private:
  bool avoids(const StageGroup& g) const {
    if (avoided_.empty() && offered_ == nullptr) return false;
    std::string hash = search::hash_text(to_text(g));
    const bool avoided = avoided_.contains(hash);
    if (offered_ != nullptr) offered_->insert(std::move(hash));
    return avoided;
  }

  GroupHashes avoided_;
  GroupHashes* offered_;
};

}  // namespace

std::shared_ptr<const Target> with_schedules(std::shared_ptr<const Target> target, Scheduler scheduler) {
  return std::make_shared<ScheduledTarget>(std::move(target), std::move(scheduler));
}

std::shared_ptr<const Target> with_avoided(std::shared_ptr<const Target> target, GroupHashes avoided,
                                           GroupHashes* offered) {
  return std::make_shared<AvoidingTarget>(std::move(target), std::move(avoided), offered);
}

Scheduler plain_schedules() {
  return [](const StageGroup& g) { return Schedule(g); };
}

}  // namespace burnish
