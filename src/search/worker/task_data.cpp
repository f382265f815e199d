#include "search/worker/task_data.h"

#include <algorithm>
#include <cstring>

#include "search/worker/values.h"
#include "te/pack_constant.h"

namespace burnish::search {

namespace {

Tensor values_of(const Parameter& p, int seed) { return random_tensor(p, static_cast<uint64_t>(seed) + 1); }

}  // namespace

std::span<const std::byte> TaskData::input(size_t parameter, int seed) {
  auto& all = inputs[seed];
  all.resize(parameters.size());
  const Parameter& p = parameters[parameter];
  if (all[parameter].empty()) all[parameter] = *pack_constant(values_of(p, seed), p.layout);
  return all[parameter];
}

std::shared_ptr<const std::vector<std::byte>> TaskData::packed_constant(size_t parameter, int seed, const Parameter& p) {
  auto& all = constants_of[seed];
  all.resize(parameters.size());
  Tensor& t = all[parameter];
  if (t.shape.empty() && t.bytes.empty()) t = values_of(parameters[parameter], seed);
  return pack_constant(t, p.layout);
}

size_t TaskData::bytes() const {
  size_t n = constants ? constants->size() : 0;
  for (const GuardedBuffer& b : buffers) n += b.size();
  for (int seed = 0; seed < check_seeds; ++seed) {
    for (const Tensor& t : constants_of[seed]) n += t.bytes.size();
    for (const auto& i : inputs[seed]) n += i.size();
    for (const auto& a : answers[seed]) n += a.size();
  }
  return n;
}

bool same_task(const std::vector<Parameter>& a, const std::vector<Parameter>& b) {
  return std::ranges::equal(a, b, [](const Parameter& x, const Parameter& y) {
    return x.name == y.name && x.dtype == y.dtype && x.shape == y.shape && x.constant == y.constant &&
           x.output == y.output && (x.constant || x.layout == y.layout);
  });
}

TaskData& TaskCache::get(const std::string& hash, const std::vector<Parameter>& parameters) {
  auto it = std::ranges::find(tasks_, hash, &TaskData::hash);
  if (it != tasks_.end() && !same_task(it->parameters, parameters)) {
    tasks_.erase(it);
    it = tasks_.end();
  }
  if (it != tasks_.end()) {
    tasks_.splice(tasks_.begin(), tasks_, it);
    return tasks_.front();
  }
  size_t total = 0;
  for (auto t = tasks_.begin(); t != tasks_.end();) {
    total += t->bytes();
    t = total > most_ ? tasks_.erase(t) : std::next(t);
  }
  TaskData d;
  d.hash = hash;
  d.parameters = parameters;
  unsigned stagger = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    // Tensors of a model lie anywhere within a page; if all began at the same place of one, loads would meet stores
    // that only seem to be theirs.
    d.buffers.emplace_back(p.constant ? 0 : bytes_of(p), GuardedBuffer::Place::Start, p.constant ? 0 : stagger);
    if (!p.constant) stagger = (stagger + 13) % 64;
    if (p.constant || p.output) continue;
    std::ranges::copy(d.input(i, 0), d.buffers.back().data());
    d.buffers.back().read_only();
  }
  tasks_.push_front(std::move(d));
  return tasks_.front();
}

void place_constants(TaskData& d, const std::vector<Parameter>& parameters, size_t cold_bytes) {
  std::vector<Layout> wanted;
  for (const Parameter& p : parameters) wanted.push_back(p.constant ? p.layout : Layout{});
  if (d.constants && d.packed == wanted) return;
  size_t bytes = 0;
  d.offset.assign(parameters.size(), 0);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].constant) continue;
    d.offset[i] = bytes;
    bytes += (bytes_of(parameters[i]) + 63) / 64 * 64;
  }
  constexpr size_t most_copies = 1024;
  d.stride = bytes;
  d.copies = bytes == 0 ? 1 : std::clamp<size_t>(cold_bytes / bytes + 1, 1, most_copies);
  d.constants.reset();
  d.constants = std::make_unique<GuardedBuffer>(d.stride * d.copies, GuardedBuffer::Place::Start);
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!parameters[i].constant) continue;
    const auto packed = d.packed_constant(i, 0, parameters[i]);
    std::ranges::copy(*packed, d.constants->data() + d.offset[i]);
  }
  for (size_t c = 1; c < d.copies; ++c) {
    std::memcpy(d.constants->data() + c * d.stride, d.constants->data(), d.stride);
  }
  d.constants->read_only();
  d.packed = std::move(wanted);
}

}  // namespace burnish::search
