// Products of few points: parts of the reduction to blocks, whose sums go to memory; what adds and finishes them are the same blocks
// (slices.cpp), or a second kernel.
#include <algorithm>

#include "loop/matrix_sum.h"
#include "target/cuda/matrix.h"

namespace burnish::cuda_target {

namespace {

// Of a run: starting another kernel, which takes 790 where both run again and again, and more among others; meeting as a cluster, or going on
// as the last, which is slower on the only GPU that measured it (H200, as an sm_80); reads of what was just written, by all blocks, and by one.
constexpr double kAnotherKernel = 1600, kMeeting = 600, kGoingOn = 3300, kBytesPerCycle = 1975, kBytesOfABlock = 40;

// The first of how parts may be added up, as a cluster or by a second kernel; then by the last block, where there are no clusters.
std::vector<std::pair<bool, double>> ways_of_adding(const Stage& o, const std::vector<TileAxis>& tile, int64_t parts, const Device& d) {
  const auto bytes = [&](int64_t results) { return static_cast<double>(parts * results * size_of(DType::F32)); };
  const bool clusters = d.sm >= clusters_from;
  std::vector<std::pair<bool, double>> all = {{false, (clusters && can_slice(o, tile, parts) ? kMeeting : kAnotherKernel) + bytes(points(o.axes)) / kBytesPerCycle}};
  if (!clusters && can_slice(o, tile, 1)) all.emplace_back(true, kGoingOn + bytes(points_of(tile)) / kBytesOfABlock);
  return all;
}

// The stage of the parts' sums, [part] outermost; the rest of `s` reads all of them where it read
// the sum. Empty: it cannot be.
std::string in_parts(Schedule& s, const Roles& r, int64_t parts) {
  const std::string out = s.group()[r.out].name, acc = sum_of(s, r);
  if (s.failure() || acc == out) return "";
  const auto stage = [&](const std::string& name) { return s.group()[*s.group().named(name)]; };
  const Stage a = stage(acc);
  const auto operands = operands_of(s, a, r);
  if (!operands || operands->lanes || operands->phases() > 1 || a.finish || a.init) return "";
  const Axis& k = a.raxes[operands->reduce];
  if (k.extent % (parts * kMatrixDepth)) return "";
  const std::string part = s.rfactor(acc, k.name, k.extent / parts);
  s.expand(acc);
  s.inline_stage(acc);
  if (s.failure()) return "";
  const Layout layout = stage(out).layout;
  const auto rank = static_cast<uint32_t>(a.axes.size());
  Layout outermost = {{rank}};
  if (layout.empty())
    for (uint32_t i = 0; i < rank; ++i) outermost.push_back({i});
  outermost.insert(outermost.end(), layout.begin(), layout.end());
  s.pack(part, outermost);
  return s.failure() ? "" : part;
}

// Roles of the parts: theirs, and one more axis outside.
std::optional<Roles> roles_of_parts(const Schedule& s, const std::string& part) {
  auto roles = roles_of(s, *s.group().named(part));
  if (!roles || !roles->tile || roles->grouped) return std::nullopt;
  // A tile is of points, never of parts.
  const auto last = static_cast<uint32_t>(s.group()[roles->out].axes.size() - 1);
  if (*roles->tile == last ||
      (!roles->outer.empty() && roles->outer.back() == last && roles->outer.size() > 1))
    return std::nullopt;
  return roles;
}

}  // namespace

std::vector<SplitTile> split_tiles(const Schedule& s, const Roles& r, const Device& d) {
  if (d.sm < 80 || !r.tile || r.grouped) return {};
  const double results = static_cast<double>(points(s.group()[r.out].axes));
  // Where blocks of 32 x 32 results are more than the GPU has room for parts are not needed.
  if (results / 1024 > d.multiprocessors) return {};
  std::vector<SplitTile> all;
  for (const int64_t parts : {2, 3, 4, 6, 8}) {
    Schedule t = s;
    const std::string part = in_parts(t, r, parts);
    const auto roles = part.empty() ? std::nullopt : roles_of_parts(t, part);
    if (!roles) continue;
    constexpr size_t of_each = 12;
    std::vector<MatrixTile> tiles = matrix_tiles(t, *roles, d);
    if (tiles.size() > of_each) tiles.resize(of_each);
    for (const MatrixTile& x : tiles) {
      for (const auto& [last, adding] : ways_of_adding(s.group()[r.out], tile_of(t, *roles, x).first, parts, d))
        all.push_back({parts, x, matrix_cycles(t, *roles, x, d) + adding, last});
    }
  }
  std::ranges::stable_sort(all, {}, &SplitTile::cycles);
  return all;
}

bool by_split(Schedule& s, const Roles& r, const SplitTile& x, const Device& d) {
  Schedule t = s;
  const std::string out = t.group()[r.out].name, part = in_parts(t, r, x.parts);
  const auto roles = part.empty() ? std::nullopt : roles_of_parts(t, part);
  if (!roles) return false;
  const bool cluster = d.sm >= clusters_from && x.parts <= c_like::kMostOfACluster;
  if (cluster || x.last) {
    Schedule u = t;
    auto [tile, outside] = tile_of(u, *roles, x.tile);
    const auto axis = static_cast<uint32_t>(u.group()[roles->out].axes.size() - 1);
    std::erase(outside, axis);
    if (!tile.empty() && by_matrix(u, *roles, x.tile, d, axis)) {
      u.pack(part, parts_by_tiles(axis, outside, tile));
      if (by_slices(u, out, outside, tile, cluster ? x.parts : 1, x.tile.threads()) && lowers(u)) {
        s = u;
        return true;
      }
    }
    if (x.last) return false;
  }
  if (!by_matrix(t, *roles, x.tile, d)) return false;
  const Stage o = t.group()[*t.group().named(out)];
  if (!std::ranges::any_of(shares(o, d), [&](const Share& share) { return by_points(t, out, share); })) return false;
  s = t;
  return true;
}

}  // namespace burnish::cuda_target
