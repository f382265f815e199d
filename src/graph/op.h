// The interface of an operator: one OpDef, a row of plain function pointers. One file per family in src/ops, read top
// to bottom: formula, infer, compute, layout, registration. ops.cpp lists the families; lookup is by name.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "te/builder.h"

namespace burnish {

enum class AttrType : uint8_t { Int, Float, String, Ints, Floats, Strings, TensorAttr };

struct AttrSpec {
  std::string_view name;
  AttrType type;
  bool required = false;
};

// How an operator takes part in fusion.
//  Elementwise: out[i] = f(in[i]…), all of one shape.  Broadcast: the same with broadcasting.
//  Injective: every output element reads fixed input elements, no reduction (transpose, slice, concat, pad, resize).
//  Reduction: reduces over axes (softmax, mean, pooling).  Anchor: the costly ones (conv, matmul): one a group.
//  Opaque: stands alone.
enum class Fusion : uint8_t { Elementwise, Broadcast, Injective, Reduction, Anchor, Opaque };

// What layouts an operator can work in.
//  Any: layout-agnostic, all operands of one shape and layout (elementwise).   ChannelsLast: prefers NHWC/NWC/NDHWC for
//  rank >= 3 data operands (conv, pooling, resize).   RowMajor: needs row-major operands.
enum class LayoutRule : uint8_t { Any, ChannelsLast, RowMajor };

struct InferContext {
  std::span<const TensorType> inputs;           // an absent optional input: shape empty, see `present`
  std::span<const TensorPtr> constants;         // values of inputs that are constant, else null
  std::span<const bool> present;
  const Attrs& attrs;
  bool has(size_t i) const { return i < present.size() && present[i]; }
};

struct ComputeContext {
  GroupBuilder& builder;
  std::span<const StageId> inputs;              // stages of the inputs; ~0 when absent
  std::span<const TensorType> types;
  std::span<const TensorPtr> constants;
  std::span<const TensorType> outputs;
  const Attrs& attrs;
  std::string prefix;                           // name for the stages: prefix, prefix.acc, …
  bool has(size_t i) const { return i < inputs.size() && inputs[i] != ~StageId{0}; }
};

// Another operator that computes the same of a node's inputs, one of which is a constant that becomes another one.
struct Alternative {
  std::string_view op;
  Attrs attrs;
  size_t input;
  TensorType type;                    // of the new constant
  std::function<TensorPtr()> value;
};

struct OpDef {
  std::string_view name;                        // snake_case: conv, max_pool, add
  uint32_t min_inputs = 1, max_inputs = 1, outputs = 1;  // max_inputs ~0u: variadic
  std::span<const AttrSpec> attrs = {};
  Fusion fusion = Fusion::Opaque;
  LayoutRule layout = LayoutRule::RowMajor;
  std::vector<TensorType> (*infer)(const InferContext&) = nullptr;
  // Stages of the outputs. Null: the operator is always folded away (shape) or has no code yet.
  std::vector<StageId> (*compute)(ComputeContext&) = nullptr;
  // Multiply-adds of one execution, for figures; null: 0.
  int64_t (*macs)(const InferContext&, std::span<const TensorType> outputs) = nullptr;
  // Its rounding errors against those of plain sums: what checks of accuracy allow for.
  double rounding = 1;
  // Other algorithms, for the pass choose_algorithms; null: none.
  std::vector<Alternative> (*alternatives)(const InferContext&) = nullptr;
};

// Operators that passes introduce; no model contains them.
const OpDef& group_op();             // one body; see below
const OpDef& layout_transform_op();  // a copy into the memory layout given by its attribute "layout"
Attrs layout_attrs(const Layout& layout);  // attributes of a layout_transform: axis, div, mod, pad per dimension
Layout layout_of(const Attrs& attrs);
const OpDef* find_any_op(std::string_view name);  // these two, then find_op

// src/ops/ops.cpp
const OpDef* find_op(std::string_view name);    // null when unknown
const OpDef& op_named(std::string_view name);   // InternalError when unknown
std::span<const OpDef* const> all_ops();

// The stages of one node alone; inputs in the node's order, constants as Constant stages.
StageGroup stages_of(const Graph& g, const Node& n);
// Values of the node's outputs if all inputs are constant and it has a formula; else empty.
std::vector<TensorPtr> evaluate_node(const Graph& g, const Node& n);

// Multiply-adds of one execution of a node; of a group the sum over its body.
int64_t macs_of(const Graph& g, const Node& n);

// Other algorithms for a node.
std::vector<Alternative> alternatives_of(const Graph& g, const Node& n);

// A fused group is a node of the operator "group" with one body: body inputs = node inputs, body outputs = node outputs.
// Stages of the whole body; Input/Constant stages in the order of the node's inputs.
StageGroup stages_of_group(const Graph& g, const Node& group);

}  // namespace burnish
