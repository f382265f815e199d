#include "target/metadata.h"

#include <burnish/abi.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "base/version.h"
#include "loop/touches.h"

namespace burnish {

namespace {

// The type of values at a library's interface: a tf32 is an f32, given rounded.
DType given_as(DType t) { return t == DType::TF32 ? DType::F32 : t; }

nlohmann::json ports(const Program& p, const std::vector<uint32_t>& tensors) {
  nlohmann::json all = nlohmann::json::array();
  for (uint32_t t : tensors) {
    const ProgramTensor& tensor = p.tensors[t];
    all.push_back({{"name", tensor.name}, {"dtype", name_of(given_as(tensor.dtype))}, {"shape", tensor.shape}});
  }
  return all;
}

// More threads never have any work: a function's parallel loops may run side by side, and beside what thread 0 does.
int64_t most_threads(const Program& p) {
  constexpr int64_t any = std::numeric_limits<int32_t>::max();
  int64_t most = 1;
  for (const Function& f : p.functions) {
    if (!f.body) continue;
    int64_t here = 1;
    visit(f.body, [&](const Stmt& s) {
      if (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Parallel) here = std::min(any, here + std::min(any, s->loop.extent));
      if (s.kind() == StmtKind::Call) here = any;
    });
    most = std::max(most, here);
  }
  return most;
}

}  // namespace

std::string metadata_of(const Program& p, const Target& target) {
  const Machine& m = target.machine();
  const MemoryNeeds needs = target.memory(p);
  uint64_t hash = hash_bytes("");
  for (const ProgramTensor& t : p.tensors) {
    if (t.kind != TensorKind::Constant || !t.data) continue;
    // Eight bytes at a time would do; sampling would not: the hash names the weights.
    hash = hash_bytes({reinterpret_cast<const char*>(t.data->data()), t.data->size()}, hash);
  }
  int64_t macs = 0;
  nlohmann::json steps = nlohmann::json::array();
  const auto touches = touches_of(p);
  for (const Step& s : p.steps) {
    macs += s.macs;
    nlohmann::json arguments = nlohmann::json::array();
    for (const Touch& t : touches[steps.size()]) arguments.push_back({t.bytes, t.distance});
    steps.push_back({{"name", p.functions[s.function].name},
                     {"source", s.sources},
                     {"macs", s.macs},
                     {"bytes", s.bytes},
                     {"touches", std::move(arguments)},
                     {"schedule", s.schedule}});
  }
  nlohmann::json j = {{"abi", BURNISH_ABI_VERSION},
                      {"compiler", fmt::format("burnish {}", version_text)},
                      {"triple", m.triple},
                      {"cpu", m.cpu},
                      {"features", target.required_features()},
                      {"target", target.text()},
                      {"threads", m.threads},
                      {"most_threads", most_threads(p)},
                      {"inputs", ports(p, p.inputs)},
                      {"outputs", ports(p, p.outputs)},
                      {"arena_bytes", needs.arena_bytes},
                      {"scratch_bytes", needs.scratch_bytes},
                      {"weights_bytes", needs.weights_bytes},
                      {"weights_hash", fmt::format("{:016x}", hash)},
                      {"macs", macs},
                      {"steps", std::move(steps)}};
  return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace burnish
