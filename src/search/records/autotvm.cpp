// AutoTVM's log: one JSON object a line. Version 0.2 has "input" [target, task, args, kwargs],
// "config" and "result" [costs, error number, total seconds, time]; 0.1 has "i" (with the workload
// and the config in it), "r" and "v". A config is an index and knobs [name, kind, value] of a
// template that is code in TVM: it says nothing to other compilers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "search/records/lines.h"
#include "search/records/plausible.h"
#include "search/statistics.h"

namespace burnish::search {

namespace {

constexpr size_t most_name = 4096;

const Json& element(const Json& list, size_t at, const char* of) {
  if (!list.is_array() || list.size() <= at) {
    throw BadField{
        fmt::format("\"{}\" is {}, which is no list of more than {}", of, shown(list), at)};
  }
  return list[at];
}

std::string short_text(const Json& value, const char* what) {
  if (!value.is_string())
    throw BadField{fmt::format("the {} is {}, which is no text", what, shown(value))};
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > most_name)
    throw BadField{fmt::format("the {} has {} bytes, more than {}", what, text.size(), most_name)};
  if (std::ranges::any_of(text, [](unsigned char c) { return c < ' ' || c == 127; })) {
    throw BadField{fmt::format("the {} has control characters in it", what)};
  }
  const size_t start = text.find_first_not_of(' ');
  if (start == std::string::npos) throw BadField{fmt::format("the {} is empty", what)};
  return text.substr(start, text.find_last_not_of(' ') + 1 - start);
}

// What TVM's enumeration of errors says, in our words.
Status status_of(int64_t error) {
  switch (error) {
  case 0: return Status::Ok;
  case 1: return Status::Illegal;
  case 2:
  case 3: return Status::BuildFailed;
  case 4: return Status::Crashed;
  case 5: return Status::Wrong;
  case 6: return Status::BuildTimeout;
  case 7: return Status::TimedOut;
  default: return Status::Lost;
  }
}

double cost_of(const Json& value) {
  if (!value.is_number()) throw BadField{fmt::format("the cost {} is no number", shown(value))};
  const double seconds = value.get<double>();
  if (!(seconds > 0) || seconds > most_seconds)
    throw BadField{fmt::format("the cost {} is no time in seconds", shown(value))};
  return seconds;
}

Timing timing_of_costs(const Json& costs) {
  if (!costs.is_array() || costs.empty())
    throw BadField{fmt::format("the costs are {}, which is no list of times", shown(costs))};
  std::vector<double> seconds;
  for (const Json& cost : costs) seconds.push_back(cost_of(cost));
  return timing_of(seconds);
}

// "tile_ic=[-1,1] unroll_kw=false", or the index alone.
std::string knobs_of(const Json& config, const char* entity) {
  if (!config.is_object())
    throw BadField{fmt::format("the config is {}, which is no object", shown(config))};
  std::string knobs;
  if (const auto it = config.find(entity); it != config.end() && it->is_array()) {
    for (const Json& knob : *it) {
      if (!knob.is_array() || knob.size() < 3 || !knob[0].is_string()) continue;
      knobs += fmt::format("{}{}={}", knobs.empty() ? "" : " ", knob[0].get<std::string>(),
                           shown(knob[2]));
      if (knobs.size() > most_name) break;
    }
  }
  if (const auto it = config.find("index"); knobs.empty() && it != config.end())
    knobs = "index=" + shown(*it);
  return shortened(knobs, most_name - 3);
}

}  // namespace

bool is_autotvm(const Json& line) {
  return line.is_object() && ((line.contains("input") && line.contains("result")) ||
                              (line.contains("i") && line.contains("r")));
}

Result<Record> autotvm_record(const Json& line) {
  try {
    const bool old = line.contains("i");
    const Fields f{line};
    const Json& input = f.at(old ? "i" : "input");
    const Json& result = f.at(old ? "r" : "result");
    const char* of = old ? "i" : "input";
    if (const Json& v = old ? f.at("v") : f.at("version"); !v.is_number()) {
      throw BadField{fmt::format(
          "a log of version {}: of TVM's logs only AutoTVM's own (0.1, 0.2) are read", shown(v))};
    }
    Record r;
    r.foreign = "autotvm";
    r.tuner = "autotvm";
    r.target = short_text(element(input, 0, of), "target");
    const std::string task = short_text(element(input, 1, of), "name of the task");
    const Json& args = element(input, 2, of);
    if (!args.is_array())
      throw BadField{fmt::format("the task's arguments are {}, which is no list", shown(args))};
    r.workload = fmt::format("autotvm {} {}", task,
                             args.dump(-1, ' ', true, Json::error_handler_t::replace));
    if (const Json& kwargs = element(input, 3, of); kwargs.is_object() && !kwargs.empty()) {
      r.workload += " " + kwargs.dump(-1, ' ', true, Json::error_handler_t::replace);
    }
    if (r.workload.size() > most_text)
      throw BadField{fmt::format("the workload has {} bytes", r.workload.size())};
    r.workload_hash = hash_text(r.workload);
    r.knobs = old ? knobs_of(element(input, 5, of), "e") : knobs_of(f.at("config"), "entity");
    r.compiler = "tvm";
    if (f.has("tvm_version")) r.compiler += " " + short_text(f.at("tvm_version"), "version of TVM");

    const char* of_result = old ? "r" : "result";
    const Json& error = element(result, 1, of_result);
    if (!error.is_number_integer())
      throw BadField{fmt::format("the error number is {}", shown(error))};
    const auto number =
        error.is_number_unsigned() && error.get<uint64_t>() > 1000 ? 1000 : error.get<int64_t>();
    r.trial.status = status_of(number);
    if (r.trial.status == Status::Ok) {
      r.trial.timing = timing_of_costs(element(result, 0, of_result));
    } else {
      r.trial.message = fmt::format("error {} of AutoTVM", number);
    }
    const auto bounded = [&](size_t at, const char* what, double most) {
      const Json& value = element(result, at, of_result);
      if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() <= most)) {
        throw BadField{fmt::format("the {} is {}", what, shown(value))};
      }
      return value.get<double>();
    };
    r.trial.measure_seconds = bounded(2, "total time", most_seconds);
    r.when = static_cast<int64_t>(bounded(3, "time of measuring", static_cast<double>(last_when)));
    return r;
  } catch (const BadField& bad) {
    return Reason{bad.reason};
  }
}

}  // namespace burnish::search
