// Local rewrites, each under its equation. A rule looks at a node whose operands are simplified already and returns
// the value that stands for it, or nothing; rules are tried in the order of the table at the end.
#include <algorithm>
#include <cmath>
#include <optional>

#include "graph/op.h"
#include "passes/graph/memory.h"
#include "passes/graph/passes.h"
#include "passes/graph/rules.h"

namespace burnish {

namespace {

TensorPtr shape_tensor(const Shape& shape) {
  auto t = std::make_shared<Tensor>(DType::I64, Shape{static_cast<int64_t>(shape.size())});
  for (size_t i = 0; i < shape.size(); ++i) t->set(static_cast<int64_t>(i), {.dtype = DType::I64, .i = shape[i]});
  return t;
}

// identity(x) = x; so are a concat, sum or minimum of one, a cast to its own type
std::optional<ValueId> identity(Site& s) {
  const bool one_operand = s.is("concat") || s.is("min") || s.is("max");
  if (s.is("identity") || s.is("cast") || (one_operand && s.inputs.size() == 1)) {
    if (s.same_type(s.inputs[0])) return s.inputs[0];
  }
  return {};
}

// reshape, expand, tile that change no shape; pad by nothing; slice of everything; transpose in order
std::optional<ValueId> no_movement(Site& s) {
  if (!s.same_type(s.inputs[0])) return {};
  const ValueId x = s.inputs[0];
  if (is_reshape(*s.n.op) || s.is("expand") || s.is("tile")) return x;
  if (s.is("pad") && all_equal(s.constant(s.inputs[1]), 0)) return x;
  if (s.is("slice")) {
    const Tensor* steps = s.inputs.size() > 4 ? s.constant(s.inputs[4]) : nullptr;
    if (steps == nullptr) return s.inputs.size() > 4 && s.inputs[4] != no_value ? std::optional<ValueId>{} : x;
    return all_equal(steps, 1) ? std::optional(x) : std::nullopt;
  }
  if (s.is("transpose")) {
    const std::vector<int64_t> perm = s.n.attrs.ints("perm");
    if (!perm.empty() && std::is_sorted(perm.begin(), perm.end())) return x;
  }
  return {};
}

// reshape(reshape(x)) = reshape(x); squeeze, unsqueeze and flatten are reshapes
std::optional<ValueId> reshape_chain(Site& s) {
  if (!is_reshape(*s.n.op)) return {};
  const Node* before = s.producer(s.inputs[0]);
  if (before == nullptr || !is_reshape(*before->op)) return {};
  const ValueId x = before->inputs[0];
  if (s.same_type(x)) return x;
  if (element_count(s.type.shape) == 0) return {};
  const ValueId shape = s.g.add_constant("shape", shape_tensor(s.type.shape));
  return s.g.add(op_named("reshape"), {x, shape}, {}, s.n.source);
}

// transpose(transpose(x, p), q) = transpose(x, p[q])
std::optional<ValueId> transpose_chain(Site& s) {
  const Node* before = s.is("transpose") ? s.producer(s.inputs[0], "transpose") : nullptr;
  if (before == nullptr) return {};
  const std::vector<int64_t> p = before->attrs.ints("perm"), q = s.n.attrs.ints("perm");
  if (p.empty() || p.size() != q.size()) return {};
  std::vector<int64_t> both;
  for (int64_t i : q) both.push_back(p[static_cast<size_t>(i)]);
  if (std::is_sorted(both.begin(), both.end())) return before->inputs[0];
  Attrs attrs;
  attrs.set("perm", both);
  return s.g.add(*s.n.op, {before->inputs[0]}, std::move(attrs), s.n.source);
}

// Every value of type `from` is a value of type `to`.
bool holds_all(DType to, DType from) {
  if (to == from || from == DType::Bool) return true;
  if (is_float(to)) {
    if (is_float(from)) return size_of(to) > size_of(from);
    return size_of(from) < size_of(to) && to != DType::BF16 && to != DType::F16;
  }
  if (is_float(from) || to == DType::Bool) return false;
  return size_of(to) > size_of(from) && (is_signed(to) || !is_signed(from));
}

// cast(cast(x, wider), t) = cast(x, t)
std::optional<ValueId> cast_chain(Site& s) {
  const Node* before = s.is("cast") ? s.producer(s.inputs[0], "cast") : nullptr;
  if (before == nullptr) return {};
  const ValueId x = before->inputs[0];
  if (!holds_all(s.g.type(s.inputs[0]).dtype, s.g.type(x).dtype)) return {};
  if (s.same_type(x)) return x;
  return s.g.add(*s.n.op, {x}, s.n.attrs, s.n.source);
}

// relu(relu(x)) = relu(x); likewise abs, floor, ceil, round, sign
std::optional<ValueId> idempotent(Site& s) {
  static constexpr std::string_view ops[] = {"relu", "abs", "floor", "ceil", "round", "sign"};
  if (std::find(std::begin(ops), std::end(ops), s.n.op->name) == std::end(ops)) return {};
  return s.producer(s.inputs[0], s.n.op->name) != nullptr ? std::optional(s.inputs[0]) : std::nullopt;
}

// x + 0 = x - 0 = x * 1 = x / 1 = x ** 1 = x (x + 0 maps -0 to 0: accepted)
std::optional<ValueId> neutral_operand(Site& s) {
  const bool sum = s.is("add"), product = s.is("mul");
  const bool right = sum || product || s.is("sub") || s.is("div") || s.is("pow");
  if (!right) return {};
  const double neutral = sum || s.is("sub") ? 0 : 1;
  if (all_equal(s.constant(s.inputs[1]), neutral) && s.same_type(s.inputs[0])) return s.inputs[0];
  if ((sum || product) && all_equal(s.constant(s.inputs[0]), neutral) && s.same_type(s.inputs[1])) {
    return s.inputs[1];
  }
  return {};
}

// x / c = x * (1 / c) where that is exact, for powers of two: a division takes as long as ten multiplications
std::optional<ValueId> constant_divisor(Site& s) {
  const Tensor* c = s.is("div") ? s.constant(s.inputs[1]) : nullptr;
  if (c == nullptr || c->size() != 1 || !is_float(c->dtype) || size_of(c->dtype) < 4) return {};
  int exponent = 0;
  const double divisor = c->get(0).f, by = 1 / divisor;
  const bool power = std::isfinite(divisor) && std::abs(std::frexp(divisor, &exponent)) == 0.5;
  if (!power || !(c->dtype == DType::F32 ? std::isnormal(static_cast<float>(by)) : std::isnormal(by))) return {};
  auto inverse = std::make_shared<Tensor>(c->dtype, c->shape);
  inverse->set(0, {.dtype = c->dtype, .f = by});
  return s.g.add(op_named("mul"), {s.inputs[0], s.g.add_constant("inverse", inverse)}, {}, s.n.source);
}

// x ** 2 = x * x; x ** 0.5 = sqrt(x)
std::optional<ValueId> simple_power(Site& s) {
  if (!s.is("pow") || !s.same_type(s.inputs[0]) || !is_float(s.type.dtype)) return {};
  const ValueId x = s.inputs[0];
  if (all_equal(s.constant(s.inputs[1]), 2)) return s.g.add(op_named("mul"), {x, x}, {}, s.n.source);
  if (all_equal(s.constant(s.inputs[1]), 0.5)) return s.g.add(op_named("sqrt"), {x}, {}, s.n.source);
  return {};
}

// conv(pad(x, 0), w) = conv(x, w) with larger pads
std::optional<ValueId> pad_into_conv(Site& s) {
  const Node* pad = s.is("conv") ? s.producer(s.inputs[0], "pad") : nullptr;
  if (pad == nullptr || pad->attrs.s("mode", "constant") != "constant") return {};
  const Tensor* amounts = s.constant(pad->inputs[1]);
  const bool valued = pad->inputs.size() > 2 && pad->inputs[2] != no_value;
  const bool some_axes = pad->inputs.size() > 3 && pad->inputs[3] != no_value;
  if (amounts == nullptr || some_axes || (valued && !all_equal(s.constant(pad->inputs[2]), 0))) return {};
  const size_t rank = s.g.type(pad->inputs[0]).shape.size(), spatial = rank - 2;
  if (amounts->size() != static_cast<int64_t>(2 * rank)) return {};
  std::vector<int64_t> pads = s.n.attrs.ints("pads", std::vector<int64_t>(2 * spatial, 0));
  if (pads.size() != 2 * spatial) return {};
  for (size_t i = 0; i < 2 * rank; ++i) {
    const int64_t by = amounts->get(static_cast<int64_t>(i)).i;
    const size_t axis = i % rank;
    if (by < 0 || (axis < 2 && by != 0)) return {};
    if (axis >= 2) pads[axis - 2 + (i < rank ? 0 : spatial)] += by;
  }
  std::vector<ValueId> inputs = s.inputs;
  inputs[0] = pad->inputs[0];
  Attrs attrs = s.n.attrs;
  attrs.set("pads", pads);
  const std::string source = pad->source + (pad->source.empty() ? "" : "+") + s.n.source;
  return s.g.add(*s.n.op, std::move(inputs), std::move(attrs), source);
}

constexpr Rule rules[] = {identity,     no_movement, reshape_chain, transpose_chain, cast_chain,      idempotent,
                          simple_power, gated,       hard_swish,    gelu,            layer_norm,      neutral_operand,
                          pad_into_conv, constant_divisor};

}  // namespace

Graph simplify(const Graph& g, const Context&) {
  GraphRewriter rewriter(g);
  for (NodeId id = 0; id < g.nodes.size(); ++id) {
    const Node& n = g.nodes[id];
    std::optional<ValueId> simpler;
    if (n.outputs.size() == 1 && n.bodies.empty() && !n.inputs.empty()) {
      const TensorType type = g.type(n.outputs[0]);
      Site site{rewriter.out, n, rewriter.map(n.inputs), type};
      for (Rule rule : rules) {
        simpler = rule(site);
        if (simpler) break;
      }
    }
    if (!simpler) {
      rewriter.copy(id);
      continue;
    }
    std::string& name = rewriter.out.values[*simpler].name;
    if (name.empty()) name = g.values[n.outputs[0]].name;
    rewriter.set(n.outputs[0], *simpler);
  }
  return rewriter.finish();
}

}  // namespace burnish
