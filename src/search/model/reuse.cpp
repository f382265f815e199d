#include "search/model/reuse.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace burnish::search {

namespace {

constexpr double line = 64;

struct Reach {
  double elements = 1, lines = 1;
};

// k elements apart, n times.
struct Dim {
  double k, n;
};

// Different elements and lines of a box of strides; `dims` are sorted by k. Strides that continue a
// denser one lengthen it (a window that slides), others are dimensions of their own.
Reach reach_of(const std::vector<Dim>& dims, double element_bytes) {
  Reach r;
  double span = element_bytes;
  double s = 0, c = 1;
  auto close = [&] {
    if (c <= 1) return;
    r.elements *= c;
    if (s * element_bytes <= line && r.lines * line < span + line) {
      span += (c - 1) * s * element_bytes;
      r.lines = std::ceil(span / line);
    } else {
      r.lines *= c;
      span = r.lines * line + line;  // no longer a run
    }
  };
  for (const Dim& d : dims) {
    if (c <= 1) {
      s = d.k;
      c = d.n;
    } else if (d.k < s * c + 0.5) {
      const double more =
          std::fmod(d.k, s) == 0 ? d.k / s * (d.n - 1) : std::min(c * (d.n - 1), d.k * (d.n - 1));
      c += more;
    } else {
      close();
      s = d.k;
      c = d.n;
    }
  }
  close();
  return r;
}

// Different values of floor(sum of strides / div) mod `mod`, over the loops that `trip` gives
// iterations.
double values_of(const Wrapped& w, const std::vector<double>& active) {
  double range = 1, points = 1;
  for (const Stride& s : w.strides) {
    const double n = active[static_cast<size_t>(s.loop)];
    range += std::abs(static_cast<double>(s.k)) * (n - 1);
    points *= n;
  }
  if (w.data) return points;
  double values = std::min(points, std::floor((range - 1) / static_cast<double>(w.div)) + 1);
  if (w.mod > 0) values = std::min(values, static_cast<double>(w.mod));
  return std::max(1.0, values);
}

bool moves(const Access& a, int loop) {
  auto has = [&](const std::vector<Stride>& strides) {
    return std::any_of(strides.begin(), strides.end(),
                       [&](const Stride& s) { return s.loop == loop && s.k != 0; });
  };
  return has(a.strides) || std::any_of(a.wrapped.begin(), a.wrapped.end(),
                                       [&](const Wrapped& w) { return has(w.strides); });
}

// Elements between lanes, or nothing where that differs from lane to lane.
std::optional<int64_t> lane_stride(const Access& a, int loop) {
  for (const Wrapped& w : a.wrapped) {
    for (const Stride& s : w.strides) {
      if (s.loop == loop && s.k != 0) return std::nullopt;
    }
  }
  for (const Stride& s : a.strides) {
    if (s.loop == loop) return s.k;
  }
  return 0;
}

bool in_tile(LoopKind k) {
  switch (k) {
  case LoopKind::Unroll:
  case LoopKind::Vectorize: return true;
  case LoopKind::Serial:
  case LoopKind::Parallel:
  case LoopKind::Thread:
  case LoopKind::Tensor: return false;
  }
  return false;
}

}  // namespace

