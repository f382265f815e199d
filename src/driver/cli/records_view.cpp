#include "driver/cli/records_view.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "driver/cli/commands.h"

namespace burnish::cli {

Pattern::Pattern(const std::string& text) {
  const int code = regcomp(&compiled_, text.c_str(), REG_EXTENDED | REG_NOSUB);
  if (code == 0) return;
  char why[200] = "";
  regerror(code, &compiled_, why, sizeof why);
  throw CLI::ValidationError(fmt::format("\"{}\" is no regular expression: {}", text, why));
}

namespace {

// The word that follows `before` at a line's beginning.
std::string word_after(const std::string& text, const std::string& before, size_t from = 0) {
  const size_t at = text.find(before, from);
  if (at == std::string::npos) return "";
  const size_t start = at + before.size();
  return text.substr(start, text.find_first_of(" ,:\n", start) - start);
}

// "f32[n:1, c:16]" -> "1x16"
std::string shape_of(const std::string& text, const std::string& stage) {
  const size_t at = text.find("compute " + stage + ": ");
  const size_t open = text.find('[', at), close = text.find(']', at);
  if (at == std::string::npos || open == std::string::npos || close == std::string::npos ||
      close < open)
    return "";
  std::string shape;
  for (size_t i = open; i < close; ++i) {
    if (text[i] != ':') continue;
    if (!shape.empty()) shape += 'x';
    for (++i; i < close && text[i] >= '0' && text[i] <= '9'; ++i) shape += text[i];
  }
  return shape;
}

}  // namespace

std::string task_name(const search::Record& r) {
  if (!r.foreign.empty()) return word_after(r.workload, r.foreign + " ");
  const std::string name = word_after(r.workload, "group ");
  const std::string shape = shape_of(r.workload, word_after(r.workload, "outputs "));
  return shape.empty() ? name : name + " " + shape;
}

std::string printable(const std::string& text, size_t width) {
  std::string out;
  std::vector<size_t> starts;  // of characters in `out`
  for (size_t i = 0; i < text.size();) {
    if (starts.size() == width) {
      out.resize(width > 3 ? starts[width - 3] : 0);
      return out + "...";
    }
    starts.push_back(out.size());
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t length = c < 0x80    ? 1
                          : c >= 0xf5 ? 0
                          : c >= 0xf0 ? 4
                          : c >= 0xe0 ? 3
                          : c >= 0xc2 ? 2
                                      : 0;
    const bool whole = length > 0 && i + length <= text.size() &&
                       std::all_of(text.begin() + i + 1, text.begin() + i + length,
                                   [](char x) { return (x & 0xc0) == 0x80; });
    const bool control = c < ' ' || c == 127 ||
                         (c == 0xc2 && whole && static_cast<unsigned char>(text[i + 1]) < 0xa0);
    out += control ? " " : whole ? text.substr(i, length) : "?";
    i += whole ? length : 1;
  }
  return out;
}

std::string time_text(double seconds) {
  if (seconds <= 0) return "-";
  if (seconds < 1e-3) return fmt::format("{:.4g} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.4g} ms", seconds * 1e3);
  return fmt::format("{:.4g} s", seconds);
}

std::string date_text(int64_t when) {
  return fmt::format("{:%Y-%m-%d %H:%M}", fmt::gmtime(static_cast<std::time_t>(when)));
}

void Table::print() const {
  std::vector<size_t> widths(rows_[0].size());
  const auto width = [](const std::string& s) {
    return static_cast<size_t>(
        std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  };
  for (const auto& row : rows_) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width(row[c]));
  }
  for (const auto& row : rows_) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      line += row[c];
      if (c + 1 < row.size()) line.append(widths[c] - width(row[c]) + 2, ' ');
    }
    fmt::print("{}\n", line);
  }
}

std::string TargetNumbers::number(const std::string& target) {
  const auto it = std::find(targets_.begin(), targets_.end(), target);
  const auto at = it - targets_.begin();
  if (it == targets_.end()) targets_.push_back(target);
  return fmt::to_string(at + 1);
}

void TargetNumbers::print() const {
  for (size_t i = 0; i < targets_.size(); ++i)
    fmt::print("target {}: {}\n", i + 1, printable(targets_[i], 2000));
}

}  // namespace burnish::cli
