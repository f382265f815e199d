// Takes for every operator that can be computed in several ways the one that costs least on the
// target.
//
//   %y = conv(%x, %w, %b)    ->    %y = winograd_conv(%x, %u, %b) {tile=4}      %u: %w, transformed
//
// The target is asked for the time of each (a draft of its default schedule). An algorithm for
// which it has no answer is not taken.
#include <algorithm>
#include <map>

#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr double worth_changing = 0.95;  // drafts are estimates

// The formulas of a node alone, or of another algorithm in its place. Constants need no values.
StageGroup stages_of_either(const Graph& g, const Node& n, const Alternative* other) {
  Graph alone;
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.inputs[i] == no_value) {
      inputs.push_back(no_value);
      continue;
    }
    const bool changed = other && other->input == i;
    inputs.push_back(
        alone.add_input("p" + std::to_string(i), changed ? other->type : g.type(n.inputs[i])));
  }
  const NodeId id = alone.add_node(other ? op_named(other->op) : *n.op, inputs,
                                   other ? other->attrs : n.attrs, n.source);
  alone.values[alone.nodes[id].outputs[0]].type.layout = g.type(n.outputs[0]).layout;
  StageGroup stages = stages_of(alone, alone.nodes[id]);
  size_t parameter = 0;
  for (ValueId v : n.inputs) {
    if (v == no_value) continue;
    if (g.values[v].is_constant()) stages[stages.inputs[parameter]].kind = StageKind::Constant;
    ++parameter;
  }
  return stages;
}

class Chooser {
 public:
  Chooser(const Graph& g, const Target& target) : g_(g), target_(target) {}

  // Nothing: the operator itself.
  std::optional<Alternative> best(const Node& n) {
    std::vector<Alternative> all = alternatives_of(g_, n);
    if (all.empty()) return std::nullopt;
    const StageGroup direct = stages_of_either(g_, n, nullptr);
    auto [known, is_new] = chosen_.try_emplace(to_text(direct), all.size());
    if (is_new) {
      double least = target_.estimate_us(direct) * worth_changing;
      for (size_t i = 0; i < all.size(); ++i) {
        const double us = target_.estimate_us(stages_of_either(g_, n, &all[i]));
        if (us < least) least = us, known->second = i;
      }
    }
    if (known->second == all.size()) return std::nullopt;
    return std::move(all[known->second]);
  }

 private:
  const Graph& g_;
  const Target& target_;
  std::map<std::string, size_t> chosen_;  // by formulas: equal ones choose equally
};

// Weights in the form of an algorithm: nodes that share them share this, too.
struct Transformed {
  ValueId weights;
  std::string_view op;
  Attrs attrs;
  ValueId value;
};

}  // namespace

StageGroup stages_alone(const Graph& g, const Node& n) { return stages_of_either(g, n, nullptr); }

Graph choose_algorithms(const Graph& g, const Context& c) {
  if (c.target == nullptr) return g;
  Chooser chooser(g, *c.target);
  GraphRewriter rewriter(g);
  std::vector<Transformed> transformed;
  for (NodeId id = 0; id < g.nodes.size(); ++id) {
    const Node& n = g.nodes[id];
    const auto other = chooser.best(n);
    if (!other) {
      rewriter.copy(id);
      continue;
    }
    std::vector<ValueId> inputs = rewriter.map(n.inputs);
    const ValueId weights = n.inputs[other->input];
    auto known = std::ranges::find_if(transformed, [&](const Transformed& t) {
      return t.weights == weights && t.op == other->op && t.attrs == other->attrs;
    });
    if (known == transformed.end()) {
      const ValueId value = rewriter.out.add_constant(g.values[weights].name + ".transformed", other->value());
      known = transformed.insert(known, {weights, other->op, other->attrs, value});
    }
    inputs[other->input] = known->value;
    const NodeId made = rewriter.out.add_node(op_named(other->op), std::move(inputs), other->attrs,
                                              n.source, {g.values[n.outputs[0]].name});
    const ValueId out = rewriter.out.nodes[made].outputs[0];
    rewriter.out.values[out].type.layout = g.type(n.outputs[0]).layout;
    rewriter.set(n.outputs[0], out);
  }
  return rewriter.finish();
}

}  // namespace burnish
