// Rules of `simplify`: what they look at, and those that recognise an operator written out in
// others.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "graph/op.h"

namespace burnish {

// A node about to be added to `g`, over values of `g`.
struct Site {
  Graph& g;
  const Node& n;                // attributes, operator, source
  std::vector<ValueId> inputs;  // in g
  const TensorType& type;       // of the node's first output

  const Node* producer(ValueId v) const {
    if (v == no_value || g.values[v].producer == ~NodeId{0}) return nullptr;
    return &g.nodes[g.values[v].producer];
  }
  const Node* producer(ValueId v, std::string_view op) const {
    const Node* p = producer(v);
    return p != nullptr && p->op->name == op ? p : nullptr;
  }
  bool is(std::string_view op) const { return n.op->name == op; }
  bool same_type(ValueId v) const {
    return g.type(v).dtype == type.dtype && g.type(v).shape == type.shape;
  }
  const Tensor* constant(ValueId v) const {
    return v == no_value ? nullptr : g.values[v].constant.get();
  }
};

// The value that stands for the node, or nothing.
using Rule = std::optional<ValueId> (*)(Site&);

bool all_equal(const Tensor* t, double wanted);
// A scalar constant within rounding of the value.
bool is_about(const Tensor* t, double wanted);

// x * sigmoid(x) = silu(x)
// x * hard_sigmoid(x, 1/6, 1/2) = x * clip(x + 3, 0, 6) / 6 = hard_swish(x)
std::optional<ValueId> gated(Site& s);
// x * (clip(x + 3, 0, 6) / 6) and (x * clip(x + 3, 0, 6)) / 6 = hard_swish(x)
std::optional<ValueId> hard_swish(Site& s);
// x / 2 * (1 + erf(x / sqrt 2)) = gelu(x); with tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) for erf its
// approximation
std::optional<ValueId> gelu(Site& s);
// (x - mean x) / sqrt(mean (x - mean x)^2 + epsilon) * scale + bias = layer_norm(x, scale, bias)
std::optional<ValueId> layer_norm(Site& s);

}  // namespace burnish
