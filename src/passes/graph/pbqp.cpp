#include "passes/graph/pbqp.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace burnish {

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

size_t least(const std::vector<double>& costs) {
  return static_cast<size_t>(std::ranges::min_element(costs) - costs.begin());
}

}  // namespace

size_t Pbqp::add_node(std::vector<double> costs) {
  check(!costs.empty(), "a node without choices");
  costs_.push_back(std::move(costs));
  edges_.emplace_back();
  return costs_.size() - 1;
}

void Pbqp::add_edge(size_t a, size_t b, const std::vector<double>& costs) {
  const size_t rows = costs_[a].size(), columns = costs_[b].size();
  check(a != b && costs.size() == rows * columns,
        "an edge joins two nodes and has a cost for each pair of choices");
  std::vector<double>& forth = edges_[a].try_emplace(b, costs.size(), 0.0).first->second;
  std::vector<double>& back = edges_[b].try_emplace(a, costs.size(), 0.0).first->second;
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) {
      forth[i * columns + j] += costs[i * columns + j];
      back[j * rows + i] += costs[i * columns + j];
    }
  }
}

double Pbqp::cost(const std::vector<size_t>& choice) const {
  double sum = 0;
  for (size_t a = 0; a < costs_.size(); ++a) {
    sum += costs_[a][choice[a]];
    for (const auto& [b, costs] : edges_[a]) {
      if (a < b) sum += costs[choice[a] * costs_[b].size() + choice[b]];
    }
  }
  return sum;
}

class PbqpReduction {
 public:
  explicit PbqpReduction(const Pbqp& p) : p_(p), removed_(p.costs_.size(), false) {}

  std::vector<size_t> run() {
    for (size_t left = p_.costs_.size(); left > 0; --left) remove(next());
    std::vector<size_t> choice(p_.costs_.size());
    for (size_t k = order_.size(); k-- > 0;) {
      const size_t x = order_[k];
      std::vector<double> costs = p_.costs_[x];
      for (const auto& [y, edge] : p_.edges_[x]) {
        for (size_t i = 0; i < costs.size(); ++i) costs[i] += edge[i * choices(y) + choice[y]];
      }
      choice[x] = least(costs);
    }
    return choice;
  }
  bool exact() const { return exact_; }

 private:
  size_t choices(size_t n) const { return p_.costs_[n].size(); }
  size_t degree(size_t n) const { return p_.edges_[n].size(); }

  // The first one that can be folded exactly, else the one that decides most.
  size_t next() const {
    size_t most = removed_.size();
    for (size_t n = 0; n < removed_.size(); ++n) {
      if (removed_[n]) continue;
      if (degree(n) <= 2) return n;
      if (most == removed_.size() || degree(n) > degree(most)) most = n;
    }
    return most;
  }

  // The node keeps its edges for the way back; its neighbours lose theirs to it.
  void remove(size_t x) {
    removed_[x] = true;
    order_.push_back(x);
    const Pbqp::Edges& edges = p_.edges_[x];
    for (const auto& [y, edge] : edges) p_.edges_[y].erase(x);
    if (edges.size() == 1) fold_one(x, edges.begin()->first, edges.begin()->second);
    if (edges.size() == 2) fold_two(x, *edges.begin(), *edges.rbegin());
    if (edges.size() > 2) decide(x);
  }

  void fold_one(size_t x, size_t y, const std::vector<double>& edge) {
    for (size_t j = 0; j < choices(y); ++j) {
      double best = infinite;
      for (size_t i = 0; i < choices(x); ++i)
        best = std::min(best, p_.costs_[x][i] + edge[i * choices(y) + j]);
      p_.costs_[y][j] += best;
    }
  }

  void fold_two(size_t x, const Pbqp::Edges::value_type& to_y,
                const Pbqp::Edges::value_type& to_z) {
    const auto& [y, y_costs] = to_y;
    const auto& [z, z_costs] = to_z;
    std::vector<double> joined(choices(y) * choices(z), infinite);
    for (size_t j = 0; j < choices(y); ++j) {
      for (size_t k = 0; k < choices(z); ++k) {
        double& best = joined[j * choices(z) + k];
        for (size_t i = 0; i < choices(x); ++i) {
          best = std::min(best, p_.costs_[x][i] + y_costs[i * choices(y) + j] +
                                    z_costs[i * choices(z) + k]);
        }
      }
    }
    p_.add_edge(y, z, joined);
  }

  void decide(size_t x) {
    exact_ = false;
    std::vector<double> costs = p_.costs_[x];
    for (size_t i = 0; i < costs.size(); ++i) {
      for (const auto& [y, edge] : p_.edges_[x]) {
        double best = infinite;
        for (size_t j = 0; j < choices(y); ++j)
          best = std::min(best, p_.costs_[y][j] + edge[i * choices(y) + j]);
        costs[i] += best;
      }
    }
    const size_t chosen = least(costs);
    for (size_t i = 0; i < costs.size(); ++i) p_.costs_[x][i] = i == chosen ? 0 : infinite;
    for (const auto& [y, edge] : p_.edges_[x]) {
      for (size_t j = 0; j < choices(y); ++j) p_.costs_[y][j] += edge[chosen * choices(y) + j];
    }
  }

  Pbqp p_;
  std::vector<bool> removed_;
  std::vector<size_t> order_;
  bool exact_ = true;
};

std::vector<size_t> Pbqp::solve() const {
  PbqpReduction reduction(*this);
  std::vector<size_t> choice = reduction.run();
  if (reduction.exact()) return choice;
  std::vector<size_t> alone;  // at least as good as what each node would take without neighbours
  for (const std::vector<double>& costs : costs_) alone.push_back(least(costs));
  return cost(alone) < cost(choice) ? alone : choice;
}

}  // namespace burnish
