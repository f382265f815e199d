// One line of the portable form, checked.
#pragma once

#include <set>
#include <variant>

#include "search/records.h"
#include "search/records/json_fields.h"

namespace burnish::search {

// Lines of one file name the same few workloads, targets and traces again and again: what was found
// good is remembered.
class LineReader {
 public:
  // `with_workload`: its text has to be there, and right.
  Result<Record> record(const Json& line, bool with_workload = true);
  Result<Winner> winner(const Json& line);

 private:
  std::string target(const Fields& f, int threads);
  std::string trace(const Fields& f);
  void check_workload(const std::string& text);

  bool known(std::set<std::string>& set, const std::string& text) const;
  std::set<std::string> good_targets_, good_workloads_, good_traces_;
};

// AutoTVM's log lines, of all its versions: a record with `foreign` set.
bool is_autotvm(const Json& line);
Result<Record> autotvm_record(const Json& line);

}  // namespace burnish::search
