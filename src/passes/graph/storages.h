// Which values share memory: views, and parts of concats and splits.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "graph/graph.h"

namespace burnish {

// Where a value lies: in the storage of `root`, the value that stands for it, from this element on; between the rows of
// others if it has an axis after whose elements `pad` are not its own.
struct Location {
  ValueId root;
  int64_t offset = 0;
  std::optional<uint32_t> axis = {};
  int64_t pad = 0;
};

struct Storages {
  std::vector<Location> of;      // by value
  std::vector<bool> needs_code;  // by node
  bool holds_whole(const Graph& g, ValueId v) const {
    return element_count(g.type(v).shape) == element_count(g.type(of[v].root).shape);
  }
};

// Views and splits first, then the concats in their order: what one took, the next must copy.
Storages storages(const Graph& g);

// What lies apart gets its layout, in the graph and in the groups that make it or read it.
Graph with_pitches(const Graph& g, const Storages& s);

}  // namespace burnish
