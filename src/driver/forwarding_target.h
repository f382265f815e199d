// Another target, but for what a subclass overrides.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "target/target.h"

namespace burnish {

class ForwardingTarget : public Target {
 public:
  explicit ForwardingTarget(std::shared_ptr<const Target> target) : target_(std::move(target)) {}

  std::string text() const override { return target_->text(); }
  const Machine& machine() const override { return target_->machine(); }
  Schedule default_schedule(const StageGroup& g) const override {
    return target_->default_schedule(g);
  }
  std::unique_ptr<Space> space(const StageGroup& g) const override { return target_->space(g); }
  double estimate_us(const StageGroup& g) const override { return target_->estimate_us(g); }
  DType storage() const override { return target_->storage(); }
  DType weights() const override { return target_->weights(); }
  bool scales_operands() const override { return target_->scales_operands(); }
  bool prefers_one_nest(const StageGroup& g) const override { return target_->prefers_one_nest(g); }
  bool prefers_one_launch(std::span<const Function* const> f) const override { return target_->prefers_one_launch(f); }
  std::optional<double> nest_us(const StageGroup& g) const override { return target_->nest_us(g); }
  std::string emit(const Program& p, EmitKind kind) const override {
    return target_->emit(p, kind);
  }
  std::string build(const Program& p, const std::string& metadata) const override {
    return target_->build(p, metadata);
  }
  MemoryNeeds memory(const Program& p) const override { return target_->memory(p); }
  std::vector<std::string> required_features() const override {
    return target_->required_features();
  }

 private:
  std::shared_ptr<const Target> target_;
};

}  // namespace burnish
