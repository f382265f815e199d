#include "driver/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/text.h"

namespace burnish {

double Floor::seconds() const { return std::max({compute, l2, l3, memory}); }

std::string_view Floor::bound() const {
  const double most = seconds();
  return most == compute ? "compute" : most == memory ? "memory" : most == l3 ? "L3" : "L2";
}

Floor floor_of(int64_t macs, std::span<const Touch> touches, const Roofs& r) {
  double l2 = 0, l3 = 0, memory = 0;  // bytes that pass the level
  // 0: no cache is known, so nothing is known to miss it.
  const int64_t last = std::max(r.l2_bytes, r.l3_bytes);
  for (const Touch& t : touches) {
    const auto bytes = static_cast<double>(t.bytes);
    if (t.distance > r.l1_bytes) l2 += bytes;
    if (t.distance > r.l2_bytes) l3 += bytes;
    if (last > 0 && t.distance > last) memory += bytes;
  }
  const auto time = [](double amount, double rate) { return rate > 0 ? amount / rate : 0; };
  return {.compute = time(static_cast<double>(macs), r.macs_per_second),
          .l2 = time(l2, r.l2_bytes_per_second),
          .l3 = time(l3, r.l3_bytes_per_second),
          .memory = time(memory, r.bytes_per_second)};
}

double sum_of_floors(const Roofline& r) {
  double sum = 0;
  for (const ProfiledKernel& k : r.kernels) sum += k.floor.seconds();
  return sum;
}

double sum_of_kernels(const Roofline& r) {
  double sum = 0;
  for (const ProfiledKernel& k : r.kernels) sum += k.seconds;
  return sum;
}

double sum_of_least(const Roofline& r) {
  double sum = 0;
  for (const ProfiledKernel& k : r.kernels) sum += k.least;
  return sum;
}

bool disturbed(const Roofline& r) { return sum_of_kernels(r) > 1.1 * sum_of_least(r); }

std::vector<size_t> by_gap(const Roofline& r) {
  std::vector<size_t> order(r.kernels.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater{}, [&](size_t i) { return r.kernels[i].gap(); });
  return order;
}

namespace {

// "130", or "130/3" where three kernels share it.
std::string peer_cell(const PeerMatch& m, size_t kernel) {
  if (m.group_of[kernel] == PeerMatch::npos) return "-";
  const Match& g = m.groups[m.group_of[kernel]];
  std::string text = fmt::format("{:.1f}", g.theirs * 1e6);
  if (g.kernels.size() > 1) text += fmt::format("/{}", g.kernels.size());
  return text;
}

}  // namespace

std::string roofline_text(const Roofline& r) {
  std::vector<PeerMatch> matches;
  for (const PeerProfile& p : r.peers) matches.push_back(match(r.kernels, p));
  std::string out = fmt::format("{:>4} {:>9} {:>9} {:>9} {:>6} {:>8}", "step", "us", "floor", "gap",
                                "%", "bound");
  for (const PeerProfile& p : r.peers) out += fmt::format(" {:>12}", p.engine);
  out += "  kernel: nodes\n";
  for (const size_t i : by_gap(r)) {
    const ProfiledKernel& k = r.kernels[i];
    const double floor = k.floor.seconds();
    out += fmt::format("{:>4} {:>9.1f} {:>9.1f} {:>9.1f} {:>6.0f} {:>8}", k.step, k.seconds * 1e6,
                       floor * 1e6, k.gap() * 1e6, k.seconds > 0 ? 100 * floor / k.seconds : 0,
                       k.floor.bound());
    for (const PeerMatch& m : matches) out += fmt::format(" {:>12}", peer_cell(m, i));
    out += fmt::format("  {}: {}\n", k.name, join(k.sources, "+"));
  }
  out += fmt::format(
      "{} kernels: floors {:.3f} ms, measured {:.3f} ms, a whole run {:.3f} ms, {} threads\n",
      r.kernels.size(), sum_of_floors(r) * 1e3, sum_of_kernels(r) * 1e3, r.run_seconds * 1e3,
      r.threads);
  if (disturbed(r))
    out += fmt::format("the machine was not quiet: the kernels' least times are {:.3f} ms in all\n",
                       sum_of_least(r) * 1e3);
  for (size_t p = 0; p < r.peers.size(); ++p) {
    double layers = 0;
    for (const PeerLayer& l : r.peers[p].layers) layers += l.seconds;
    out +=
        fmt::format("{}: {} layers {:.3f} ms ({:.3f} ms of them belong to no kernel), a whole run "
                    "{:.3f} ms, {} threads\n",
                    r.peers[p].engine, r.peers[p].layers.size(), layers * 1e3,
                    matches[p].unmatched * 1e3, r.peers[p].run_seconds * 1e3, r.peers[p].threads);
  }
  const auto rate = [](double bytes) {
    return bytes > 0 ? fmt::format("{:.1f} GB/s", bytes * 1e-9) : "unknown";
  };
  out += fmt::format("roofs: {:.1f} GFLOP/s, L2 {}, L3 {}, memory {}\n",
                     2e-9 * r.roofs.macs_per_second, rate(r.roofs.l2_bytes_per_second),
                     rate(r.roofs.l3_bytes_per_second), rate(r.roofs.bytes_per_second));
  return out;
}

std::string roofline_json(const Roofline& r) {
  using nlohmann::json;
  json kernels = json::array();
  std::vector<PeerMatch> matches;
  for (const PeerProfile& p : r.peers) matches.push_back(match(r.kernels, p));
  for (size_t i = 0; i < r.kernels.size(); ++i) {
    const ProfiledKernel& k = r.kernels[i];
    json one = {{"step", k.step},
                {"name", k.name},
                {"sources", k.sources},
                {"macs", k.macs},
                {"bytes", k.bytes},
                {"seconds", k.seconds},
                {"least_seconds", k.least},
                {"floor_seconds", k.floor.seconds()},
                {"bound", k.floor.bound()},
                {"compute_seconds", k.floor.compute},
                {"l2_seconds", k.floor.l2},
                {"l3_seconds", k.floor.l3},
                {"memory_seconds", k.floor.memory}};
    for (size_t p = 0; p < matches.size(); ++p) {
      if (matches[p].group_of[i] == PeerMatch::npos) continue;
      const Match& g = matches[p].groups[matches[p].group_of[i]];
      std::vector<size_t> steps;
      for (const size_t other : g.kernels) steps.push_back(r.kernels[other].step);
      one["peers"][r.peers[p].engine] = {{"seconds", g.theirs}, {"steps", steps}};
    }
    kernels.push_back(std::move(one));
  }
  json peers = json::object();
  for (size_t p = 0; p < matches.size(); ++p) {
    peers[r.peers[p].engine] = {{"threads", r.peers[p].threads},
                                {"run_seconds", r.peers[p].run_seconds},
                                {"unmatched_seconds", matches[p].unmatched}};
  }
  const json j = {{"model", r.model},
                  {"target", r.target},
                  {"threads", r.threads},
                  {"run_seconds", r.run_seconds},
                  {"floor_seconds", sum_of_floors(r)},
                  {"kernel_seconds", sum_of_kernels(r)},
                  {"least_kernel_seconds", sum_of_least(r)},
                  {"roofs",
                   {{"macs_per_second", r.roofs.macs_per_second},
                    {"l2_bytes_per_second", r.roofs.l2_bytes_per_second},
                    {"l3_bytes_per_second", r.roofs.l3_bytes_per_second},
                    {"memory_bytes_per_second", r.roofs.bytes_per_second}}},
                  {"kernels", std::move(kernels)},
                  {"peers", std::move(peers)}};
  return j.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace burnish
