#include "search/measure/messages.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace burnish::search {

namespace {

using json = nlohmann::json;

constexpr std::array<std::string_view, 4> phases = {"timing it", "computing the reference answer",
                                                    "going on to check its answer", "checking its answer"};

json bytes(const std::string& s) { return json::binary({s.begin(), s.end()}); }

std::string text_of(const json& j) {
  const auto& b = j.get_binary();
  return {b.begin(), b.end()};
}

std::string packed(const json& j) {
  std::string out;
  json::to_cbor(j, out);
  return out;
}

// Texts are sent as bytes: names and messages need not be UTF-8.
json to_json(const Parameter& p) {
  json layout = json::array();
  for (const LayoutDim& d : p.layout) layout.push_back({d.axis, d.div, d.mod, d.pad});
  return {bytes(p.name), static_cast<int>(p.dtype), p.shape, layout, p.constant, p.output};
}

json to_json(const Built& b) {
  json parameters = json::array();
  for (const Parameter& p : b.parameters) parameters.push_back(to_json(p));
  return {bytes(b.library), parameters, b.tolerance.relative, b.tolerance.outliers, b.launches, b.copies};
}

Status status_of(const json& j) {
  Status s;
  require(parse_status(text_of(j), s), "there is no status \"{}\"", text_of(j));
  return s;
}

DType dtype_of(const json& j) {
  const int n = j.get<int>();
  require(n >= 0 && n <= static_cast<int>(DType::TF32), "there is no dtype {}", n);
  return static_cast<DType>(n);
}

// What sizes are computed from must not overflow later on.
std::vector<int64_t> shape_of(const json& j) {
  constexpr int64_t most = int64_t{1} << 40;
  auto shape = j.get<std::vector<int64_t>>();
  int64_t n = 1;
  for (int64_t d : shape) {
    require(d >= 0 && d <= most && n <= most, "a tensor of too many elements");
    n *= std::max<int64_t>(d, 1);
  }
  require(n <= most, "a tensor of too many elements");
  return shape;
}

Parameter parameter_of(const json& j) {
  Parameter p{.name = text_of(j.at(0)), .dtype = dtype_of(j.at(1)), .shape = shape_of(j.at(2)), .layout = {},
              .constant = j.at(4).get<bool>(), .output = j.at(5).get<bool>()};
  for (const json& d : j.at(3)) {
    LayoutDim dim{d.at(0).get<uint32_t>(), d.at(1).get<int64_t>(), d.at(2).get<int64_t>(), d.at(3).get<int64_t>()};
    require(dim.axis < p.shape.size() && dim.div >= 1 && dim.mod >= 0 && dim.pad >= 0, "a layout that is none");
    p.layout.push_back(dim);
  }
  return p;
}

Built built_of(const json& j) {
  Built b{.library = text_of(j.at(0)), .parameters = {},
          .tolerance = {j.at(2).get<double>(), j.at(3).get<double>()},
          .launches = j.at(4).get<int>(), .copies = j.at(5).get<int>()};
  constexpr int most = 1000;
  require(b.launches >= 1 && b.copies >= 1 && b.launches <= most && b.copies <= most, "{} launches of {} copies", b.launches, b.copies);
  for (const json& p : j.at(1)) b.parameters.push_back(parameter_of(p));
  return b;
}

template <class F>
void read(std::string_view payload, const char* what, F&& f) {
  try {
    f(json::from_cbor(payload));
  } catch (const json::exception& e) {
    fail_user("a damaged message ({}): {}", what, e.what());
  }
}

}  // namespace

std::string_view name_of(Phase p) { return phases[static_cast<size_t>(p)]; }

int64_t stride_of(const Parameter& p) {
  constexpr int64_t align = 256;
  return (physical_size(p.layout, p.shape) * size_of(p.dtype) + align - 1) / align * align;
}

std::string encode(const Setup& m) {
  return packed({static_cast<int>(m.role), bytes(m.target), m.threads, m.memory_bytes, m.l2_bytes, m.min_time,
                 m.min_repeats, m.cold_weights, m.device});
}

