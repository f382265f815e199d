// The commands of bench_search that need more than landscapes.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/search/landscape.h"

namespace burnish::search {

// How well the draft, the model, and the model with transfer order points of tasks that they were not trained on.
// A table.
std::string rank_table(const std::vector<Landscape>& all);

// What a search chose and the best of all points, from a database of each (of one workload), measured again, in turns.
// A JSON object: seconds of "chosen" and of "best", which is no slower.
std::string race_databases(const std::string& searched, const std::string& every, int threads);

// The search that a database recorded once more, with its seed and its times. Says whether it was the same search, byte
// for byte.
bool replay_database(const std::string& database, const std::string& model,
                     const std::map<std::string, std::vector<int64_t>>& shapes, int threads);

}  // namespace burnish::search
