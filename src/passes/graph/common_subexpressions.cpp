// One node instead of several that compute the same; one constant instead of several of equal content.
#include <fmt/format.h>

#include <map>

#include "base/text.h"
#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr size_t largest_compared = 1 << 20;  // bytes of a constant; beyond, equality is rare and reading costs

uint64_t hash_of(const Tensor& t) {
  return hash_bytes({reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size()});
}

// Equal keys are necessary, not sufficient: candidates are compared.
std::string key_of(const Node& n, const std::vector<ValueId>& inputs) {
  return fmt::format("{}({}){}", n.op->name, fmt::join(inputs, ","), n.attrs.all().size());
}

}  // namespace

Graph common_subexpressions(const Graph& g, const Context&) {
  GraphRewriter rewriter(g);
  std::multimap<uint64_t, ValueId> constants;
  for (ValueId v = 0; v < g.values.size(); ++v) {
    const TensorPtr& data = g.values[v].constant;
    if (data == nullptr || data->bytes.size() > largest_compared) continue;
    const uint64_t hash = hash_of(*data);
    const auto [begin, end] = constants.equal_range(hash);
    ValueId same = no_value;
    for (auto it = begin; it != end && same == no_value; ++it) {
      const Tensor& other = *g.values[it->second].constant;
      if (other.dtype == data->dtype && other.shape == data->shape && other.bytes == data->bytes) same = it->second;
    }
    if (same == no_value) constants.emplace(hash, v);
    else rewriter.set(v, rewriter.map(same));
  }

  std::multimap<std::string, NodeId> seen;  // nodes of the new graph
  for (NodeId id = 0; id < g.nodes.size(); ++id) {
    const Node& n = g.nodes[id];
    const std::vector<ValueId> inputs = rewriter.map(n.inputs);
    const std::string key = key_of(n, inputs);
    NodeId same = ~NodeId{0};
    const auto [begin, end] = seen.equal_range(key);
    for (auto it = begin; it != end && n.bodies.empty(); ++it) {
      const Node& other = rewriter.out.nodes[it->second];
      if (other.op == n.op && other.inputs == inputs && other.attrs == n.attrs) same = it->second;
    }
    if (same == ~NodeId{0}) {
      rewriter.copy(id);
      seen.emplace(key, static_cast<NodeId>(rewriter.out.nodes.size() - 1));
      continue;
    }
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      rewriter.set(n.outputs[i], rewriter.out.nodes[same].outputs[i]);
    }
  }
  return rewriter.finish();
}

}  // namespace burnish
