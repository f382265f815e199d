#include "search/candidates.h"

#include <burnish/runtime.h>

#include "base/parallel.h"

namespace burnish::search {

namespace {

Candidates::Entry entry_of(const Task& task, const Machine& m, const Point& p) {
  Candidates::Entry e;
  const auto schedule = task.space->schedule(p);
  if (!schedule) {
    e.refusal = schedule.reason();
    return e;
  }
  const auto f = lower(*schedule);
  if (!f) {
    e.refusal = f.reason();
    return e;
  }
  e.features = features_of(*f, m, task.space->draft_us(p));
  e.trace = schedule->to_text();
  return e;
}

}  // namespace

int cpu_count() { return static_cast<int>(burnish_cpu_count()); }

const Candidates::Entry& Candidates::at(const Point& p) {
  auto& entry = entries_[p];
  if (!entry) entry = std::make_unique<Entry>(entry_of(*task_, *machine_, p));
  return *entry;
}

void Candidates::prepare(std::span<const Point> points) {
  std::vector<std::pair<const Point*, std::unique_ptr<Entry>*>> missing;
  for (const Point& p : points) {
    auto [it, fresh] = entries_.try_emplace(p);
    if (fresh) missing.emplace_back(&it->first, &it->second);
  }
  parallel_for(missing.size(), static_cast<size_t>(cpu_count()), [&](size_t i) {
    *missing[i].second = std::make_unique<Entry>(entry_of(*task_, *machine_, *missing[i].first));
  });
}

Result<Features> features_of_trace(const StageGroup& g, std::string_view trace, const Machine& m, double draft_us) {
  const auto s = replayed(g, trace);
  if (!s) return Reason{s.reason()};
  const auto f = lower(*s);
  if (!f) return Reason{f.reason()};
  return features_of(*f, m, draft_us);
}

}  // namespace burnish::search
