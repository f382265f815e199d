#include "driver/scheduled_target.h"

#include <utility>

namespace burnish {

namespace {

class ScheduledTarget final : public Target {
 public:
  ScheduledTarget(std::shared_ptr<const Target> target, Scheduler scheduler)
      : target_(std::move(target)), scheduler_(std::move(scheduler)) {}

  Schedule default_schedule(const StageGroup& g) const override { return scheduler_(g); }

  std::string text() const override { return target_->text(); }
  const Machine& machine() const override { return target_->machine(); }
  std::unique_ptr<Space> space(const StageGroup& g) const override { return target_->space(g); }
  double estimate_us(const StageGroup& g) const override { return target_->estimate_us(g); }
  bool prefers_one_nest(const StageGroup& g) const override { return target_->prefers_one_nest(g); }
  std::string emit(const Program& p, EmitKind kind) const override { return target_->emit(p, kind); }
  std::string build(const Program& p, const std::string& metadata) const override {
    return target_->build(p, metadata);
  }
  MemoryNeeds memory(const Program& p) const override { return target_->memory(p); }
  std::vector<std::string> required_features() const override { return target_->required_features(); }

 private:
  std::shared_ptr<const Target> target_;
  Scheduler scheduler_;
};

}  // namespace

std::shared_ptr<const Target> with_schedules(std::shared_ptr<const Target> target, Scheduler scheduler) {
  return std::make_shared<ScheduledTarget>(std::move(target), std::move(scheduler));
}

Scheduler plain_schedules() {
  return [](const StageGroup& g) { return Schedule(g); };
}

}  // namespace burnish
