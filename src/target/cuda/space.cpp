// From a group's stages to blocks and threads: what is cheap is inlined; then the ways of ways.cpp.
#include "target/cuda/space.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "target/cuda/dialect.h"
#include "target/cuda/ways.h"

namespace burnish::cuda_target {

namespace {

// Points of products that are read along one another, as one axis: of rows, and of images, none of a tile then lies outside. (n, y, x)
void join_points(Schedule& s) {
  const StageGroup& g = s.group();
  if (std::ranges::none_of(g.stages, [](const Stage& x) { return x.is_compute() && is_product(x); })) return;
  const Stage out = g[g.outputs.back()];
  const std::vector<uint32_t> order = physical_order(out);
  for (size_t i = order.size(); i > 2; --i) {  // channels are last
    const Axis &outer = out.axes[order[i - 3]], &inner = out.axes[order[order.size() - 2]];
    if (outer.extent == 1) continue;
    Schedule t = s;
    t.join_axes(out.name, outer.name, inner.name);
    if (t.failure()) return;
    s = t;
  }
}

Schedule inlined(const StageGroup& g, const Device& d) {
  Schedule s(g);
  inline_cheap(s);
  join_points(s);
  // Products scale their data anew for every warp that loads it: less than another kernel.
  for (const Stage& x : s.group().stages) {
    if (!x.is_compute() || x.is_reduction() || !is_scaled(x.body)) continue;
    Schedule t = s;
    t.inline_stage(x.name);
    if (!t.failure() && (scales_operand(t, d) || pair_cycles(t, d))) return t;
  }
  return s;
}

Precision precision_of(const Device& d) {
  if (d.halves()) return d.storage == DType::F16 ? Precision::Fp16 : Precision::Bf16;
  return d.products > 1 ? Precision::Strict : Precision::Tf32;
}

// Whether a block's memory holds what its threads share: tiles are chosen by estimates of that.
bool fits(const Schedule& s, const Device& d) {
  const Result<Function> f = lower(s);
  if (!f) return false;
  return std::ranges::all_of(c_like::kernels_of(*f, dialect(precision_of(d), cluster_of(d))), [&](const c_like::Kernel& k) { return k.block_bytes <= d.block_bytes; });
}

struct Choice {
  size_t way, variant;
  friend bool operator==(const Choice&, const Choice&) = default;
};

// What the default schedule takes.
std::pair<Choice, Schedule> first_that_fits(const Schedule& s, const std::vector<Way>& ways, const Device& d) {
  for (size_t w = 0; w < ways.size(); ++w) {
    for (size_t v = 0; v < std::min(most_tried, ways[w].variants.size()); ++v) {
      Schedule t = s;
      if (ways[w].variants[v].apply(t) && fits(t, d)) return {{w, v}, std::move(t)};
    }
  }
  check(false, "no way lays {} out for a GPU", s.group().name);
  return {{0, 0}, s};
}

class WaysSpace : public Space {
 public:
  WaysSpace(const StageGroup& g, const Device& d)
      : device_(d), schedule_(inlined(g, d)), ways_(ways_of(schedule_, d)) {
    knobs_.push_back({.name = "way", .values = {}, .labels = {}});
    // The ways take turns: their estimates are not of one kind.
    for (size_t v = 0; v < most_of_a_way; ++v) {
      for (size_t w = 0; w < ways_.size(); ++w) {
        if (v >= ways_[w].variants.size()) continue;
        const Way& way = ways_[w];
        knobs_[0].values.push_back(std::ssize(choices_));
        knobs_[0].labels.push_back(
            way.variants[v].name.empty() ? way.name : way.name + ":" + way.variants[v].name);
        choices_.push_back({w, v});
      }
    }
  }

  const std::vector<Knob>& knobs() const override { return knobs_; }

  Point default_point() const override {
    std::call_once(once_, [&] {
      const Choice c = first_that_fits(schedule_, ways_, device_).first;
      default_ = static_cast<uint16_t>(std::ranges::find(choices_, c) - choices_.begin());
    });
    return {default_};
  }

  Result<Schedule> schedule(const Point& p) const override {
    const Choice c = choices_.at(p.at(0));
    Schedule s = schedule_;
    if (!ways_[c.way].variants[c.variant].apply(s))
      return Reason{fmt::format("{} does not lower for this group", knobs_[0].text(p[0]))};
    if (!fits(s, device_)) return Reason{fmt::format("{} needs more memory than a block has", knobs_[0].text(p[0]))};
    return s;
  }

  double draft_us(const Point& p) const override { return static_cast<double>(p.at(0)) + 1; }

 private:
  static constexpr size_t most_of_a_way = 64;
  static_assert(most_of_a_way >= most_tried);  // the default is a point
  Device device_;
  Schedule schedule_;
  std::vector<Way> ways_;
  std::vector<Choice> choices_;  // by value of the knob
  std::vector<Knob> knobs_;
  mutable std::once_flag once_;
  mutable uint16_t default_ = 0;
};

}  // namespace

bool prefers_one_kernel(const StageGroup& g, const Device& d) {
  const Schedule s = inlined(g, d);
  return chain_pays(s, d) || pair_pays(s, d) || added_pays(s, d) || !attention_tiles(s, d).empty() || !squeeze_tiles(s, d).empty() || scales_operand(s, d);
}

double kernel_us(const StageGroup& g, const Device& d) {
  constexpr double cycles_of_us = 1700;
  return network_cycles(inlined(g, d), d) / cycles_of_us;
}

Schedule default_schedule(const StageGroup& g, const Device& d) {
  const Schedule s = inlined(g, d);
  return first_that_fits(s, ways_of(s, d), d).second;
}

std::unique_ptr<Space> make_space(const StageGroup& g, const Device& d) {
  return std::make_unique<WaysSpace>(g, d);
}

}  // namespace burnish::cuda_target
