#include "driver/plain_target.h"

#include <utility>

namespace burnish {

namespace {

class PlainTarget final : public Target {
 public:
  explicit PlainTarget(std::shared_ptr<const Target> target) : target_(std::move(target)) {}

  Schedule default_schedule(const StageGroup& g) const override { return Schedule(g); }

  std::string text() const override { return target_->text(); }
  const Machine& machine() const override { return target_->machine(); }
  std::string emit(const Program& p, EmitKind kind) const override { return target_->emit(p, kind); }
  std::string build(const Program& p, const std::string& metadata) const override {
    return target_->build(p, metadata);
  }
  MemoryNeeds memory(const Program& p) const override { return target_->memory(p); }
  std::vector<std::string> required_features() const override { return target_->required_features(); }

 private:
  std::shared_ptr<const Target> target_;
};

}  // namespace

std::shared_ptr<const Target> with_plain_schedules(std::shared_ptr<const Target> target) {
  return std::make_shared<PlainTarget>(std::move(target));
}

}  // namespace burnish
