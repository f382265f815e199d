#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "search/explore/explorer.h"

namespace burnish::search {

namespace {

struct Row {
  std::string_view name;
  std::unique_ptr<Tuner> (*make)(std::shared_ptr<const Space>, uint64_t);
};

constexpr std::array<Row, 5> rows = {{
    {"xgb", make_xgb},
    {"anneal", make_anneal},
    {"genetic", make_genetic},
    {"random", make_random},
    {"grid", make_grid},
}};

}  // namespace

std::unique_ptr<Tuner> make_tuner(std::string_view kind, std::shared_ptr<const Space> space,
                                  uint64_t seed) {
  for (const Row& row : rows) {
    if (row.name == kind) return row.make(std::move(space), seed);
  }
  fail_user("there is no tuner {:.40}; choose one of {}", kind, fmt::join(tuner_names(), ", "));
}

std::vector<std::string_view> tuner_names() {
  std::vector<std::string_view> names;
  for (const Row& row : rows) names.push_back(row.name);
  return names;
}

}  // namespace burnish::search