Reuse::Reuse(const LoopTree& t, const Machine& m)
    : tree_(t), machine_(m), buffers_(t.function->buffers.size()) {
  const size_t loops = t.loops.size();
  share_.assign(loops, 1);
  trip_.assign(loops, 1);
  const double threads = std::max(1, m.threads);
  for (size_t l = 0; l < loops; ++l) {
    const LoopNode& n = t.loops[l];
    share_[l] = n.parent < 0 ? 1 : share_[static_cast<size_t>(n.parent)];
    trip_[l] = std::max(n.trip, 1.0);
    if (n.kind == LoopKind::Parallel && n.trip > 0) {
      trip_[l] = std::ceil(std::max(1.0, n.trip) / threads);
      share_[l] *= trip_[l] / std::max(1.0, n.trip);
    }
  }
  iteration_.assign(loops * buffers_, 0);
  whole_.assign(loops * buffers_, 0);
  elements_.assign(buffers_, 0);
  iteration_sum_.assign(loops, 0);
  whole_sum_.assign(loops, 0);
  use_sites();
  access_use_.resize(t.accesses.size());
  for (size_t a = 0; a < t.accesses.size(); ++a) use_access(a);
  for (size_t l = 0; l < loops; ++l) {
    for (BufferId b = 0; b < buffers_; ++b) {
      iteration_sum_[l] += iteration_[cell(static_cast<int>(l), b)];
      whole_sum_[l] += whole_[cell(static_cast<int>(l), b)];
    }
  }
}

void Reuse::use_sites() {
  for (const Site& s : tree_.sites) {
    SiteUse u;
    u.executions = s.executions * share(s.loop);
    for (int l = s.loop; l > 0; l = tree_.loops[static_cast<size_t>(l)].parent)
      u.stack.push_back(l);
    while (static_cast<size_t>(u.tile) < u.stack.size() &&
           in_tile(tree_.loops[static_cast<size_t>(u.stack[static_cast<size_t>(u.tile)])].kind)) {
      const int l = u.stack[static_cast<size_t>(u.tile++)];
      if (tree_.loops[static_cast<size_t>(l)].kind == LoopKind::Vectorize) {
        u.lanes *= trip(l);
      } else {
        u.unrolled *= trip(l);
      }
    }
    const double bytes = size_of(tree_.function->buffers[s.buffer].dtype);
    u.instructions = u.lanes > 1 ? std::ceil(u.lanes * bytes / machine_.vector_bytes) / u.lanes : 1;
    site_use_.push_back(std::move(u));
  }
}

void Reuse::use_access(size_t index) {
  const Access& a = tree_.accesses[index];
  AccessUse& use = access_use_[index];
  const SiteUse& site = site_use_[static_cast<size_t>(a.site)];
  const Buffer& buffer = tree_.function->buffers[a.buffer];
  const double bytes = size_of(buffer.dtype);
  const double most = std::max<double>(1, static_cast<double>(buffer.size));
  const bool in_memory = !in_registers(buffer.scope);

  // One loop after the other joins the box, innermost first.
  std::vector<double> active(tree_.loops.size(), 1);
  std::vector<Dim> dims;
  Reach r;
  double tile_points = 1;
  auto record = [&](int loop, std::vector<double>& table) {
    double& c = table[cell(loop, a.buffer)];
    c = std::max(c, r.lines * line);
  };
  use.tile_elements = 1;
  for (size_t p = 0; p < site.stack.size(); ++p) {
    const int l = site.stack[p];
    if (in_memory) record(l, iteration_);
    const bool moved = moves(a, l);
    active[static_cast<size_t>(l)] = trip(l);
    if (moved && trip(l) > 1) {
      dims.clear();
      for (const Stride& s : a.strides) {
        const double n = active[static_cast<size_t>(s.loop)];
        if (n > 1 && s.k != 0) dims.push_back({std::abs(static_cast<double>(s.k)), n});
      }
      for (const Wrapped& w : a.wrapped) {
        const double n = values_of(w, active);
        if (n > 1 && w.scale != 0) dims.push_back({std::abs(static_cast<double>(w.scale)), n});
      }
      std::sort(dims.begin(), dims.end(), [](const Dim& x, const Dim& y) { return x.k < y.k; });
      r = reach_of(dims, bytes);
      r.elements = std::min(r.elements, most);
      r.lines = std::min(r.lines, std::ceil(most * bytes / line) + 1);
    }
    if (in_memory) record(l, whole_);
    if (p < static_cast<size_t>(site.tile)) {
      tile_points *= trip(l);
      use.tile_elements = r.elements;
    } else if (!moved && trip(l) > 1) {
      if (use.reused_at < 0) use.reused_at = l;
      use.reused_outside = l;
    }
  }
  elements_[a.buffer] = std::max(elements_[a.buffer], r.elements);
  if (in_memory) {
    record(0, iteration_);
    record(0, whole_);
  }

  int vector = -1;
  for (int p = 0; p < site.tile; ++p) {
    const int l = site.stack[static_cast<size_t>(p)];
    if (tree_.loops[static_cast<size_t>(l)].kind == LoopKind::Vectorize) vector = l;
  }
  use.per_tile = use.tile_elements;
  if (vector >= 0) {
    const auto stride = lane_stride(a, vector);
    const double n = trip(vector);
    if (stride == 0) {
      use.lanes = Lanes::Broadcast;
    } else if (stride == 1) {
      use.lanes = Lanes::Contiguous;
      use.per_tile =
          std::max(1.0, use.tile_elements / n) * std::ceil(n * bytes / machine_.vector_bytes);
      const int64_t width = std::max<int64_t>(
          1, std::min<int64_t>(static_cast<int64_t>(n),
                               machine_.vector_bytes / static_cast<int64_t>(bytes)));
      use.aligned = a.offset % width == 0;
      for (const Stride& s : a.strides) use.aligned &= s.loop == vector || s.k % width == 0;
      for (const Wrapped& w : a.wrapped) use.aligned &= w.scale % width == 0;
    } else {
      use.lanes = Lanes::Strided;
    }
  }
  use.executions = site.executions;
  double tiles = site.executions / std::max(1.0, tile_points);
  if (!a.store) {
    // Loops just around the tile that do not move it leave it in a register.
    for (size_t p = static_cast<size_t>(site.tile); p < site.stack.size(); ++p) {
      const int l = site.stack[p];
      if (moves(a, l) || tree_.loops[static_cast<size_t>(l)].kind == LoopKind::Parallel) break;
      tiles /= trip(l);
    }
  }
  use.instructions = in_memory ? tiles * use.per_tile : 0;
}

