// Records and winners as lines of JSON: written so that they read back exactly, read as if an enemy
// had written them.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "schedule/schedule.h"
#include "search/records/lines.h"
#include "search/records/plausible.h"
#include "target/target.h"
#include "te/stage.h"

namespace burnish::search {

namespace {

constexpr int64_t line_version = 1;
constexpr size_t most_remembered = 4096;
constexpr size_t most_name = 4096;  // bytes of targets, machines, knobs and the like
constexpr size_t most_knobs = 64;
constexpr double most_points = 0x1p50;  // of a stage, sums included: minutes on any machine

// Members in the order in which they are written.
class Line {
 public:
  Line& text(const char* name, std::string_view value) {
    return raw(name, Json(value).dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  Line& number(const char* name, double value) { return raw(name, number_text(value)); }
  template <class Integer> Line& integer(const char* name, Integer value) {
    return raw(name, fmt::to_string(value));
  }
  Line& raw(const char* name, std::string_view json) {
    out_ += out_.empty() ? "{\"" : ",\"";
    out_ += name;
    out_ += "\":";
    out_ += json;
    return *this;
  }
  std::string end() { return std::move(out_) + "}"; }

 private:
  std::string out_;
};

}  // namespace

std::string to_json_line(const Record& r) {
  Trial t = r.trial;
  make_plausible(t);  // JSON has no infinities
  Line line;
  line.integer("burnish", line_version)
      .text("workload_hash", r.workload_hash)
      .text("workload", r.workload);
  line.text("target", r.target)
      .integer("threads", r.threads)
      .text("compiler", r.compiler)
      .text("machine", r.machine);
  line.text("tuner", r.tuner).integer("seed", r.seed).text("knobs", r.knobs);
  line.raw("point", fmt::format("[{}]", fmt::join(t.point, ",")));
  line.text("trace", t.trace).text("status", name_of(t.status)).text("message", t.message);
  line.number("median", t.timing.median).number("mad", t.timing.mad).number("min", t.timing.min);
  line.integer("repeats", t.timing.repeats).raw("checked", t.checked ? "true" : "false");
  line.number("build_seconds", t.build_seconds).number("measure_seconds", t.measure_seconds);
  line.number("probe_seconds", t.probe_seconds).integer("when", r.when);
  if (!r.foreign.empty()) line.text("foreign", r.foreign);
  return line.end();
}

std::string to_json_line(const Winner& w) {
  Line line;
  line.integer("burnish_winner", line_version)
      .text("workload_hash", w.workload_hash)
      .text("target", w.target);
  line.text("trace", w.trace)
      .number("default_seconds", w.default_seconds)
      .number("tuned_seconds", w.tuned_seconds);
  line.text("model", w.model).integer("when", w.when);
  return line.end();
}

bool LineReader::known(std::set<std::string>& set, const std::string& text) const {
  if (set.contains(text)) return true;
  if (set.size() < most_remembered) set.insert(text);
  return false;
}

// "llvm:cpu=znver4,+avx512f,threads=2": a family that this program has, and options that can be
// some. Which CPUs there are is not asked: records of other machines pass through here.
std::string LineReader::target(const Fields& f, int threads) {
  const std::string text = f.text("target", most_name);
  const std::string key = fmt::format("{} {}", threads, text);
  if (good_targets_.contains(key)) return text;
  const auto bad = [&](std::string_view why) {
    throw BadField{fmt::format("\"target\" is \"{}\": {}", shortened(text), why)};
  };
  const size_t colon = text.find(':');
  if (colon == std::string::npos)
    bad("there is no family and ':' in it, as in llvm:cpu=x86-64-v3,threads=2");
  if (!std::ranges::all_of(text,
                           [](char c) { return c > ' ' && c < 127 && c != '"' && c != '\\'; })) {
    bad("it has characters that no target has");
  }
  try {
    const auto family = make_target(text.substr(0, colon), 1);
    if (family->machine().device) make_target(text, 1);  // its options say nothing of this machine: all are known here
  } catch (const UserError&) {
    bad("this program has no such target");
  }
  bool cpu = false;
  int said = -1;
  for (const std::string& option : split_text(std::string_view(text).substr(colon + 1), ',')) {
    const size_t equals = option.find('=');
    const bool feature = option.size() > 1 && (option[0] == '+' || option[0] == '-');
    if (!feature && (equals == 0 || equals == std::string::npos || equals + 1 == option.size())) {
      bad("options are name=value, +feature and -feature");
    }
    if (option.starts_with("cpu=")) cpu = true;
    if (option.starts_with("threads=")) {
      const std::string number = option.substr(8);
      said = number.size() <= 4 &&
                     std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; })
                 ? std::stoi(number)
                 : -2;
    }
  }
  if (!cpu) bad("it names no cpu=");
  if (threads >= 0 && said != threads)
    bad(fmt::format("its threads= is not the record's {}", threads));
  if (good_targets_.size() < most_remembered) good_targets_.insert(key);
  return text;
}

std::string LineReader::trace(const Fields& f) {
  const std::string text = f.text("trace", most_text);
  if (good_traces_.contains(text)) return text;
  int number = 0;
  for (const std::string& line : split_text(text, '\n')) {
    ++number;
    if (trim(line).empty()) continue;
    try {
      parse_step(line);
    } catch (const UserError& e) {
      throw BadField{fmt::format("\"trace\", step {}: {}", number, shortened(e.what(), 200))};
    }
  }
  known(good_traces_, text);
  return text;
}

void LineReader::check_workload(const std::string& text) {
  if (good_workloads_.contains(text)) return;
  try {
    const StageGroup group = parse_stages(text);
    for (const Stage& stage : group.stages) {
      double points = 1;
      for (const Axis& a : stage.axes) points *= static_cast<double>(a.extent);
      for (const Axis& a : stage.raxes) points *= static_cast<double>(a.extent);
      if (points > most_points) {
        throw BadField{fmt::format("\"workload\": {} has {} points: no kernel is that large",
                                   shortened(stage.name), number_text(points))};
      }
    }
  } catch (const UserError& e) {
    throw BadField{fmt::format("\"workload\": {}", shortened(e.what(), 200))};
  } catch (const InternalError& e) {  // stages that read, but whose parts do not fit
    throw BadField{fmt::format("\"workload\": {}", shortened(e.what(), 200))};
  }
  known(good_workloads_, text);
}

Result<Record> LineReader::record(const Json& line, bool with_workload) {
  try {
    const Fields f{line};
    if (!line.is_object() || !f.has("burnish"))
      throw BadField{"no record: the field \"burnish\" is missing"};
    if (const int64_t version = f.integer("burnish", 1, INT64_MAX); version > line_version) {
      throw BadField{fmt::format("written by a newer Burnish (form {}, this program knows {})",
                                 version, line_version)};
    }
    Record r;
    if (f.has("foreign")) {
      r.foreign = f.text("foreign", most_name);
      if (r.foreign.empty())
        throw BadField{"\"foreign\" is empty; records of Burnish leave it out"};
    }
    r.workload = f.text("workload", most_text);
    if (with_workload && r.workload.empty()) throw BadField{"\"workload\" is empty"};
    r.workload_hash = f.text("workload_hash", 16);
    if (with_workload && r.workload_hash != hash_text(r.workload)) {
      throw BadField{fmt::format("\"workload_hash\" is \"{}\", but that of the workload is {}",
                                 r.workload_hash, hash_text(r.workload))};
    }
    r.threads = static_cast<int>(f.integer("threads", r.foreign.empty() ? 1 : 0, most_threads));
    r.target = r.foreign.empty() ? target(f, r.threads) : f.text("target", most_name);
    r.compiler = f.text("compiler", most_name);
    r.machine = f.text("machine", most_name);
    r.tuner = f.text("tuner", most_name);
    r.seed = f.natural("seed");
    r.knobs = f.text("knobs", most_name);
    const Json& point = f.at("point");
    if (!point.is_array() || point.size() > most_knobs)
      throw BadField{"\"point\" is no list of at most 64 indices"};
    for (const Json& v : point) {
      if (!v.is_number_unsigned() || v.get<uint64_t>() > UINT16_MAX) {
        throw BadField{fmt::format("\"point\" has {} in it, which is no index", shown(v))};
      }
      r.trial.point.push_back(v.get<uint16_t>());
    }
    r.trial.trace = r.foreign.empty() ? trace(f) : f.text("trace", most_text);
    const std::string status = f.text("status", most_name);
    if (!parse_status(status, r.trial.status)) {
      throw BadField{fmt::format("\"status\" is \"{}\", which is none", shortened(status))};
    }
    r.trial.message = f.text("message", most_text);
    r.trial.timing = {.median = f.number("median"),
                      .mad = f.number("mad"),
                      .min = f.number("min"),
                      .repeats = static_cast<int>(f.integer("repeats", 0, most_repeats))};
    r.trial.checked = f.flag("checked");
    r.trial.build_seconds = f.number("build_seconds");
    r.trial.measure_seconds = f.number("measure_seconds");
    r.trial.probe_seconds = f.number("probe_seconds");
    r.when = f.integer("when", 0, last_when);
    if (const auto reason = implausible(r)) throw BadField{*reason};
    if (with_workload && r.foreign.empty()) check_workload(r.workload);
    return r;
  } catch (const BadField& bad) {
    return Reason{bad.reason};
  }
}

Result<Winner> LineReader::winner(const Json& line) {
  try {
    const Fields f{line};
    if (const int64_t version = f.integer("burnish_winner", 1, INT64_MAX); version > line_version) {
      throw BadField{fmt::format("written by a newer Burnish (form {}, this program knows {})",
                                 version, line_version)};
    }
    Winner w;
    w.workload_hash = f.text("workload_hash", 16);
    const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    if (w.workload_hash.size() != 16 || !std::ranges::all_of(w.workload_hash, is_hex)) {
      throw BadField{"\"workload_hash\" is not 16 hexadecimal digits"};
    }
    w.target = target(f, -1);
    w.trace = f.text("trace", most_text);
    if (!w.avoids()) w.trace = trace(f);
    w.default_seconds = f.number("default_seconds");
    w.tuned_seconds = f.number("tuned_seconds");
    w.model = f.text("model", most_name);
    w.when = f.integer("when", 0, last_when);
    if (const auto reason = implausible(w)) throw BadField{*reason};
    return w;
  } catch (const BadField& bad) {
    return Reason{bad.reason};
  }
}

Result<Record> from_json_line(std::string_view line) {
  if (line.size() > 4 * most_text)
    return refuse("{} bytes long, more than a record can be", line.size());
  auto json = parse_json(line);
  if (!json) return Reason{json.reason()};
  return LineReader().record(*json);
}

}  // namespace burnish::search
