// The schedules, cuts and algorithms that a search found and that won inside a model, as a compilation uses them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "driver/scheduled_target.h"

namespace burnish {

struct FoundSchedules {
  Scheduler scheduler;              // of winners; the target's own for all other kernels
  GroupHashes avoided;              // for with_avoided()
  // For people: no winners for this target, winners that no longer lower.
  std::shared_ptr<std::vector<std::string>> notes = std::make_shared<std::vector<std::string>>();
};

// Reads the winners of the target. UserError when the database cannot be read.
FoundSchedules found_schedules(const std::filesystem::path& records, std::shared_ptr<const Target> target);

}  // namespace burnish
