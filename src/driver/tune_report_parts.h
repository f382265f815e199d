// The sections of a search's report.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "driver/report_parts.h"
#include "driver/tune_report.h"

namespace burnish::report {

// The knobs of "rows=6 vectors=2"; nothing of "default".
std::vector<std::pair<std::string, std::string>> knobs_of(std::string_view text);

// ---- Sections of the report, each with its heading; empty where there is nothing to show.
std::string head_section(const std::string& model, const TuneResult& r, const Roofs& roofs);
std::string task_section(const TuneResult& r, const Roofs& roofs);
std::string curve_section(const TuneResult& r);
std::string order_section(const TuneResult& r);
std::string roofline_section(const TuneResult& r, const Roofs& roofs);
std::string knob_section(const TuneResult& r);

}  // namespace burnish::report
