// f32 between kernels, and weights, as narrower types where the target stores them so: both as f16 or bf16, or as tf32 weights, and what
// products alone read: where it is stored it is rounded once, instead of each time that it is read.
//
//   %y = group(%x, %w, %b) { conv; relu }    ->    %y = group(%x, %w, %b) { cast %x; cast %w; conv; relu; cast to f16 }
//
// Every group computes what it did, in f32, sums and statistics among it, and rounds once, where it stores. Inputs and outputs of
// the network keep their types. So do
//   what may leave the range of f16 or is sensitive to rounding: exponentials, powers, logarithms, sums;
//   results of reductions that are small beside what was reduced (means, variances): they cost nothing;
//   constants, but for those that products or lookups read (weights, tables) within the range of that type; of tf32, those of products over
//   channels alone, whose factors are rounded so anyhow.
// Values that share memory, through views and groups that only move elements (concat, split, slices), have one type.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <ranges>

#include "base/error.h"
#include "expr/half.h"
#include "graph/op.h"
#include "passes/graph/bodies.h"
#include "passes/graph/passes.h"

namespace burnish {

namespace {

bool has_body(const Node& n) { return n.op == &group_op() && n.bodies.size() == 1; }

// Elements of the result are elements of the operands.
bool only_moves(const Node& n) {
  return n.op->fusion == Fusion::Injective && n.op->name != "resize" && n.op->name != "grid_sample";
}

bool is_sensitive(const OpDef& op) {
  constexpr std::string_view names[] = {"exp",        "log",           "pow",           "reduce_sum",        "reduce_prod", "reduce_l1",
                                        "reduce_l2",  "reduce_log_sum", "reduce_log_sum_exp", "reduce_sum_square", "cumsum",      "log_softmax"};
  return std::ranges::find(names, op.name) != std::end(names);
}

// Results are much smaller than what was reduced.
bool is_statistic(const Graph& body, const Node& n) {
  constexpr int64_t much = 8;
  int64_t largest = 0;
  for (ValueId v : n.inputs)
    if (v != no_value) largest = std::max(largest, element_count(body.type(v).shape));
  return n.op->fusion == Fusion::Reduction && element_count(body.type(n.outputs[0]).shape) * much <= largest;
}

bool fits(const Tensor& t, DType half) {
  const double largest = half == DType::F16 ? 65504 : 0x1.fep127;
  for (int64_t i = 0; i < t.size(); ++i)
    if (!(std::abs(t.get(i).f) <= largest)) return false;
  return true;
}

TensorPtr converted(const Tensor& t, DType to) {
  auto narrow = std::make_shared<Tensor>(to, t.shape);
  for (int64_t i = 0; i < t.size(); ++i) narrow->set(i, {to, t.get(i).f, 0});
  return narrow;
}

Attrs cast_to(DType t) {
  Attrs a;
  a.set("to", std::string(name_of(t)));
  return a;
}

class Narrowed {
 public:
  Narrowed(const Graph& g, DType storage, DType weights)
      : g_(g), storage_(storage), weights_(weights), class_(g.values.size()), keeps_(g.values.size(), !is_half(storage)), factor_(g.values.size()) {
    std::iota(class_.begin(), class_.end(), 0u);
    for (const std::vector<ValueId>* ends : {&g.inputs, &g.outputs})
      for (ValueId v : *ends) keeps_[v] = true;
    for (const Node& n : g.nodes) {
      if (one_type(n)) {
        for (ValueId v : n.inputs) unite(n.outputs[0], v);
        for (ValueId v : n.outputs) unite(n.outputs[0], v);
      } else {
        keep_outputs(n);
      }
    }
    for (ValueId v = 0; v < g.values.size(); ++v)
      if (keeps_[v]) keeps_[of(v)] = true;
    if (weights == DType::TF32) find_factors();
  }

  Graph run() {
    GraphRewriter rewriter(g_);
    for (const Node& n : g_.nodes) {
      if (has_body(n))
        convert_group(rewriter, n);
      else
        convert_view(rewriter, n);
    }
    return rewriter.finish();
  }

 private:
  bool one_type(const Node& n) const { return !has_body(n) || std::ranges::all_of(n.bodies[0].nodes, only_moves); }
  bool is_f32(ValueId v) const { return v != no_value && g_.type(v).dtype == DType::F32; }
  ValueId of(ValueId v) const {
    while (class_[v] != v) v = class_[v];
    return v;
  }
  void unite(ValueId a, ValueId b) {
    if (is_f32(a) && is_f32(b) && !g_.values[b].is_constant()) class_[of(b)] = of(a);
  }

  void keep_outputs(const Node& n) {
    const Graph& body = n.bodies[0];
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      const NodeId last = body.values[body.outputs[i]].producer;
      if (last == ~NodeId{0} || is_sensitive(*body.nodes[last].op) || is_statistic(body, body.nodes[last])) keeps_[n.outputs[i]] = true;
    }
  }

  // Values that are computed here and of which all readers are the one product of their group, as its data.
  void find_factors() {
    for (const Node& n : g_.nodes)
      if (has_body(n) && !one_type(n))
        for (const ValueId v : n.outputs) factor_[v] = is_f32(v);
    for (const ValueId v : g_.outputs) factor_[v] = false;
    for (const Node& n : g_.nodes)
      for (size_t i = 0; i < n.inputs.size(); ++i)
        if (n.inputs[i] != no_value && !(has_body(n) && is_data(n.bodies[0], n.bodies[0].inputs[i]))) factor_[n.inputs[i]] = false;
  }
  static bool is_data(const Graph& body, ValueId v) {
    const auto products = std::ranges::count_if(body.nodes, [](const Node& x) { return x.op->fusion == Fusion::Anchor; });
    return products == 1 && std::ranges::all_of(body.nodes, [&](const Node& x) {
      const auto reads = std::ranges::count(x.inputs, v);
      const bool product = (x.op->name == "conv" || x.op->name == "matmul") && x.attrs.i("groups", 1) == 1;
      return reads == 0 || (reads == 1 && product && x.inputs[0] == v && body.values[x.inputs[1]].is_constant());
    });
  }

