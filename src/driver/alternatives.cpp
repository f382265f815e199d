#include "driver/alternatives.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/clock.h"
#include "base/error.h"

namespace burnish {

namespace {

constexpr int most_rounds = 3;
constexpr double least_share =
    0.02;  // of the model's multiply-adds or bytes: lighter tasks are left as they are
constexpr double least_gain = 0.98;  // of the steps' time before

GroupHashes symmetric_difference(const GroupHashes& a, const GroupHashes& b) {
  GroupHashes out;
  std::ranges::set_symmetric_difference(a, b, std::inserter(out, out.end()));
  return out;
}

// One choice of every heavy task.
GroupHashes untried(const ModelTasks& m, const GroupHashes& tried) {
  double macs = 0, bytes = 0;
  for (const search::Task& t : m.tasks) {
    macs += t.weight * static_cast<double>(t.macs);
    bytes += t.weight * static_cast<double>(t.bytes);
  }
  GroupHashes out;
  for (size_t i = 0; i < m.tasks.size(); ++i) {
    const search::Task& t = m.tasks[i];
    if (t.weight * static_cast<double>(t.macs) < least_share * macs &&
        t.weight * static_cast<double>(t.bytes) < least_share * bytes) {
      continue;
    }
    const auto next = std::ranges::find_if(
        m.choices[i], [&](const std::string& h) { return !tried.contains(h); });
    if (next != m.choices[i].end()) out.insert(*next);
  }
  return out;
}

// Names that belong together.
class Sets {
 public:
  std::string of(const std::string& name) {
    const std::string& up = up_.try_emplace(name, name).first->second;
    if (up == name) return name;
    std::string root = of(up);
    up_[name] = root;
    return root;
  }
  void unite(const std::string& a, const std::string& b) { up_[of(a)] = of(b); }

 private:
  std::map<std::string, std::string> up_;
};

}  // namespace

std::vector<Change> changes_between(const ModelTasks& a, const std::vector<double>& seconds_a,
                                    const ModelTasks& b, const std::vector<double>& seconds_b,
                                    const GroupHashes& toggled) {
  Sets sets;
  const auto unite = [&](const ModelTasks& m) {
    for (size_t s = 0; s < m.sources_of_step.size(); ++s) {
      const auto& sources = m.sources_of_step[s];
      for (const std::string& name : sources) sets.unite("node " + name, "node " + sources.front());
      for (const std::string& h : m.choices[m.task_of_step[s]]) {
        if (!sources.empty() && toggled.contains(h))
          sets.unite("group " + h, "node " + sources.front());
      }
    }
  };
  unite(a);
  unite(b);

  struct Part {
    Change change;
    std::multiset<std::string> kernels[2];
    std::set<std::string> nodes;
  };
  std::map<std::string, Part> parts;
  for (const std::string& h : toggled) parts[sets.of("group " + h)].change.groups.insert(h);
  const auto add = [&](const ModelTasks& m, const std::vector<double>& seconds, int side,
                       double Change::* sum) {
    check(seconds.size() == m.task_of_step.size(), "{} steps were timed, there are {}",
          seconds.size(), m.task_of_step.size());
    for (size_t s = 0; s < seconds.size(); ++s) {
      if (m.sources_of_step[s].empty()) continue;
      const auto part = parts.find(sets.of("node " + m.sources_of_step[s].front()));
      if (part == parts.end()) continue;
      part->second.change.*sum += seconds[s];
      part->second.kernels[side].insert(m.tasks[m.task_of_step[s]].hash);
      part->second.nodes.insert(m.sources_of_step[s].begin(), m.sources_of_step[s].end());
    }
  };
  add(a, seconds_a, 0, &Change::before);
  add(b, seconds_b, 1, &Change::after);
  std::vector<Change> changes;
  for (auto& [root, part] : parts) {
    // Where nothing else could be chosen the same kernels stand on both sides.
    if (part.kernels[0] == part.kernels[1]) continue;
    part.change.sources.assign(part.nodes.begin(), part.nodes.end());
    changes.push_back(std::move(part.change));
  }
  return changes;
}

bool has_alternatives(const ModelTasks& m) { return !m.avoided.empty() || !untried(m, {}).empty(); }

Alternatives race_alternatives(const ModelTasks& m, const Scheduler& scheduler, double seconds,
                               double deadline, const search::MeasureOptions& options) {
  const auto start = Clock::now();
  LibraryRace race(m.target->machine().threads, options);
  const auto library = [&](const ModelTasks& of) {
    return [&] { return library_with(of, scheduler); };
  };
  Alternatives now{.model = m};
  GroupHashes tried;
  std::string first, path;
  for (int round = 0; round < most_rounds; ++round) {
    if (round > 0 && since(start) > deadline) break;
    const bool again = round == 0 && !m.avoided.empty();
    const GroupHashes toggled = again ? m.avoided : untried(now.model, tried);
    if (toggled.empty()) break;
    tried.insert(toggled.begin(), toggled.end());
    ModelTasks other = avoiding(now.model, symmetric_difference(now.model.avoided, toggled));
    std::string other_path;
    if (path.empty()) {
      const auto paths = race.build({library(now.model), library(other)});
      first = path = paths[0];
      other_path = paths[1];
    } else {
      other_path = race.build({library(other)})[0];
    }
    const auto faster = [&] {
      const search::Comparison c = race.compare({path, other_path}, seconds / 6, true);
      std::vector<Change> changes =
          changes_between(now.model, c.steps.at(0), other, c.steps.at(1), toggled);
      if (!(c.deviation.at(1) <= most_deviation(*m.target))) changes.clear();
      std::erase_if(changes, [](const Change& x) { return !(x.after < least_gain * x.before); });
      return changes;
    };
    // Twice: of many differences some are luck.
    const std::vector<Change> once = faster();
    if (once.empty()) continue;
    GroupHashes won;
    for (Change& change : faster()) {
      if (std::ranges::find(once, change.groups, &Change::groups) == once.end()) continue;
      won.insert(change.groups.begin(), change.groups.end());
      now.changes.push_back(std::move(change));
    }
    if (won.empty()) continue;
    if (won == toggled) {
      now.model = std::move(other);
      path = other_path;
    } else {
      now.model = avoiding(now.model, symmetric_difference(now.model.avoided, won));
      path = race.build({library(now.model)})[0];
    }
  }
  if (now.changes.empty()) return {.model = m};
  const search::Comparison whole = race.compare({first, path}, seconds / 2, false);
  now.speedup = speedup_of(whole.runs.at(0), whole.runs.at(1));
  const bool pays =
      now.speedup.ratio - now.speedup.noise > 1 && whole.deviation.at(1) <= most_deviation(*m.target);
  if (!pays) return {.model = m};
  return now;
}

}  // namespace burnish
