// Partitioned boolean quadratic programmes: one choice for every node, so that the sum of the
// nodes' costs and of the costs of pairs of choices along edges is least.
//
// Solved by reduction (Scholz and Eckstein, "Register allocation for irregular architectures",
// LCTES 2002): a node of up to two edges is folded into its neighbours, which is exact; where all
// have more, one node is decided by its neighbourhood alone, which is not. Costs may be infinite.
// Equal programmes have equal answers.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace burnish {

class Pbqp {
 public:
  size_t add_node(std::vector<double> costs);
  // costs[i * choices of b + j]: of choice i of `a` beside choice j of `b`. Edges between the same
  // nodes add up.
  void add_edge(size_t a, size_t b, const std::vector<double>& costs);

  double cost(const std::vector<size_t>& choice) const;
  std::vector<size_t> solve() const;

 private:
  using Edges =
      std::map<size_t, std::vector<double>>;  // by neighbour; rows are the node's own choices
  friend class PbqpReduction;

  std::vector<std::vector<double>> costs_;
  std::vector<Edges> edges_;  // each stands at both ends
};

}  // namespace burnish
