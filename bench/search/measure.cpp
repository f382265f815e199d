// Landscapes of whole spaces, measured here.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "bench/search/measure.h"
#include "search/candidates.h"
#include "search/explore/rng.h"
#include "search/explore/shuffle.h"
#include "search/measurer.h"

namespace burnish::search {

namespace {

// The part of what `burnish lower --task` prints that the stages are.
std::string stages_of(std::string text) {
  if (const size_t at = text.find("# stages\n"); at != text.npos) text = text.substr(at + 9);
  if (const size_t at = text.find("# schedule\n"); at != text.npos) text = text.substr(0, at);
  return text;
}

}  // namespace

Landscape measure_landscape(const std::filesystem::path& path, int threads,
                            const MeasuringOptions& options) {
  const std::shared_ptr<const Target> target = make_target("native", threads);
  const Task task = make_task(path.stem().string(), parse_stages(stages_of(read_file(path))), *target);
  require(task.space != nullptr, "{} has no space: it has one schedule", path.string());
  const Space& space = *task.space;
  const int64_t count = size_of(space);
  require(count < int64_t{1} << 40, "{} has a space of {} points", path.string(), count);

  Candidates candidates(task, target->machine());
  Landscape l{
      .task = task.name, .knobs = space.knobs(), .start = space.default_point(), .points = {}};
  // In a random order, so that a machine that slows down slows all alike; the default first, then
  // as many as wanted.
  const Shuffle order(static_cast<uint64_t>(count), options.seed);
  std::vector<Point> points = {l.start};
  for (int64_t i = 0; i < count && points.size() < options.points; ++i) {
    Point p = point_at(space, static_cast<int64_t>(order.at(static_cast<uint64_t>(i))));
    if (p == l.start || !(space.draft_us(p) < std::numeric_limits<double>::infinity())) continue;
    if (!candidates.at(p).trace.empty()) points.push_back(std::move(p));
  }
  const auto measurer = local_measurer(target, {});
  constexpr size_t batch = 64;
  for (size_t at = 0; at < points.size(); at += batch) {
    const size_t n = std::min(batch, points.size() - at);
    std::vector<Candidate> some;
    for (size_t i = 0; i < n; ++i)
      some.push_back({.task = &task, .trace = candidates.at(points[at + i]).trace});
    const std::vector<Outcome> outcomes = measurer->measure(some);
    for (size_t i = 0; i < n; ++i) {
      const Point& p = points[at + i];
      if (outcomes[i].status == Status::Lost) continue;
      const double seconds = options.least ? outcomes[i].timing.min : outcomes[i].timing.median;
      l.points[p] = {outcomes[i].status == Status::Ok && seconds > 0
                         ? seconds
                         : std::numeric_limits<double>::infinity(),
                     space.draft_us(p), candidates.at(p).features};
    }
    std::fprintf(stderr, "\r%s: %zu of %zu points", task.name.c_str(), at + n, points.size());
  }
  std::fprintf(stderr, "\n");
  return l;
}

}  // namespace burnish::search
