#include "bench/search/landscape.h"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "tests/search/fake_space.h"

namespace burnish::search {

namespace {

using Json = nlohmann::json;

constexpr double infinity = std::numeric_limits<double>::infinity();

class RecordedSpace final : public Space {
 public:
  explicit RecordedSpace(const Landscape& l) : landscape_(l) {}
  const std::vector<Knob>& knobs() const override { return landscape_.knobs; }
  Point default_point() const override { return landscape_.start; }
  Result<Schedule> schedule(const Point&) const override {
    return Reason{"a recorded space has no schedules"};
  }
  double draft_us(const Point& p) const override {
    const auto at = landscape_.points.find(p);
    return at == landscape_.points.end() ? infinity : at->second.draft_us;
  }

 private:
  const Landscape& landscape_;
};

Json number_or_null(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

double positive_or_infinite(const Json& value, const char* what) {
  if (value.is_null()) return infinity;
  const double x = value.get<double>();
  require(x > 0 && std::isfinite(x), "\"{}\" is {}", what, x);
  return x;
}

Point point_of(const Json& value, const std::vector<Knob>& knobs) {
  const auto numbers = value.get<std::vector<uint64_t>>();
  require(numbers.size() == knobs.size(), "a point of {} knobs in a space of {}", numbers.size(),
          knobs.size());
  Point p;
  for (size_t i = 0; i < numbers.size(); ++i) {
    require(numbers[i] < knobs[i].values.size(), "the knob {} has no value {}", knobs[i].name,
            numbers[i]);
    p.push_back(static_cast<uint16_t>(numbers[i]));
  }
  return p;
}

}  // namespace

double Landscape::best() const {
  double best = infinity;
  for (const auto& [p, m] : points) best = std::min(best, m.seconds);
  return best;
}

std::string to_line(const Landscape& l) {
  Json knobs = Json::array(), points = Json::array();
  for (const Knob& k : l.knobs) knobs.push_back({{"name", k.name}, {"values", k.values}});
  for (const auto& [p, m] : l.points) {
    Json row = {{"point", p},
                {"seconds", number_or_null(m.seconds)},
                {"draft_us", number_or_null(m.draft_us)}};
    if (!m.features.empty()) row["features"] = m.features;
    points.push_back(std::move(row));
  }
  return Json{{"task", l.task}, {"knobs", knobs}, {"default", l.start}, {"points", points}}.dump() +
         "\n";
}

Landscape from_line(std::string_view line) {
  try {
    const Json json = Json::parse(line);
    Landscape l{.task = json.at("task").get<std::string>(), .knobs = {}, .start = {}, .points = {}};
    for (const Json& k : json.at("knobs")) {
      Knob knob{k.at("name").get<std::string>(), k.at("values").get<std::vector<int64_t>>()};
      require(!knob.values.empty() && knob.values.size() <= 65536, "the knob {} has {} values",
              knob.name, knob.values.size());
      l.knobs.push_back(std::move(knob));
    }
    l.start =
        json.contains("default") ? point_of(json["default"], l.knobs) : Point(l.knobs.size(), 0);
    for (const Json& row : json.at("points")) {
      Landscape::Measured m;
      m.seconds = positive_or_infinite(row.at("seconds"), "seconds");
      m.draft_us = positive_or_infinite(row.at("draft_us"), "draft_us");
      if (row.contains("features")) m.features = row["features"].get<Features>();
      require(m.features.empty() || m.features.size() == feature_names().size(),
              "a point has {} features, this version makes {}: record the landscape anew",
              m.features.size(), feature_names().size());
      l.points.emplace(point_of(row.at("point"), l.knobs), std::move(m));
    }
    return l;
  } catch (const Json::exception& e) {
    fail_user("no landscape: {}", e.what());
  }
}

std::vector<Landscape> read_landscapes(const std::filesystem::path& path, int threads) {
  std::ifstream in(path, std::ios::binary);
  require(in.good(), "cannot read {}", path.string());
  char start[15] = {};
  in.read(start, sizeof start);
  if (std::string_view(start, sizeof start) == "SQLite format 3")
    return landscapes_of_database(path, threads);
  in.clear();
  in.seekg(0);
  std::vector<Landscape> all;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    if (trim(line).empty()) continue;
    const ErrorContext context(fmt::format("reading line {} of {}", number, path.string()));
    all.push_back(from_line(line));
  }
  return all;
}

std::vector<Landscape> synthetic_landscapes(size_t count) {
  const std::vector<std::vector<size_t>> sizes = {
      {6, 2, 6, 7, 3}, {9, 6, 7, 3, 2, 3}, {7, 6, 5, 4, 3, 2}, {13, 5, 6, 3, 7}};
  std::vector<Landscape> all;
  for (size_t i = 0; i < count; ++i) {
    FakeSpace s(sizes[i % sizes.size()], 100 + i);
    s.illegal(0.3);
    Landscape l{
        .task = fmt::format("synthetic {}", i), .knobs = s.knobs(), .start = {}, .points = {}};
    for (int64_t n = 0; n < size_of(s); ++n) {
      const Point p = point_at(s, n);
      if (!s.lowers(p)) continue;
      // What a lowering could show: the knobs, and how neighbouring ones go together.
      Features f(feature_names().size(), 0);
      size_t at = 0;
      for (size_t k = 0; k < p.size() && at < f.size(); ++k) f[at++] = p[k];
      for (size_t k = 0; k + 1 < p.size() && at < f.size(); ++k) {
        f[at++] = static_cast<float>(p[k]) / static_cast<float>(s.knobs()[k].values.size()) +
                  static_cast<float>(p[k + 1]) / static_cast<float>(s.knobs()[k + 1].values.size());
      }
      if (at < f.size()) f[at] = static_cast<float>(std::log2(s.draft_us(p)));
      l.points.emplace(p, Landscape::Measured{s.seconds(p), s.draft_us(p), std::move(f)});
    }
    l.start = l.points.begin()->first;
    all.push_back(std::move(l));
  }
  return all;
}

std::shared_ptr<const Space> space_of(const Landscape& l) {
  return std::make_shared<RecordedSpace>(l);
}

}  // namespace burnish::search
