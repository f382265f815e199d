// A file of lines into a database: every line for itself, in transactions of many.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <istream>
#include <map>

#include "base/text.h"
#include "search/records/lines.h"
#include "search/records/plausible.h"

namespace burnish::search {

namespace {

constexpr size_t most_line = 4 * most_text;
constexpr size_t most_told = 1000;
constexpr size_t batch = 500;

// Lines of a stream, whatever is in it: a line longer than `most_line` is skipped without being
// held.
class Lines {
 public:
  explicit Lines(std::istream& in) : in_(in) {}

  // False at the end. `too_long`: how many bytes a line has that is not given.
  bool next(std::string& line, size_t& too_long) {
    line.clear();
    too_long = 0;
    for (bool any = false;; any = true) {
      if (at_ == end_ && !fill()) return any;
      const char* start = buffer_.data() + at_;
      const auto* newline = static_cast<const char*>(std::memchr(start, '\n', end_ - at_));
      const size_t length = newline ? static_cast<size_t>(newline - start) : end_ - at_;
      if (too_long || line.size() + length > most_line) {
        too_long = (too_long ? too_long : line.size()) + length;
        line.clear();
      } else {
        line.append(start, length);
      }
      at_ += length + (newline ? 1 : 0);
      if (newline) return true;
    }
  }

 private:
  bool fill() {
    in_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    at_ = 0;
    end_ = static_cast<size_t>(in_.gcount());
    return end_ > 0;
  }

  std::istream& in_;
  std::array<char, 1 << 16> buffer_;
  size_t at_ = 0, end_ = 0;
};

class Importer {
 public:
  explicit Importer(Database& db) : db_(db) {}

  void line(const std::string& text, int64_t number) {
    const std::string_view trimmed = trim(text);
    if (trimmed.empty() || trimmed.front() == '#') return;
    if (trimmed.front() != '{') {
      if (std::count(trimmed.begin(), trimmed.end(), '\t') >= 3) {
        refuse_line(number, "pickled Python objects, AutoTVM's other form: reading them would run "
                            "code; write the log as JSON");
      } else {
        refuse_line(number, "no JSON object");
      }
      return;
    }
    auto json = parse_json(trimmed);
    if (!json) return refuse_line(number, json.reason());
    if (is_autotvm(*json)) {
      auto r = autotvm_record(*json);
      if (!r) return refuse_line(number, "AutoTVM: " + r.reason());
      if (report_.foreign++ == 0) first_foreign_ = number;
      return add(std::move(*r));
    }
    if (json->is_object() && json->contains("burnish_winner")) {
      auto w = reader_.winner(*json);
      if (!w) return refuse_line(number, "winner: " + w.reason());
      winners_.push_back(std::move(*w));
      return;
    }
    auto r = reader_.record(*json);
    if (!r) return refuse_line(number, r.reason());
    add(std::move(*r));
  }

  void too_long(size_t bytes, int64_t number) {
    refuse_line(number, fmt::format("{} bytes long, more than a record can be", bytes));
  }

  ImportReport end() {
    flush();
    add_winners();
    if (report_.foreign > 0) {
      report_.notes.push_back(fmt::format(
          "{} line{} of AutoTVM, from line {} on: workload, target, cost and knobs are kept for "
          "listing; no code can be made "
          "from them: the knobs belong to TVM's templates, the workload names an operator and not "
          "its loops, there is no "
          "machine, number of threads or seed, and times of measuring are cut to seconds",
          report_.foreign, report_.foreign == 1 ? "" : "s", first_foreign_));
    }
    return std::move(report_);
  }

 private:
  void add(Record r) {
    waiting_.push_back(std::move(r));
    if (waiting_.size() >= batch) flush();
  }

  void flush() {
    const int64_t added = db_.add_new(waiting_);
    report_.imported += added;
    report_.duplicates += static_cast<int64_t>(waiting_.size()) - added;
    waiting_.clear();
  }

  // Later than the records, so that an interrupted import leaves no winner without them.
  void add_winners() {
    std::map<std::pair<std::string, std::string>, int64_t> there;
    for (const Winner& w : db_.winners("")) there[{w.workload_hash, w.target}] = w.when;
    for (const Winner& w : winners_) {
      const auto [it, fresh] = there.try_emplace({w.workload_hash, w.target}, w.when);
      if (!fresh && it->second >= w.when) continue;
      it->second = w.when;
      db_.add_winner(w);
      ++report_.winners;
    }
  }

  void refuse_line(int64_t number, const std::string& why) {
    if (++report_.refused_lines <= static_cast<int64_t>(most_told)) {
      report_.refused.push_back(fmt::format("line {}: {}", number, why));
    }
  }

  Database& db_;
  LineReader reader_;
  std::vector<Record> waiting_;
  std::vector<Winner> winners_;
  ImportReport report_;
  int64_t first_foreign_ = 0;
};

}  // namespace

ImportReport import_lines(Database& db, std::istream& in) {
  Importer importer(db);
  Lines lines(in);
  std::string line;
  size_t too_long = 0;
  for (int64_t number = 1; lines.next(line, too_long); ++number) {
    if (too_long) {
      importer.too_long(too_long, number);
    } else {
      importer.line(line, number);
    }
  }
  return importer.end();
}

}  // namespace burnish::search
