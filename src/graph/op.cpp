// Operators as stages: one node, or the body of a fused group.
#include "graph/op.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace burnish {

// ---- layout_transform: out[i] = in[i], stored in another order

Attrs layout_attrs(const Layout& layout) {
  std::vector<int64_t> flat;
  for (const LayoutDim& d : layout) flat.insert(flat.end(), {int64_t{d.axis}, d.div, d.mod, d.pad});
  Attrs attrs;
  attrs.set("layout", std::move(flat));
  return attrs;
}

Layout layout_of(const Attrs& attrs) {
  const std::vector<int64_t> flat = attrs.ints("layout");
  require(flat.size() % 4 == 0, "attribute 'layout' needs four integers a dimension, has {}",
          flat.size());
  Layout layout;
  for (size_t i = 0; i < flat.size(); i += 4) {
    require(flat[i] >= 0 && flat[i] < 256 && flat[i + 1] > 0 && flat[i + 2] >= 0 && flat[i + 3] >= 0,
            "attribute 'layout' has a bad dimension");
    layout.push_back({static_cast<uint32_t>(flat[i]), flat[i + 1], flat[i + 2], flat[i + 3]});
  }
  return layout;
}

namespace {

// The axis names of parameters, by rank; operators use the same (src/ops/README.md).
std::vector<NamedExtent> named_extents(const Shape& shape) {
  static constexpr std::string_view spatial = "zyx";
  std::vector<NamedExtent> axes;
  for (size_t i = 0; i < shape.size(); ++i) {
    std::string name = fmt::format("a{}", i);
    if (shape.size() == 1) name = "c";
    if (shape.size() >= 2 && shape.size() <= 5) {
      name = i == 0 ? "n" : i == 1 ? "c" : std::string(1, spatial[i + 3 - shape.size()]);
    }
    axes.push_back({std::move(name), shape[i]});
  }
  return axes;
}

std::vector<TensorType> infer_layout_transform(const InferContext& c) {
  TensorType t = c.inputs[0];
  t.layout = layout_of(c.attrs);
  return {t};
}

std::vector<StageId> compute_layout_transform(ComputeContext& c) {
  const TensorType& t = c.outputs[0];
  return {c.builder.compute(c.prefix, t.dtype, named_extents(t.shape), [&](AxisVars a) {
    return c.builder.at(c.inputs[0], std::vector<Index>(a.begin(), a.end()));
  })};
}

constexpr AttrSpec layout_transform_attrs[] = {{"layout", AttrType::Ints, true}};

}  // namespace

const OpDef& layout_transform_op() {
  static const OpDef def{.name = "layout_transform",
                         .attrs = layout_transform_attrs,
                         .fusion = Fusion::Injective,
                         .layout = LayoutRule::Any,
                         .infer = infer_layout_transform,
                         .compute = compute_layout_transform};
  return def;
}

const OpDef& group_op() {
  static const OpDef def{.name = "group", .min_inputs = 0, .max_inputs = ~0u};
  return def;
}

const OpDef* find_any_op(std::string_view name) {
  if (name == group_op().name) return &group_op();
  if (name == layout_transform_op().name) return &layout_transform_op();
  return find_op(name);
}

// ---- stages