// From the outermost loops inwards: where one iteration fits, every line that the loop touches
// comes once an entry.
template <class Bytes> double Reuse::fetched(double cache_bytes, Bytes&& bytes) const {
  double total = 0;
  std::vector<char> inside(tree_.loops.size(), 0);  // of a loop that fits
  for (size_t l = 0; l < tree_.loops.size(); ++l) {
    const LoopNode& n = tree_.loops[l];
    if (n.parent >= 0 && inside[static_cast<size_t>(n.parent)]) {
      inside[l] = 1;
    } else if (iteration_sum_[l] <= cache_bytes) {
      inside[l] = 1;
      const double entries = n.entries * (n.parent < 0 ? 1 : share(n.parent));
      total += entries * bytes(static_cast<int>(l));
    }
  }
  // Statements whose loops hold more than the cache: every execution fetches.
  for (size_t a = 0; a < tree_.accesses.size(); ++a) {
    const Access& x = tree_.accesses[a];
    if (inside[static_cast<size_t>(x.loop)] ||
        in_registers(tree_.function->buffers[x.buffer].scope))
      continue;
    total += access_use_[a].instructions * bytes(x);
  }
  return total;
}

namespace {

struct AllBytes {
  const Reuse& r;
  double operator()(int loop) const { return r.loop_bytes(loop); }
  double operator()(const Access&) const { return line; }
};

struct BufferBytes {
  const Reuse& r;
  BufferId b;
  double operator()(int loop) const { return r.loop_bytes(loop, b); }
  double operator()(const Access& a) const { return a.buffer == b ? line : 0; }
};

}  // namespace

double Reuse::traffic(double cache_bytes) const { return fetched(cache_bytes, AllBytes{*this}); }
double Reuse::traffic(double cache_bytes, BufferId b) const {
  return fetched(cache_bytes, BufferBytes{*this, b});
}

}  // namespace burnish::search
