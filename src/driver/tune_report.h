// The report of a search: one HTML file that needs nothing else.
#pragma once

#include <burnish/tune.h>

#include <filesystem>
#include <string>

#include "search/records.h"
#include "target/target.h"

namespace burnish {

// Curves of the best so far, predicted against measured order, share of peak, and which knobs won. `db` may be null:
// then without single trials. UserError when the file cannot be written.
void write_report(const std::filesystem::path& path, const std::string& model, const Target& target,
                  const TuneResult& result, const search::Database* db);

}  // namespace burnish
