// The report of a search: one HTML file that needs nothing else.
#pragma once

#include <burnish/tune.h>

#include <filesystem>
#include <string>

namespace burnish {

// What the machine reaches with as many threads as the search had (peak.h).
struct Roofs {
  double macs_per_second = 0, bytes_per_second = 0;
};

// Curves of the best so far, predicted against measured order, share of peak, and which knobs won.
// `model`: its name, for the title. Measures the roofs, about a second. UserError when the file
// cannot be written.
void write_report(const std::filesystem::path& path, const std::string& model,
                  const TuneResult& result);

// The same as text, with roofs from elsewhere. It is well-formed XML, too.
std::string report_text(const std::string& model, const TuneResult& result, const Roofs& roofs);

}  // namespace burnish
