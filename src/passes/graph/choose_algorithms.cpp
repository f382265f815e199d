// Takes for every operator that can be computed in several ways the one that costs least on the
// target.
//
//   %y = conv(%x, %w, %b)    ->    %y = winograd_conv(%x, %u, %b) {tile=4}      %u: %w, transformed
//
// The target is asked for the time of each (a draft of its default schedule). An algorithm for
// which it has no answer is not taken.
#include <map>

#include "graph/op.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

constexpr double worth_changing = 0.95;  // drafts are estimates

// The time of a node alone. Its constants need no values.
double estimate(const Graph& g, const Node& n, const Alternative* other, const Target& target) {
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
  return target.estimate_us(stages);
}

std::string text_of(const Attrs& attrs) {
  std::string all;
  for (const auto& [name, value] : attrs.all()) {
    all += ' ' + name;
    if (const auto* ints = std::get_if<std::vector<int64_t>>(&value)) all += shape_text(*ints);
    if (const auto* text = std::get_if<std::string>(&value)) all += *text;
    if (const auto* number = std::get_if<int64_t>(&value)) all += std::to_string(*number);
  }
  return all;
}

class Chooser {
 public:
  Chooser(const Graph& g, const Target& target) : g_(g), target_(target) {}

  // Nothing: the operator itself.
  std::optional<Alternative> best(const Node& n) {
    std::vector<Alternative> all = alternatives_of(g_, n);
    if (all.empty()) return std::nullopt;
    auto [known, is_new] = chosen_.try_emplace(key_of(n), all.size());
    if (is_new) {
      double least = estimate(g_, n, nullptr, target_) * worth_changing;
      for (size_t i = 0; i < all.size(); ++i) {
        const double us = estimate(g_, n, &all[i], target_);
        if (us < least) least = us, known->second = i;
      }
    }
    if (known->second == all.size()) return std::nullopt;
    return std::move(all[known->second]);
  }

 private:
  // Equal nodes choose equally: everything that estimates depend on.
  std::string key_of(const Node& n) const {
    std::string key(n.op->name);
    for (ValueId v : n.inputs) key += v == no_value ? " -" : ' ' + to_text(g_.type(v));
    key += ' ' + to_text(g_.type(n.outputs[0]));
    return key + text_of(n.attrs);
  }

  const Graph& g_;
  const Target& target_;
  std::map<std::string, size_t> chosen_;
};

}  // namespace

Graph choose_algorithms(const Graph& g, const Context& c) {
  if (c.target == nullptr) return g;
  Chooser chooser(g, *c.target);
  GraphRewriter rewriter(g);
  std::map<std::string, ValueId> made_of;  // weights that several nodes share are transformed once
  for (NodeId id = 0; id < g.nodes.size(); ++id) {
    const Node& n = g.nodes[id];
    const auto other = chooser.best(n);
    if (!other) {
      rewriter.copy(id);
      continue;
    }
    std::vector<ValueId> inputs = rewriter.map(n.inputs);
    const ValueId weights = n.inputs[other->input];
    const std::string form = std::to_string(weights) + ' ' + std::string(other->op) + text_of(other->attrs);
    const auto [transformed, is_new] = made_of.try_emplace(form, no_value);
    if (is_new) {
      transformed->second = rewriter.out.add_constant(g.values[weights].name + ".transformed", other->value());
    }
    inputs[other->input] = transformed->second;
    const NodeId made = rewriter.out.add_node(op_named(other->op), std::move(inputs), other->attrs,
                                              n.source, {g.values[n.outputs[0]].name});
    const ValueId out = rewriter.out.nodes[made].outputs[0];
    rewriter.out.values[out].type.layout = g.type(n.outputs[0]).layout;
    rewriter.set(n.outputs[0], out);
  }
  return rewriter.finish();
}

}  // namespace burnish