namespace {

StageId add_parameter(GroupBuilder& b, const Value& v, std::string name) {
  name = b.unique(std::move(name));
  return v.is_constant()
             ? b.constant(name, v.type.dtype, named_extents(v.type.shape), v.type.layout)
             : b.input(name, v.type.dtype, named_extents(v.type.shape), v.type.layout);
}

// Calls the operator's formula over the stages of the node's inputs and gives the outputs their layouts.
std::vector<StageId> compute_node(GroupBuilder& b, const Graph& g, const Node& n,
                                  const std::vector<StageId>& stage_of, std::string prefix) {
  if (n.op->compute == nullptr) {
    fail_unsupported("operator {} (from {}) has no code", n.op->name, n.source);
  }
  std::vector<StageId> inputs;
  std::vector<TensorType> types, outputs;
  std::vector<TensorPtr> constants;
  for (ValueId v : n.inputs) {
    const bool present = v != no_value;
    inputs.push_back(present ? stage_of[v] : ~StageId{0});
    types.push_back(present ? g.type(v) : TensorType{});
    constants.push_back(present ? g.values[v].constant : nullptr);
  }
  for (ValueId v : n.outputs) outputs.push_back(g.type(v));
  ComputeContext c{b, inputs, types, constants, outputs, n.attrs, std::move(prefix)};
  std::vector<StageId> stages = n.op->compute(c);
  check(stages.size() == outputs.size(), "compute of {} gave {} outputs instead of {}", n.op->name,
        stages.size(), outputs.size());
  for (size_t i = 0; i < stages.size(); ++i) {
    Stage& s = b[stages[i]];
    check(s.dtype == outputs[i].dtype && s.shape() == outputs[i].shape,
          "compute of {} gave {} of {}, but infer said {}", n.op->name, name_of(s.dtype),
          shape_text(s.shape()), to_text(outputs[i]));
    if (s.is_compute()) s.layout = outputs[i].layout;
  }
  return stages;
}

// An output has to be a stage of its own that no other stage of the group computes in another layout.
StageId as_output(GroupBuilder& b, StageId s, const TensorType& type) {
  const bool taken = std::find(b.group().outputs.begin(), b.group().outputs.end(), s) !=
                     b.group().outputs.end();
  if (b[s].is_compute() && !taken) return s;
  const StageId copy = b.compute(b.unique("copy"), type.dtype, named_extents(type.shape),
                                 [&](AxisVars a) {
                                   return b.at(s, std::vector<Index>(a.begin(), a.end()));
                                 });
  b[copy].layout = type.layout;
  return copy;
}

}  // namespace

StageGroup stages_of(const Graph& g, const Node& n) {
  if (!n.bodies.empty()) return stages_of_group(g, n);
  GroupBuilder b{std::string(n.op->name)};
  std::vector<StageId> stage_of(g.values.size(), ~StageId{0});
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    const ValueId v = n.inputs[i];
    if (v == no_value || stage_of[v] != ~StageId{0}) continue;
    stage_of[v] = add_parameter(b, g.values[v], fmt::format("in{}", i));
  }
  const std::vector<StageId> outputs = compute_node(b, g, n, stage_of, b.unique(std::string(n.op->name)));
  for (size_t i = 0; i < outputs.size(); ++i) {
    b.output(as_output(b, outputs[i], g.type(n.outputs[i])));
  }
  return std::move(b.group());
}

StageGroup stages_of_group(const Graph& /* of the group */, const Node& group) {
  check(group.op == &group_op() && group.bodies.size() == 1, "{} is not a group", group.op->name);
  const Graph& body = group.bodies.front();
  GroupBuilder b{body.name.empty() ? "group" : body.name};
  std::vector<StageId> stage_of(body.values.size(), ~StageId{0});
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    const Value& v = body.values[body.inputs[i]];
    stage_of[body.inputs[i]] =
        add_parameter(b, v, fmt::format("{}{}", v.is_constant() ? "w" : "in", i));
  }
  for (const Node& n : body.nodes) {
    for (ValueId v : n.inputs) {
      check(v == no_value || stage_of[v] != ~StageId{0},
            "the body of group {} reads {} before it is made", b.group().name, body.values[v].name);
    }
    const std::vector<StageId> outputs =
        compute_node(b, body, n, stage_of, b.unique(std::string(n.op->name)));
    for (size_t i = 0; i < outputs.size(); ++i) stage_of[n.outputs[i]] = outputs[i];
  }
  for (ValueId v : body.outputs) b.output(as_output(b, stage_of[v], body.type(v)));
  return std::move(b.group());
}

std::vector<TensorPtr> evaluate_node(const Graph& g, const Node& n) {
  for (ValueId v : n.inputs) {
    if (v != no_value && !g.values[v].is_constant()) return {};
  }
  if (n.bodies.empty() && n.op->compute == nullptr) return {};
  std::vector<TensorPtr> empty;  // nothing to compute
  for (ValueId v : n.outputs) {
    if (element_count(g.type(v).shape) != 0) break;
    empty.push_back(std::make_shared<Tensor>(g.type(v).dtype, g.type(v).shape));
  }
  if (empty.size() == n.outputs.size()) return empty;
  const StageGroup stages = stages_of(g, n);
  std::vector<const Tensor*> inputs;
  std::vector<bool> seen(g.values.size(), false);
  for (ValueId v : n.inputs) {
    if (v == no_value || (n.bodies.empty() && seen[v])) continue;
    seen[v] = true;
    inputs.push_back(g.values[v].constant.get());
  }
  std::vector<TensorPtr> out;
  for (Tensor& t : evaluate(stages, inputs)) out.push_back(std::make_shared<Tensor>(std::move(t)));
  return out;
}

}  // namespace burnish
