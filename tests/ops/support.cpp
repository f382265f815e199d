#include "ops/support.h"

#include <fmt/format.h>

#include <cmath>
#include <random>

#include "base/error.h"

namespace burnish::test {

Tensor floats(Shape shape, std::vector<double> v, DType type) {
  Tensor t(type, std::move(shape));
  EXPECT_EQ(t.size(), std::ssize(v));
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, {.dtype = type, .f = v[static_cast<size_t>(i)]});
  return t;
}

Tensor integers(Shape shape, std::vector<int64_t> v, DType type) {
  Tensor t(type, std::move(shape));
  EXPECT_EQ(t.size(), std::ssize(v));
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, {.dtype = type, .i = v[static_cast<size_t>(i)]});
  return t;
}

Tensor random_floats(Shape shape, uint64_t seed, double lowest, double highest) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(lowest, highest);
  Tensor t(DType::F32, std::move(shape));
  for (int64_t i = 0; i < t.size(); ++i) t.set(i, {.dtype = DType::F32, .f = uniform(random)});
  return t;
}

Tensor counting(Shape shape, DType type) {
  Tensor t(type, std::move(shape));
  for (int64_t i = 0; i < t.size(); ++i) {
    t.set(i, {.dtype = type, .f = static_cast<double>(i), .i = i});
  }
  return t;
}

namespace {

Graph graph_of(const std::string& op, const std::vector<Arg>& args, const AttrList& attrs,
               NodeId& node) {
  Graph g;
  std::vector<ValueId> inputs;
  for (const Arg& a : args) {
    if (!a.present) inputs.push_back(no_value);
    else if (a.is_constant) inputs.push_back(g.add_constant("k", std::make_shared<Tensor>(a.tensor)));
    else inputs.push_back(g.add_input("x", {a.tensor.dtype, a.tensor.shape, {}}));
  }
  Attrs set;
  for (const auto& [name, value] : attrs) set.set(name, value);
  node = g.add_node(op_named(op), inputs, set, "node");
  return g;
}

}  // namespace

std::vector<Tensor> apply_all(const std::string& op, std::vector<Arg> args, AttrList attrs) {
  NodeId node = 0;
  Graph g = graph_of(op, args, attrs, node);
  StageGroup stages = stages_of(g, g.nodes[node]);
  bool empty = false;
  for (const Stage& s : stages.stages) {
    for (const Axis& a : s.axes) empty |= a.extent == 0;
    for (const Axis& a : s.raxes) empty |= a.extent == 0;
  }
  if (!empty) verify(stages);
  std::vector<const Tensor*> inputs;
  for (const Arg& a : args) {
    if (a.present) inputs.push_back(&a.tensor);
  }
  std::vector<Tensor> out = evaluate(stages, inputs);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i].shape, g.type(g.nodes[node].outputs[i]).shape) << op;
    EXPECT_EQ(out[i].dtype, g.type(g.nodes[node].outputs[i]).dtype) << op;
  }
  return out;
}

Tensor apply(const std::string& op, std::vector<Arg> args, AttrList attrs) {
  std::vector<Tensor> out = apply_all(op, std::move(args), std::move(attrs));
  EXPECT_EQ(out.size(), 1u) << op;
  return out.at(0);
}

std::string refusal(const std::string& op, std::vector<Arg> args, AttrList attrs) {
  try {
    NodeId node = 0;
    graph_of(op, args, attrs, node);
  } catch (const UserError& e) {
    return e.what();
  } catch (const Unsupported& e) {
    return std::string("unsupported: ") + e.what();
  }
  ADD_FAILURE() << op << " accepted what it should refuse";
  return "";
}

std::vector<double> values(const Tensor& t) {
  std::vector<double> out;
  for (int64_t i = 0; i < t.size(); ++i) {
    Scalar s = t.get(i);
    out.push_back(is_float(t.dtype) ? s.f : static_cast<double>(s.i));
  }
  return out;
}

void expect_values(const Tensor& t, const Shape& shape, const std::vector<double>& wanted,
                   double tolerance) {
  ASSERT_EQ(t.shape, shape);
  std::vector<double> got = values(t);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(wanted[i]) && std::isnan(got[i])) continue;
    if (got[i] == wanted[i]) continue;
    double scale = std::max(1.0, std::fabs(wanted[i]));
    ASSERT_LE(std::fabs(got[i] - wanted[i]), tolerance * scale)
        << "element " << i << " is " << got[i] << " instead of " << wanted[i];
  }
}

void each_position(const Shape& shape, const std::function<void(const Shape&, int64_t)>& f) {
  Shape p(shape.size(), 0);
  for (int64_t i = 0; i < element_count(shape); ++i) {
    f(p, i);
    for (size_t d = shape.size(); d-- > 0;) {
      if (++p[d] < shape[d]) break;
      p[d] = 0;
    }
  }
}

double at(const Tensor& t, const Shape& position, double outside) {
  int64_t flat = 0;
  for (size_t d = 0; d < position.size(); ++d) {
    if (position[d] < 0 || position[d] >= t.shape[d]) return outside;
    flat = flat * t.shape[d] + position[d];
  }
  Scalar s = t.get(flat);
  return is_float(t.dtype) ? s.f : static_cast<double>(s.i);
}

}  // namespace burnish::test
