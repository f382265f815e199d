// Joins groups that feed one another and nobody else, where the target would rather keep them in one nest.
//
//   %e = group(%x) { conv; relu }
//   %d = group(%e) { depthwise conv; relu }      ->      %o = group(%x) { conv; relu; conv; relu; conv; add }
//   %o = group(%d, %x) { conv; add }
//
// What lies between two joined groups never becomes a whole tensor: the schedule keeps some of its rows. Whether that
// gains anything depends on caches and on the schedules there are, so the target is asked for every piece of a run of
// such groups, and the run is cut where that takes the least time by its estimates, or the least has to go through memory.
#include <algorithm>
#include <limits>
#include <optional>

#include "base/error.h"
#include "graph/op.h"
#include "passes/graph/bodies.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr size_t longest_body = 24;  // nodes
constexpr size_t longest_piece = 6;  // groups

// A run of groups, each the only reader of the one before.
using Run = std::vector<NodeId>;

std::vector<Run> runs_of(const Graph& g) {
  const auto readers = consumers(g);
  std::vector<bool> leaves(g.values.size(), false), follows(g.nodes.size(), false);
  for (ValueId v : g.outputs) leaves[v] = true;
  std::vector<NodeId> follower(g.nodes.size(), ~NodeId{0});
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    if (!is_group(g.nodes[n])) continue;
    const ValueId out = g.nodes[n].outputs[0];
    if (leaves[out] || readers[out].size() != 1 || !is_group(g.nodes[readers[out][0]])) continue;
    const NodeId next = readers[out][0];
    if (follows[next]) continue;  // it continues another run already
    follower[n] = next;
    follows[next] = true;
  }
  std::vector<Run> runs;
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    if (!is_group(g.nodes[n]) || follows[n] || follower[n] == ~NodeId{0}) continue;
    runs.emplace_back();
    for (NodeId at = n; at != ~NodeId{0}; at = follower[at]) runs.back().push_back(at);
  }
  return runs;
}

// The node made of run[first..last].
Node joined(const Graph& g, const Run& run, size_t first, size_t last) {
  Node chain = g.nodes[run[first]];
  for (size_t i = first + 1; i <= last; ++i) chain = joined_groups(chain, g.nodes[run[i]]);
  return chain;
}

// Where to cut a run, over the cuts whose pieces the target wants: so that the sum of its estimates is smallest, or, where it has none, of
// the bytes of tensors at the cuts, which go through memory. Returns the last position of each piece.
std::vector<size_t> cuts_of(const Graph& g, const Run& run, const Target& target) {
  std::vector<double> cost(run.size() + 1, std::numeric_limits<double>::infinity());
  std::vector<size_t> start(run.size() + 1, 0);
  cost[0] = 0;
  for (size_t first = 0; first < run.size(); ++first) {
    for (size_t last = first; last < run.size() && last < first + longest_piece; ++last) {
      const Node piece = joined(g, run, first, last);
      const StageGroup stages = stages_of_group(g, piece);
      if (last > first) {
        const auto is_cast = [](const Node& n) { return n.op->name == "cast"; };  // no work of their own
        if (piece.bodies[0].nodes.size() - static_cast<size_t>(std::ranges::count_if(piece.bodies[0].nodes, is_cast)) > longest_body) break;
        if (!target.prefers_one_nest(stages)) break;
      }
      const TensorType& out = g.type(g.nodes[run[last]].outputs[0]);
      const double bytes = static_cast<double>(element_count(out.shape) * size_of(out.dtype));
      const double piece_cost = target.nest_us(stages).value_or(bytes);
      if (cost[first] + piece_cost < cost[last + 1]) {
        cost[last + 1] = cost[first] + piece_cost;
        start[last + 1] = first;
      }
    }
  }
  std::vector<size_t> ends;
  for (size_t at = run.size(); at > 0; at = start[at]) ends.push_back(at - 1);
  std::reverse(ends.begin(), ends.end());
  return ends;
}

}  // namespace

Graph fuse_chains(const Graph& g, const Context& c) {
  if (c.target == nullptr) return g;
  std::vector<bool> taken(g.nodes.size(), false);        // joined into a later node
  std::vector<std::optional<Node>> now(g.nodes.size());  // what stands in the place of a piece's last node
  for (const Run& run : runs_of(g)) {
    size_t first = 0;
    for (size_t last : cuts_of(g, run, *c.target)) {
      if (last > first) now[run[last]] = joined(g, run, first, last);
      for (size_t i = first; i < last; ++i) taken[run[i]] = true;
      first = last + 1;
    }
  }

  return with_joined(g, std::move(now), taken);
}

}  // namespace burnish
