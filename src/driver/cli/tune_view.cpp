#include "driver/cli/tune_view.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

namespace burnish::cli {

namespace {

constexpr double seconds_between_lines = 5;

// "1.234 ms", "56.7 us"
std::string time_text(double seconds) {
  if (seconds <= 0) return "-";
  return seconds >= 1e-3 ? fmt::format("{:.3f} ms", seconds * 1e3) : fmt::format("{:.1f} us", seconds * 1e6);
}

std::string gain_text(double before, double after) {
  return before > 0 && after > 0 ? fmt::format("{:.2f}x", before / after) : "-";
}

// Cut in the middle where a name is too long for its column.
std::string fitted(const std::string& s, size_t width) {
  if (s.size() <= width) return s;
  const size_t tail = (width - 2) / 2;
  return s.substr(0, width - 2 - tail) + ".." + s.substr(s.size() - tail);
}

// By weight in the model's time, heaviest first.
std::vector<size_t> by_share(const std::vector<TunedTask>& tasks) {
  std::vector<size_t> order(tasks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater{},
                           [&](size_t i) { return tasks[i].weight * tasks[i].default_seconds; });
  return order;
}

double total(const std::vector<TunedTask>& tasks) {
  double sum = 0;
  for (const TunedTask& t : tasks) sum += t.weight * t.default_seconds;
  return sum;
}

std::string status_line(const TuneProgress& p) {
  const std::string left = p.limit > 0 ? fmt::format("{:.0f} s left", std::max(0.0, p.limit - p.elapsed)) : "no time limit";
  if (p.phase == "alternatives") return fmt::format("{:5.0f} s  trying other cuts and algorithms, {}", p.elapsed, left);
  if (p.phase != "search") return fmt::format("{:5.0f} s  comparing inside the model, {}", p.elapsed, left);
  return fmt::format("{:5.0f} s  {} trials ({:.0f}/s), model about {} -> {} ({}), {}", p.elapsed, p.trials,
                     p.elapsed > 0 ? static_cast<double>(p.trials) / p.elapsed : 0, time_text(p.default_seconds),
                     time_text(p.best_seconds), gain_text(p.default_seconds, p.best_seconds), left);
}

std::string task_line(const TunedTask& t, double share, bool current, size_t name_width) {
  return fmt::format("{} {:<{}} {:>4.1f}% {:>11} {:>11} {:>6} {:>6} {}", current ? '>' : ' ', fitted(t.name, name_width),
                     name_width, 100 * share, time_text(t.default_seconds), time_text(t.best_seconds),
                     gain_text(t.default_seconds, t.best_seconds), t.trials, t.knobs);
}

}  // namespace

TuneView::TuneView(std::FILE* out) : out_(out), terminal_(::isatty(::fileno(out)) != 0) {}

void TuneView::show(const TuneProgress& p) {
  if (terminal_) {
    redraw(p);
  } else if (p.elapsed - last_line_ >= seconds_between_lines || p.phase != phase_) {
    fmt::print(out_, "{}\n", status_line(p));
    last_line_ = p.elapsed;
  }
  phase_ = p.phase;
  std::fflush(out_);
}

void TuneView::redraw(const TuneProgress& p) {
  winsize size{};
  const bool known = ::ioctl(::fileno(out_), TIOCGWINSZ, &size) == 0 && size.ws_col > 40 && size.ws_row > 6;
  const size_t columns = known ? size.ws_col : 100, rows = known ? size.ws_row : 24;
  constexpr size_t name_width = 28;
  std::vector<std::string> lines = {
      fmt::format("  {:<{}} {:>5} {:>11} {:>11} {:>6} {:>6} {}", "task", name_width, "share", "default", "best", "gain",
                  "trials", "best choice")};
  const double all = total(*p.tasks);
  std::vector<size_t> order = by_share(*p.tasks);
  const size_t shown = std::min(order.size(), rows - 4);
  for (size_t i = 0; i < shown; ++i) {
    const TunedTask& t = (*p.tasks)[order[i]];
    lines.push_back(task_line(t, all > 0 ? t.weight * t.default_seconds / all : 0,
                              p.phase == "search" && order[i] == p.current, name_width));
  }
  if (shown < order.size()) lines.push_back(fmt::format("  ... and {} more", order.size() - shown));
  lines.push_back(status_line(p));
  std::string text;
  if (lines_ > 0) text += fmt::format("\033[{}A", lines_);
  for (const std::string& line : lines) text += "\r" + line.substr(0, columns - 1) + "\033[K\n";
  text += "\033[J";
  lines_ = lines.size();
  fmt::print(out_, "{}", text);
}

void TuneView::end() { lines_ = 0; }

std::string summary_text(const TuneResult& r, const std::string& records) {
  std::string text = fmt::format("{:<32} {:>4} {:>11} {:>11} {:>6} {:>6}  {}\n", "task", "runs", "default", "tuned", "gain",
                                 "trials", "choice");
  size_t used = 0;
  for (const TunedTask& t : r.tasks) {
    used += t.used;
    const bool compared = t.model_default_seconds > 0;
    const double before = compared ? t.model_default_seconds / t.weight : t.default_seconds;
    const double after = compared ? t.model_tuned_seconds / t.weight : t.default_seconds;
    text += fmt::format("{:<32} {:>4.0f} {:>11} {:>11} {:>6} {:>6}  {}\n", fitted(t.name, 32), t.weight, time_text(before),
                        time_text(after), gain_text(before, after), t.trials, t.used ? t.knobs : "default");
  }
  text += fmt::format("\n{} trials in {:.0f} s ({:.1f} a second), {} of {} tasks use what was found; {}\n", r.trials,
                      r.search_seconds, r.search_seconds > 0 ? static_cast<double>(r.trials) / r.search_seconds : 0, used,
                      r.tasks.size(), r.stopped);
  text += fmt::format("{:.0f} s choosing candidates, {:.0f} s learning, {:.0f} s measuring (running them {:.0f} s)\n",
                      r.proposing_seconds, r.learning_seconds, r.measuring_seconds, r.running_seconds);
  for (const std::string& change : r.changed) text += change + "\n";
  for (const std::string& note : r.notes) text += note + "\n";
  text += fmt::format("model, measured in turns: default {} -> tuned {}: {:.3f}x +- {:.3f}\n", time_text(r.default_seconds),
                      time_text(r.tuned_seconds), r.speedup, r.speedup_noise);
  if (used > 0 || !r.changed.empty()) text += fmt::format("burnish compile MODEL --records {} -o model.so uses it\n", records);
  return text;
}

}  // namespace burnish::cli
