#include "passes/graph/bodies.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "graph/op.h"

namespace burnish {

void copy_node(const Graph& from, const Node& n, Graph& to, std::vector<ValueId>& map) {
  std::vector<ValueId> inputs;
  for (ValueId v : n.inputs) inputs.push_back(v == no_value ? no_value : map[v]);
  const NodeId copy = to.add_node(*n.op, std::move(inputs), n.attrs, n.source);
  for (size_t i = 0; i < n.outputs.size(); ++i) {
    const ValueId v = to.nodes[copy].outputs[i];
    map[n.outputs[i]] = v;
    to.values[v].type.layout = from.type(n.outputs[i]).layout;
  }
}

bool is_group(const Node& n) { return n.op == &group_op() && n.bodies.size() == 1 && n.outputs.size() == 1; }

namespace {

std::string joined_sources(const std::string& a, const std::string& b) {
  std::vector<std::string> all = split_text(a, '+');
  for (std::string& s : split_text(b, '+')) {
    if (std::find(all.begin(), all.end(), s) == all.end()) all.push_back(std::move(s));
  }
  return join(all, "+");
}

}  // namespace

Node joined_groups(const Node& first, const Node& second) {
  Node both;
  both.op = first.op;
  both.outputs = second.outputs;
  both.source = joined_sources(first.source, second.source);
  Graph body;
  body.name = first.bodies[0].name + "_" + second.bodies[0].name;
  ValueId made = no_value;
  for (const Node* group : {&first, &second}) {
    const Graph& from = group->bodies[0];
    std::vector<ValueId> map(from.values.size(), no_value);
    for (size_t i = 0; i < from.inputs.size(); ++i) {
      const ValueId operand = group->inputs[i];
      if (group == &second && operand == first.outputs[0]) {
        map[from.inputs[i]] = made;
        continue;
      }
      const auto known = std::find(both.inputs.begin(), both.inputs.end(), operand);
      if (known != both.inputs.end()) {
        map[from.inputs[i]] = body.inputs[static_cast<size_t>(known - both.inputs.begin())];
        continue;
      }
      const Value& v = from.values[from.inputs[i]];
      const ValueId input = body.add_input(fmt::format("p{}", both.inputs.size()), v.type);
      body.values[input].constant = v.constant;
      map[from.inputs[i]] = input;
      both.inputs.push_back(operand);
    }
    for (const Node& n : from.nodes) copy_node(from, n, body, map);
    made = map[from.outputs[0]];
  }
  body.outputs = {made};
  both.bodies.push_back(std::move(body));
  return both;
}

Graph with_joined(const Graph& g, std::vector<std::optional<Node>> now, const std::vector<bool>& taken) {
  GraphRewriter rewriter(g);
  for (NodeId n = 0; n < g.nodes.size(); ++n) {
    if (taken[n]) continue;
    if (!now[n]) {
      rewriter.copy(n);
      continue;
    }
    Node& group = *now[n];
    std::vector<std::string> names = {g.values[group.outputs[0]].name};
    const NodeId added = add_group(rewriter.out, std::move(group.bodies[0]), rewriter.map(group.inputs),
                                   group.source, std::move(names));
    rewriter.set(group.outputs[0], rewriter.out.nodes[added].outputs[0]);
  }
  return rewriter.finish();
}

}  // namespace burnish
