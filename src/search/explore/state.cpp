// The state of an explorer as text, and back. What comes back may have been edited or belong to
// something else.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "search/explore/explorer.h"

namespace burnish::search {

namespace {

using Json = nlohmann::json;

constexpr int version = 1;
constexpr size_t most_bytes = size_t{64} << 20;
constexpr int most_depth = 4;

Json parse(std::string_view text) {
  require(text.size() <= most_bytes, "the explorer's state has {} bytes; {} are possible",
          text.size(), most_bytes);
  const auto shallow = [](int depth, Json::parse_event_t, Json&) {
    require(depth <= most_depth,
            "the explorer's state is nested deeper than {} levels; start a new search", most_depth);
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), shallow);
  } catch (const Json::exception& e) {
    fail_user("the explorer's state is no JSON: {}; start a new search", e.what());
  }
}

const Json& field(const Json& object, const char* name) {
  const auto at = object.find(name);
  require(at != object.end(), "the explorer's state has no \"{}\"; start a new search", name);
  return *at;
}

uint64_t whole(const Json& value, const char* what, uint64_t limit) {
  require(value.is_number_unsigned() && value.get<uint64_t>() <= limit,
          "\"{}\" in the explorer's state is {}, no whole number from 0 to {}; start a new search",
          what, value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40), limit);
  return value.get<uint64_t>();
}

std::string text(const Json& value, const char* what) {
  require(value.is_string(), "\"{}\" in the explorer's state is no text; start a new search", what);
  return value.get<std::string>();
}

const Json& list(const Json& value, const char* what) {
  require(value.is_array(), "\"{}\" in the explorer's state is no list; start a new search", what);
  return value;
}

}  // namespace

// told: [point, seconds] a point; null instead of seconds: it failed, false: its answer was wrong.
std::string Explorer::state() const {
  Json told = Json::array();
  for (const Told& o : told_) {
    switch (o.kind) {
    case Told::Kind::Ok: told.push_back({o.point, o.seconds}); break;
    case Told::Kind::Failed: told.push_back({o.point, nullptr}); break;
    case Told::Kind::Wrong: told.push_back({o.point, false}); break;
    }
  }
  std::vector<uint64_t> asked(asked_.begin(), asked_.end());
  std::sort(asked.begin(), asked.end());
  const Json state = {{"tuner", kind_},
                      {"version", version},
                      {"space", lattice_.fingerprint()},
                      {"seed", seed_},
                      {"random", rng_.state()},
                      {"cursor", cursor_},
                      {"batches", batches_},
                      {"dry", dry_},
                      {"asked", asked},
                      {"told", std::move(told)}};
  return state.dump();
}

void Explorer::restore(std::string_view saved) {
  const Json state = parse(saved);
  require(state.is_object(), "the explorer's state is no object; start a new search");
  const std::string kind = text(field(state, "tuner"), "tuner");
  require(kind == kind_,
          "this is a state of the tuner {}, not of {}; choose that one or start a new search",
          kind.substr(0, 40), kind_);
  require(whole(field(state, "version"), "version", 1000000) == version,
          "the explorer's state is of another version of burnish; start a new search");
  require(text(field(state, "space"), "space") == lattice_.fingerprint(),
          "the explorer's state belongs to another space (the knobs differ); start a new search");
  const uint64_t any = ~uint64_t{0}, count = lattice_.count();
  const uint64_t seed = whole(field(state, "seed"), "seed", any);
  const uint64_t random = whole(field(state, "random"), "random", any);
  const uint64_t cursor = whole(field(state, "cursor"), "cursor", count);
  const uint64_t batches = whole(field(state, "batches"), "batches", any);
  const uint64_t dry = whole(field(state, "dry"), "dry", any);
  std::unordered_set<uint64_t> asked;
  std::unordered_map<uint64_t, size_t> where;
  std::vector<Told> told;
  const auto new_point = [&](const Json& value, const char* what) {
    require(count > 0, "the explorer's state has points of an empty space; start a new search");
    const uint64_t p = whole(value, what, count - 1);
    require(!asked.contains(p) && !where.contains(p),
            "the explorer's state has the point {} twice; start a new search", p);
    return p;
  };
  for (const Json& p : list(field(state, "asked"), "asked")) asked.insert(new_point(p, "asked"));
  double best = 0;
  for (const Json& o : list(field(state, "told"), "told")) {
    require(o.is_array() && o.size() == 2,
            "an outcome in the explorer's state is no pair; start a new search");
    Told outcome{new_point(o[0], "told"), Told::Kind::Failed, 0};
    if (o[1].is_number()) {
      outcome.kind = Told::Kind::Ok;
      outcome.seconds = o[1].get<double>();
      require(outcome.seconds > 0 && std::isfinite(outcome.seconds),
              "the explorer's state has a time of {} seconds; start a new search", outcome.seconds);
      if (best == 0 || outcome.seconds < best) best = outcome.seconds;
    } else {
      require(o[1].is_null() || o[1] == false, "an outcome in the explorer's state is neither a "
                                               "time nor null nor false; start a new search");
      if (o[1] == false) outcome.kind = Told::Kind::Wrong;
    }
    where.emplace(outcome.point, told.size());
    told.push_back(outcome);
  }
  if (seed != seed_) shuffle_ = Shuffle(count, seed);
  seed_ = seed;
  rng_ = Rng(random);
  cursor_ = cursor;
  batches_ = batches;
  dry_ = dry;
  best_ = best;
  asked_ = std::move(asked);
  where_ = std::move(where);
  told_ = std::move(told);
  illegal_.clear();
}

}  // namespace burnish::search
