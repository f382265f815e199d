// What a measurement can be. The same limits hold for what comes from files, from databases and
// from our own workers.
#pragma once

#include "search/records.h"

namespace burnish::search {

constexpr double most_seconds = 1e6;
constexpr int64_t most_repeats = 1'000'000'000;
constexpr int most_threads = 4096;
constexpr int64_t last_when = 253'402'300'799;  // the year 9999
constexpr size_t most_text = size_t{4} << 20;   // bytes of a workload or a trace

// Why this can be no record, or nothing.
std::optional<std::string> implausible(const Trial& t);
std::optional<std::string> implausible(const Record& r);
std::optional<std::string> implausible(const Winner& w);

// A trial with impossible numbers becomes Lost, with the reason; the numbers become 0.
void make_plausible(Trial& t);

}  // namespace burnish::search
