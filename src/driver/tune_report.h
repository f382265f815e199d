// The report of a search: one HTML file that needs nothing else.
#pragma once

#include <burnish/tune.h>

#include <filesystem>
#include <string>

#include "driver/peak.h"

namespace burnish {

// Curves of the best so far, predicted against measured order, share of peak, and which knobs won.
// `model`: its name, for the title. Measures the roofs, about a second, of what ran on the CPU.
// UserError when the file cannot be written.
void write_report(const std::filesystem::path& path, const std::string& model,
                  const TuneResult& result, bool on_cpu = true);

// The same as text, with roofs from elsewhere. It is well-formed XML, too.
std::string report_text(const std::string& model, const TuneResult& result, const Roofs& roofs);

}  // namespace burnish
