#include "search/task.h"

#include <fmt/format.h>

#include <array>

#include "base/text.h"

namespace burnish::search {

namespace {

constexpr std::array<std::string_view, 9> names = {"ok",      "illegal",   "build_failed",  "build_timeout", "crashed",
                                                   "timed_out", "out_of_memory", "wrong", "lost"};

}  // namespace

std::string hash_text(std::string_view text) { return fmt::format("{:016x}", hash_bytes(text)); }

Task make_task(std::string name, StageGroup group, const Target& target) {
  Task t;
  t.name = std::move(name);
  t.workload = to_text(group);
  t.hash = hash_text(t.workload);
  t.space = target.space(group);
  t.group = std::move(group);
  return t;
}

std::string_view name_of(Status s) { return names[static_cast<size_t>(s)]; }

bool parse_status(std::string_view text, Status& s) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == text) {
      s = static_cast<Status>(i);
      return true;
    }
  }
  return false;
}

}  // namespace burnish::search