  // What the node reads or writes the value as, if it is not f32.
  std::optional<DType> narrow(const Node& n, ValueId v) {
    if (!is_f32(v)) return std::nullopt;
    if (factor_[v]) return weights_;
    if (!g_.values[v].is_constant()) return keeps_[of(v)] ? std::nullopt : std::optional(storage_);
    if (one_type(n)) return is_f32(n.outputs[0]) && !keeps_[of(n.outputs[0])] ? std::optional(storage_) : std::nullopt;
    return is_weight(n, v) ? std::optional(weights_) : std::nullopt;
  }

  // A constant of several axes that a product or lookup reads.
  bool is_weight(const Node& n, ValueId v) {
    const Graph& body = n.bodies[0];
    if (g_.type(v).shape.size() < 2) return false;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      if (n.inputs[i] != v) continue;
      for (const Node& reader : body.nodes) {
        const bool product = reader.op->fusion == Fusion::Anchor;
        if (is_half(weights_) ? !product && reader.op->name != "gather" : !product || reader.attrs.i("groups", 1) != 1) continue;
        // Factors, and not what is added to products: biases, masks.
        const size_t factors = !product ? reader.inputs.size() : reader.op->name == "attention" ? 3 : 2;
        const auto read = reader.inputs | std::views::take(factors);
        if (std::ranges::find(read, body.inputs[i]) == read.end()) continue;
        const auto [known, is_new] = fits_.emplace(v, true);
        if (is_new) known->second = !is_half(weights_) || fits(*g_.values[v].constant, weights_);
        return known->second;
      }
    }
    return false;
  }

  ValueId operand(GraphRewriter& rewriter, const Node& n, ValueId v) {
    const auto type = v == no_value || !g_.values[v].is_constant() ? std::nullopt : narrow(n, v);
    if (!type) return rewriter.map(v);
    const auto [known, is_new] = narrow_.emplace(v, no_value);
    if (is_new) known->second = rewriter.out.add_constant(g_.values[v].name, converted(*g_.values[v].constant, *type));
    return known->second;
  }

  std::vector<std::string> output_names(const Node& n) const {
    std::vector<std::string> names;
    for (ValueId v : n.outputs) names.push_back(g_.values[v].name);
    return names;
  }

  void convert_view(GraphRewriter& rewriter, const Node& n) {
    std::vector<ValueId> inputs;
    for (ValueId v : n.inputs) inputs.push_back(operand(rewriter, n, v));
    take(rewriter, n, rewriter.out.add_node(*n.op, std::move(inputs), n.attrs, n.source, output_names(n)));
  }

  void take(GraphRewriter& rewriter, const Node& n, NodeId made) const {
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      const ValueId v = rewriter.out.nodes[made].outputs[i];
      rewriter.out.values[v].type.layout = g_.type(n.outputs[i]).layout;
      rewriter.set(n.outputs[i], v);
    }
  }

  void convert_group(GraphRewriter& rewriter, const Node& n) {
    const Graph& from = n.bodies[0];
    const bool moved = one_type(n);
    Graph body;
    body.name = from.name;
    std::vector<ValueId> map(from.values.size(), no_value), operands;
    const auto casted = [&](ValueId v, DType t) {
      const Layout layout = body.type(v).layout;
      const ValueId made = body.add(op_named("cast"), {v}, cast_to(t), "");
      body.values[made].type.layout = layout;
      return made;
    };
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId operand_now = operand(rewriter, n, n.inputs[i]);
      TensorType type = from.type(from.inputs[i]);
      type.dtype = narrow(n, n.inputs[i]).value_or(type.dtype);
      const ValueId parameter = body.add_input(from.values[from.inputs[i]].name, type);
      body.values[parameter].constant = rewriter.out.values[operand_now].constant;
      operands.push_back(operand_now);
      map[from.inputs[i]] = parameter;
    }
    if (!moved)
      for (size_t i = 0; i < n.inputs.size(); ++i)
        if (narrow(n, n.inputs[i])) map[from.inputs[i]] = casted(map[from.inputs[i]], DType::F32);
    for (const Node& x : from.nodes) copy_node(from, x, body, map);
    for (size_t i = 0; i < n.outputs.size(); ++i) {
      const ValueId v = map[from.outputs[i]];
      const auto type = moved ? std::nullopt : narrow(n, n.outputs[i]);
      body.outputs.push_back(type ? casted(v, *type) : v);
    }
    take(rewriter, n, add_group(rewriter.out, std::move(body), std::move(operands), n.source, output_names(n)));
  }

  const Graph& g_;
  DType storage_, weights_;
  std::vector<ValueId> class_;   // towards the representative of those with one type
  std::vector<bool> keeps_;      // f32
  std::vector<bool> factor_;     // products alone read it: as their weights are
  std::map<ValueId, bool> fits_;
  std::map<ValueId, ValueId> narrow_;
};

}  // namespace

Graph narrow_storage(const Graph& g, const Context& c) {
  if (c.target == nullptr || c.target->weights() == DType::F32) return g;
  return Narrowed(g, c.target->storage(), c.target->weights()).run();
}

}  // namespace burnish
