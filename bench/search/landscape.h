// Recorded landscapes: tasks whose points were measured once, so that explorers can be compared at
// leisure, on equal terms and on any machine. The format of the files is in README.md.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "search/cost_model.h"

namespace burnish::search {

struct Landscape {
  struct Measured {
    double seconds = 0;  // infinite: the candidate failed
    double draft_us = 0;
    Features features;  // empty: none recorded
  };
  std::string task;
  std::vector<Knob> knobs;
  Point start;                       // the default point
  std::map<Point, Measured> points;  // all others are illegal

  double best() const;  // seconds; infinite: none ran
};

// One line, with its newline.
std::string to_line(const Landscape& l);
// UserError that says what is wrong.
Landscape from_line(std::string_view line);

// Landscapes of a file: JSON lines, or a database of records (one landscape a workload; drafts and
// features are made anew for this machine).
std::vector<Landscape> read_landscapes(const std::filesystem::path& path, int threads);
std::vector<Landscape> landscapes_of_database(const std::filesystem::path& path, int threads);

// Made up: `count` spaces of 1,500 to 25,000 points, the landscape of the explorers' tests.
std::vector<Landscape> synthetic_landscapes(size_t count);

// The space as explorers see it.
std::shared_ptr<const Space> space_of(const Landscape& l);

}  // namespace burnish::search