void decode(std::string_view payload, Setup& m) {
  read(payload, "setup", [&](const json& j) {
    const int role = j.at(0).get<int>();
    require(role == 0 || role == 1, "there is no role {}", role);
    m = {.role = static_cast<Role>(role), .target = text_of(j.at(1)), .threads = j.at(2).get<int>(),
         .memory_bytes = j.at(3).get<uint64_t>(), .l2_bytes = j.at(4).get<int64_t>(),
         .min_time = j.at(5).get<double>(), .min_repeats = j.at(6).get<int>(), .cold_weights = j.at(7).get<bool>(),
         .device = j.at(8).get<bool>()};
  });
}

std::string encode(const BuildRequest& m) {
  return packed({bytes(m.hash), bytes(m.workload), bytes(m.trace), m.plain, m.verify, bytes(m.name)});
}

void decode(std::string_view payload, BuildRequest& m) {
  read(payload, "build", [&](const json& j) {
    m = {text_of(j.at(0)), text_of(j.at(1)), text_of(j.at(2)), j.at(3).get<bool>(), j.at(4).get<bool>(),
         text_of(j.at(5))};
  });
}

std::string encode(const BuildReply& m) {
  return packed({bytes(std::string(name_of(m.status))), bytes(m.message), m.unknown, to_json(m.built), m.seconds});
}

void decode(std::string_view payload, BuildReply& m) {
  read(payload, "built", [&](const json& j) {
    m = {status_of(j.at(0)), text_of(j.at(1)), j.at(2).get<bool>(), built_of(j.at(3)), j.at(4).get<double>()};
  });
}

std::string encode(const RunRequest& m) {
  return packed({bytes(m.hash), to_json(m.candidate), to_json(m.reference), m.check, m.check_below});
}

void decode(std::string_view payload, RunRequest& m) {
  read(payload, "run", [&](const json& j) {
    m = {text_of(j.at(0)), built_of(j.at(1)), built_of(j.at(2)), j.at(3).get<bool>(), j.at(4).get<double>()};
  });
}

std::string encode(const RunReply& m) {
  return packed({bytes(std::string(name_of(m.status))), bytes(m.message), m.timing.median, m.timing.mad, m.timing.min,
                 m.timing.repeats, m.checked, m.probe_seconds});
}

void decode(std::string_view payload, RunReply& m) {
  read(payload, "ran", [&](const json& j) {
    m = {.status = status_of(j.at(0)), .message = text_of(j.at(1)),
         .timing = {j.at(2).get<double>(), j.at(3).get<double>(), j.at(4).get<double>(), j.at(5).get<int>()},
         .checked = j.at(6).get<bool>(), .probe_seconds = j.at(7).get<double>()};
  });
}

std::string encode(const CompareRequest& m) {
  json paths = json::array();
  for (const std::string& p : m.paths) paths.push_back(bytes(p));
  return packed({paths, m.threads, m.seconds, m.steps});
}

void decode(std::string_view payload, CompareRequest& m) {
  read(payload, "compare", [&](const json& j) {
    m = {.paths = {}, .threads = j.at(1).get<int>(), .seconds = j.at(2).get<double>(), .steps = j.at(3).get<bool>()};
    for (const json& p : j.at(0)) m.paths.push_back(text_of(p));
  });
}

std::string encode(const CompareReply& m) {
  return packed({bytes(m.failure), m.comparison.steps, m.comparison.runs, m.comparison.deviation});
}

void decode(std::string_view payload, CompareReply& m) {
  read(payload, "compared", [&](const json& j) {
    m = {text_of(j.at(0)),
         {j.at(1).get<std::vector<std::vector<double>>>(), j.at(2).get<std::vector<std::vector<double>>>(),
          j.at(3).get<std::vector<double>>()}};
  });
}

std::string encode(Phase p) { return packed(static_cast<int>(p)); }

void decode(std::string_view payload, Phase& p) {
  read(payload, "phase", [&](const json& j) {
    const int n = j.get<int>();
    require(n >= 0 && n < static_cast<int>(phases.size()), "there is no phase {}", n);
    p = static_cast<Phase>(n);
  });
}

}  // namespace burnish::search
