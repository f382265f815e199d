// Operators that exporters write out in simpler ones, recognised in whatever order their factors
// stand.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "passes/graph/rules.h"

namespace burnish {

bool all_equal(const Tensor* t, double wanted) {
  if (t == nullptr || t->size() == 0) return false;
  for (int64_t i = 0; i < t->size(); ++i) {
    const Scalar s = t->get(i);
    if ((is_float(t->dtype) ? s.f : static_cast<double>(s.i)) != wanted) return false;
  }
  return true;
}

bool is_about(const Tensor* t, double wanted) {
  return t != nullptr && is_float(t->dtype) && t->size() == 1 &&
         std::abs(t->get(0).f - wanted) < 1e-6;
}

std::optional<ValueId> gated(Site& s) {
  if (!s.is("mul")) return {};
  for (size_t i = 0; i < 2; ++i) {
    const ValueId x = s.inputs[i], gate = s.inputs[1 - i];
    if (!s.same_type(x)) continue;
    if (const Node* p = s.producer(gate, "sigmoid"); p != nullptr && p->inputs[0] == x) {
      return s.g.add(op_named("silu"), {x}, {}, s.n.source);
    }
    const Node* hard = s.producer(gate, "hard_sigmoid");
    if (hard != nullptr && hard->inputs[0] == x &&
        std::abs(hard->attrs.f("alpha", 0.2) - 1.0 / 6) < 1e-6 &&
        hard->attrs.f("beta", 0.5) == 0.5) {
      return s.g.add(op_named("hard_swish"), {x}, {}, s.n.source);
    }
  }
  return {};
}

namespace {

// The x of clip(x + 3, 0, 6).
std::optional<ValueId> clipped_from(const Site& s, ValueId v) {
  const Node* clip = s.producer(v, "clip");
  if (clip == nullptr || clip->inputs.size() < 3) return {};
  if (!is_about(s.constant(clip->inputs[1]), 0) || !is_about(s.constant(clip->inputs[2]), 6))
    return {};
  const Node* sum = s.producer(clip->inputs[0], "add");
  if (sum == nullptr) return {};
  for (size_t i = 0; i < 2; ++i) {
    if (is_about(s.constant(sum->inputs[1 - i]), 3)) return sum->inputs[i];
  }
  return {};
}

// Is v = w / 6 or w * (1/6)? Then w.
std::optional<ValueId> sixth(const Site& s, ValueId v) {
  if (const Node* p = s.producer(v, "div"); p != nullptr && is_about(s.constant(p->inputs[1]), 6))
    return p->inputs[0];
  if (const Node* p = s.producer(v, "mul")) {
    for (size_t i = 0; i < 2; ++i) {
      if (is_about(s.constant(p->inputs[1 - i]), 1.0 / 6)) return p->inputs[i];
    }
  }
  return {};
}

}  // namespace

std::optional<ValueId> hard_swish(Site& s) {
  auto product_with_gate = [&](ValueId a, ValueId b) -> std::optional<ValueId> {
    const auto x = clipped_from(s, b);
    return x && *x == a && s.same_type(a) ? x : std::nullopt;
  };
  std::optional<ValueId> x;
  if (s.is("mul")) {
    for (size_t i = 0; i < 2 && !x; ++i) {
      if (auto inner = sixth(s, s.inputs[1 - i])) x = product_with_gate(s.inputs[i], *inner);
    }
  }
  ValueId whole = no_value;
  if (s.is("div") && is_about(s.constant(s.inputs[1]), 6)) whole = s.inputs[0];
  for (size_t i = 0; s.is("mul") && i < 2; ++i) {
    if (is_about(s.constant(s.inputs[1 - i]), 1.0 / 6)) whole = s.inputs[i];
  }
  if (const Node* p = s.producer(whole, "mul"); p != nullptr && !x) {
    for (size_t i = 0; i < 2 && !x; ++i) x = product_with_gate(p->inputs[i], p->inputs[1 - i]);
  }
  if (!x) return {};
  return s.g.add(op_named("hard_swish"), {*x}, {}, s.n.source);
}

namespace {

// A value as a product: a number times values. Products are taken apart as far as `whole`, which
// stay as they are.
struct Product {
  double number = 1;
  std::vector<ValueId> factors;
};

std::optional<double> number_of(const Site& s, ValueId v) {
  const Tensor* t = s.constant(v);
  if (t == nullptr || t->size() != 1 || !is_float(t->dtype)) return {};
  return t->get(0).f;
}

void take_apart(const Site& s, ValueId v, const std::vector<ValueId>& whole, Product& p, int depth = 0) {
  constexpr size_t most = 8;
  constexpr int deepest = 16;
  if (auto number = number_of(s, v)) {
    p.number *= *number;
    return;
  }
  if (std::ranges::find(whole, v) == whole.end() && p.factors.size() < most && depth < deepest) {
    if (const Node* mul = s.producer(v, "mul")) {
      for (ValueId x : mul->inputs) take_apart(s, x, whole, p, depth + 1);
      return;
    }
    const Node* div = s.producer(v, "div");
    if (const auto by = div ? number_of(s, div->inputs[1]) : std::nullopt) {
      take_apart(s, div->inputs[0], whole, p, depth + 1);
      p.number /= *by;
      return;
    }
    const Node* pow = s.producer(v, "pow");
    if (pow && number_of(s, pow->inputs[1]) == 3.0) {
      p.factors.insert(p.factors.end(), 3, pow->inputs[0]);
      return;
    }
  }
  p.factors.push_back(v);
}

// Is v = number * factors?
bool is_product(const Site& s, ValueId v, double number, std::vector<ValueId> factors) {
  Product p;
  take_apart(s, v, factors, p);
  std::ranges::sort(p.factors);
  std::ranges::sort(factors);
  return p.factors == factors && std::abs(p.number - number) < 1e-5 * std::abs(number);
}

// The operands of v = a + b, either way round.
std::vector<std::pair<ValueId, ValueId>> terms_of(const Site& s, ValueId v) {
  const Node* sum = s.producer(v, "add");
  if (sum == nullptr) return {};
  return {{sum->inputs[0], sum->inputs[1]}, {sum->inputs[1], sum->inputs[0]}};
}

struct Gate {  // 1 + erf(argument), or tanh
  ValueId value, argument;
  bool erf;
};

// The gate among the factors of a product.
std::optional<Gate> find_gate(const Site& s, ValueId v, int depth = 0) {
  for (auto [one, function] : terms_of(s, v)) {
    if (!is_about(s.constant(one), 1)) continue;
    if (const Node* f = s.producer(function, "erf")) return Gate{v, f->inputs[0], true};
    if (const Node* f = s.producer(function, "tanh")) return Gate{v, f->inputs[0], false};
  }
  const Node* p = s.producer(v);
  if (depth > 2 || p == nullptr || (p->op->name != "mul" && p->op->name != "div")) return {};
  for (ValueId x : p->inputs) {
    if (auto gate = find_gate(s, x, depth + 1)) return gate;
  }
  return {};
}

// Is v = c (x + 0.044715 x^3), or with x taken out of the sum?
bool is_gelu_tanh(const Site& s, ValueId v, ValueId x) {
  const double c = std::sqrt(2 / std::numbers::pi), cubic = 0.044715;
  Product p;
  take_apart(s, v, {x}, p);
  if (std::abs(p.number - c) > 1e-5) return false;
  const bool outside = p.factors.size() == 2;
  if (outside) std::erase(p.factors, x);
  if (p.factors.size() != 1) return false;
  for (auto [first, second] : terms_of(s, p.factors[0])) {
    if (outside ? is_about(s.constant(first), 1) && is_product(s, second, cubic, {x, x})
                : first == x && is_product(s, second, cubic, {x, x, x})) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<ValueId> gelu(Site& s) {
  if (!s.is("mul") && !s.is("div")) return {};
  std::optional<Gate> gate;
  for (size_t i = 0; i < 2 && !gate; ++i) gate = find_gate(s, s.inputs[i]);
  if (!gate) return {};
  // x: what the argument is made of, or what the gate is multiplied with.
  std::vector<ValueId> xs;
  if (const Node* p = s.producer(gate->argument)) xs = p->inputs;
  for (ValueId v : s.inputs) {
    xs.push_back(v);
    if (const Node* p = s.producer(v, "mul"))
      xs.insert(xs.end(), p->inputs.begin(), p->inputs.end());
  }
  for (ValueId x : xs) {
    if (x == gate->value || number_of(s, x) || !s.same_type(x)) continue;
    const bool fits = gate->erf ? is_product(s, gate->argument, 1 / std::numbers::sqrt2, {x})
                                : is_gelu_tanh(s, gate->argument, x);
    if (!fits) continue;
    Product p;  // of this node
    take_apart(s, s.inputs[0], {x, gate->value}, p);
    if (s.is("mul")) {
      take_apart(s, s.inputs[1], {x, gate->value}, p);
    } else if (auto by = number_of(s, s.inputs[1])) {
      p.number /= *by;
    } else {
      continue;
    }
    std::vector<ValueId> wanted{x, gate->value};
    std::ranges::sort(wanted);
    std::ranges::sort(p.factors);
    if (p.factors != wanted || std::abs(p.number - 0.5) > 1e-5) continue;
    Attrs attrs;
    attrs.set("approximate", std::string(gate->erf ? "none" : "tanh"));
    return s.g.add(op_named("gelu"), {x}, std::move(attrs), s.n.source);
  }
  return {};
}

namespace {

// The operand of a mean over the last axes, kept with one element each, and the first of them.
std::optional<std::pair<ValueId, int64_t>> mean_over_last(const Site& s, ValueId v) {
  const Node* mean = s.producer(v, "reduce_mean");
  if (mean == nullptr || mean->inputs.size() != 1 || mean->attrs.i("keepdims", 1) == 0) return {};
  const auto rank = static_cast<int64_t>(s.g.type(mean->inputs[0]).shape.size());
  std::vector<int64_t> axes = mean->attrs.ints("axes");
  for (int64_t& a : axes) a += a < 0 ? rank : 0;
  std::ranges::sort(axes);
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] != rank - static_cast<int64_t>(axes.size() - i)) return {};
  }
  if (axes.empty()) return {};
  return {{mean->inputs[0], axes[0]}};
}

// The x of v = x - mean x, and the first axis of the mean.
std::optional<std::pair<ValueId, int64_t>> centred(const Site& s, ValueId v) {
  const Node* sub = s.producer(v, "sub");
  const auto mean = sub ? mean_over_last(s, sub->inputs[1]) : std::nullopt;
  return mean && mean->first == sub->inputs[0] ? mean : std::nullopt;
}

}  // namespace

std::optional<ValueId> layer_norm(Site& s) {
  if (!s.is("add")) return {};
  for (size_t i = 0; i < 2; ++i) {
    const Node* scaled = s.producer(s.inputs[i], "mul");
    for (size_t j = 0; scaled && j < 2; ++j) {
      const Node* div = s.producer(scaled->inputs[j], "div");
      const auto x = div ? centred(s, div->inputs[0]) : std::nullopt;
      const Node* root = x ? s.producer(div->inputs[1], "sqrt") : nullptr;
      if (root == nullptr || !s.same_type(x->first)) continue;
      for (auto [variance, epsilon] : terms_of(s, root->inputs[0])) {
        const auto square = mean_over_last(s, variance);
        const Node* product = square ? s.producer(square->first, "mul") : nullptr;
        const auto number = number_of(s, epsilon);
        if (!product || !number || square->second != x->second ||
            product->inputs[0] != product->inputs[1])
          continue;
        if (centred(s, product->inputs[0]) != x) continue;
        Attrs attrs;
        attrs.set("axis", x->second);
        attrs.set("epsilon", *number);
        return s.g.add(op_named("layer_norm"), {x->first, scaled->inputs[1 - j], s.inputs[1 - i]},
                       std::move(attrs), s.n.source);
      }
    }
  }
  return {};
}

}  // namespace burnish
