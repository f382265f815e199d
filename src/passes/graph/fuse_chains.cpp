// Joins groups that feed one another and nobody else, where the target would rather keep them in one nest.
//
//   %e = group(%x) { conv; relu }
//   %d = group(%e) { depthwise conv; relu }      ->      %o = group(%x) { conv; relu; conv; relu; conv; add }
//   %o = group(%d, %x) { conv; add }
//
// What lies between two joined groups never becomes a whole tensor: the schedule keeps some of its rows. Whether that
// gains anything depends on caches and on the schedules there are, so the target is asked, from front to back: a pair
// that it refuses starts anew with its second group.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr size_t longest_body = 24;  // nodes

bool is_group(const Node& n) { return n.op == &group_op() && n.bodies.size() == 1 && n.outputs.size() == 1; }

// The body of `first` followed by that of `second`, whose input number `link` is the first one's output.
// `operands`: what the joined group reads, in the order of its body's inputs.
Graph joined(const Node& first, const Node& second, ValueId link, std::vector<ValueId>& operands) {
  Graph body;
  body.name = first.bodies[0].name + "_" + second.bodies[0].name;
  ValueId made = no_value;
  for (const Node* group : {&first, &second}) {
    const Graph& from = group->bodies[0];
    std::vector<ValueId> map(from.values.size(), no_value);
    for (size_t i = 0; i < from.inputs.size(); ++i) {
      const ValueId operand = group->inputs[i];
      if (group == &second && operand == link) {
        map[from.inputs[i]] = made;
        continue;
      }
      const auto known = std::find(operands.begin(), operands.end(), operand);
      if (known != operands.end()) {
        map[from.inputs[i]] = body.inputs[static_cast<size_t>(known - operands.begin())];
        continue;
      }
      const Value& v = from.values[from.inputs[i]];
      const ValueId input = body.add_input(fmt::format("p{}", operands.size()), v.type);
      body.values[input].constant = v.constant;
      map[from.inputs[i]] = input;
      operands.push_back(operand);
    }
    for (const Node& n : from.nodes) {
      std::vector<ValueId> inputs;
      for (ValueId v : n.inputs) inputs.push_back(v == no_value ? no_value : map[v]);
      const NodeId copy = body.add_node(*n.op, std::move(inputs), n.attrs, n.source);
      for (size_t i = 0; i < n.outputs.size(); ++i) {
        map[n.outputs[i]] = body.nodes[copy].outputs[i];
        body.values[map[n.outputs[i]]].type.layout = from.type(n.outputs[i]).layout;
      }
    }
    made = map[from.outputs[0]];
  }
  body.outputs = {made};
  return body;
}

std::string joined_sources(const std::string& a, const std::string& b) {
  std::vector<std::string> all = split_text(a, '+');
  for (std::string& s : split_text(b, '+')) {
    if (std::find(all.begin(), all.end(), s) == all.end()) all.push_back(std::move(s));
  }
  return join(all, "+");
}

}  // namespace

Graph fuse_chains(const Graph& g, const Context& c) {
  if (c.target == nullptr) return g;
  const auto readers = consumers(g);
  std::vector<bool> leaves(g.values.size(), false);
  for (ValueId v : g.outputs) leaves[v] = true;
  // The only reader of a group's output, if it is a group too.
  const auto follower = [&](const Node& n) -> const Node* {
    const ValueId out = n.outputs[0];
    if (leaves[out] || readers[out].size() != 1) return nullptr;
    const Node& next = g.nodes[readers[out][0]];
    return is_group(next) ? &next : nullptr;
  };
  const auto id = [&](const Node* n) { return static_cast<NodeId>(n - g.nodes.data()); };

  std::vector<bool> taken(g.nodes.size(), false);      // joined into a later node
  std::vector<std::optional<Node>> now(g.nodes.size());  // what stands in the place of a chain's last node
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    if (taken[n] || now[n] || !is_group(g.nodes[n])) continue;
    Node chain = g.nodes[n];
    NodeId last = n;
    while (const Node* next = follower(g.nodes[last])) {
      const NodeId to = id(next);
      if (now[to] || taken[to]) break;
      if (chain.bodies[0].nodes.size() + next->bodies[0].nodes.size() > longest_body) break;
      Node longer;
      longer.op = chain.op;
      longer.bodies.push_back(joined(chain, *next, g.nodes[last].outputs[0], longer.inputs));
      longer.outputs = next->outputs;
      longer.source = joined_sources(chain.source, next->source);
      if (!c.target->prefers_one_nest(stages_of_group(g, longer))) break;
      chain = std::move(longer);
      taken[last] = true;
      last = to;
    }
    if (last != n) now[last] = std::move(chain);
  }

  GraphRewriter rewriter(g);
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    if (taken[n]) continue;
    if (!now[n]) {
      rewriter.copy(n);
      continue;
    }
    Node& chain = *now[n];
    std::vector<std::string> names = {g.values[chain.outputs[0]].name};
    const NodeId added = add_group(rewriter.out, std::move(chain.bodies[0]), rewriter.map(chain.inputs),
                                   chain.source, std::move(names));
    rewriter.set(chain.outputs[0], rewriter.out.nodes[added].outputs[0]);
  }
  return rewriter.finish();
}

}  // namespace burnish
