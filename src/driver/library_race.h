// Libraries of one model against each other: built in a folder of their own, run in turns in a
// worker process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/temporary_folder.h"
#include "search/measurer.h"
#include "target/target.h"

namespace burnish {

class LibraryRace {
 public:
  LibraryRace(int threads, const search::MeasureOptions& options)
      : threads_(threads), options_(options) {}

  // Paths of the libraries; building is shared out among the CPUs.
  std::vector<std::string> build(const std::vector<std::function<std::string()>>& libraries);
  // UserError when they cannot be run.
  search::Comparison compare(const std::vector<std::string>& paths, double seconds, bool steps);

 private:
  int threads_;
  const search::MeasureOptions& options_;
  TemporaryFolder folder_;
  int built_ = 0;
};

// What outputs may differ by, over their root mean square, where a model is computed otherwise: each kernel is compared with its formula,
// this finds what goes wrong between them. Products of short factors round otherwise by some per cent (docs/numbers.md).
double most_deviation(const Target& t);

struct Speedup {
  double ratio = 1, noise = 0;  // half the width of a 95% interval
};
// Of whole runs in turns: the median of what neighbours in time show.
Speedup speedup_of(const std::vector<double>& before, const std::vector<double>& after);

}  // namespace burnish
