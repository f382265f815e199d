// A lowered function as loops, statements and accesses in flat tables: what features are read from.
// One walk.
//
// Loops may have bounds that depend on outer loops (tails, borders of rolled rows). How often
// something runs is therefore estimated: the walk carries a few sample iterations of all loops at
// once, at fixed quasi-random places, with their weights (an importance-sampled count; exact where
// bounds are constant).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "loop/program.h"

namespace burnish::search {

// Scalar operations of one execution of a statement.
enum class OpClass : uint8_t { Fma, Add, Mul, Div, Math, MinMax, Select, Int, Address };
constexpr size_t op_classes = 9;
using OpCounts = std::array<float, op_classes>;

struct LoopNode {
  int parent = -1;  // row in LoopTree::loops; the root, row 0, is the whole function as a loop that
                    // runs once
  LoopKind kind = LoopKind::Serial;
  int depth = 0;         // of the root: 0
  double trip = 1;       // mean number of iterations
  double entries = 1;    // how often the loop is begun, in all
  bool constant = true;  // its bounds are
};

// k iterations' step of a loop, in elements.
struct Stride {
  int loop;
  int64_t k;
};

// scale * ((sum of strides) / div mod `mod`): rings and phases. `data`: the position comes from
// memory.
struct Wrapped {
  std::vector<Stride> strides;
  int64_t div = 1, mod = 0, scale = 1;
  bool data = false;
};

struct Access {
  BufferId buffer = 0;
  int loop = 0;  // innermost enclosing
  int site = 0;
  bool store = false;
  int64_t offset = 0;
  std::vector<Stride> strides;  // of affine parts; each loop at most once
  std::vector<Wrapped> wrapped;
};

// One store statement.
struct Site {
  int loop = 0;
  BufferId buffer = 0;
  double executions = 0;               // in all
  OpCounts ops{};                      // of one execution
  int guards = 0;                      // enclosing conditions
  bool update = false;                 // reads the place that it writes
  int first_access = 0, accesses = 0;  // rows of LoopTree::accesses; the store is the last
};

struct LoopTree {
  const Function* function = nullptr;
  std::vector<LoopNode> loops;  // parents before children
  std::vector<Site> sites;      // in program order
  std::vector<Access> accesses;
  int allocations = 0, guards = 0, barriers = 0, calls = 0;
};

LoopTree loop_tree(const Function& f);

}  // namespace burnish::search
