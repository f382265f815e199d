// What a search looks like: a table that is drawn anew on a terminal, a line now and then elsewhere; a summary at the end.
#pragma once

#include <burnish/tune.h>

#include <cstdio>
#include <string>

namespace burnish::cli {

class TuneView {
 public:
  explicit TuneView(std::FILE* out);
  ~TuneView() { end(); }
  TuneView(const TuneView&) = delete;
  TuneView& operator=(const TuneView&) = delete;
  void show(const TuneProgress& p);
  void end();  // leaves the last table where it is

 private:
  void redraw(const TuneProgress& p);
  std::FILE* out_;
  bool terminal_;
  size_t lines_ = 0;         // of the table on the terminal
  double last_line_ = -1e9;  // when the last plain line was printed, seconds
  std::string phase_;
};

std::string summary_text(const TuneResult& r, const std::string& records);

}  // namespace burnish::cli
