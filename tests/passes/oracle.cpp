#include "passes/oracle.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "base/text.h"
#include "graph/op.h"
#include "loop/interpreter.h"

namespace burnish::test {

std::vector<Tensor> evaluate_graph(const Graph& g, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> values(g.values.size());
  for (size_t i = 0; i < g.inputs.size(); ++i) values[g.inputs[i]] = inputs[i];
  for (ValueId v = 0; v < g.values.size(); ++v) {
    if (g.values[v].is_constant()) values[v] = *g.values[v].constant;
  }
  for (const Node& n : g.nodes) {
    std::vector<const Tensor*> operands;
    std::vector<bool> seen(g.values.size(), false);
    for (ValueId v : n.inputs) {
      if (v == no_value || (n.bodies.empty() && seen[v])) continue;
      seen[v] = true;
      operands.push_back(&values[v]);
    }
    std::vector<Tensor> results = evaluate(stages_of(g, n), operands);
    for (size_t i = 0; i < results.size(); ++i) values[n.outputs[i]] = std::move(results[i]);
  }
  std::vector<Tensor> out;
  for (ValueId v : g.outputs) out.push_back(values[v]);
  return out;
}

std::vector<Tensor> random_inputs(const Graph& g, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<Tensor> out;
  for (ValueId v : g.inputs) {
    Tensor t(g.type(v).dtype, g.type(v).shape);
    for (int64_t i = 0; i < t.size(); ++i) {
      t.set(i, {.dtype = t.dtype, .f = uniform(random), .i = static_cast<int64_t>(random() % 4)});
    }
    out.push_back(std::move(t));
  }
  return out;
}

ValueId random_weights(Graph& g, Shape shape, uint64_t& seed) {
  Tensor t(DType::F32, std::move(shape));
  for (int64_t i = 0; i < t.size(); ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    t.data<float>()[i] = static_cast<float>(static_cast<int64_t>(seed >> 40)) / (1 << 23) - 1;
  }
  return g.add_constant("w", std::make_shared<Tensor>(std::move(t)));
}

size_t count(const Graph& g, std::string_view op) {
  return static_cast<size_t>(std::ranges::count_if(g.nodes, [&](const Node& n) { return n.op->name == op; }));
}

std::vector<Tensor> interpret_program(const Program& p, const Graph& g,
                                      const std::vector<Tensor>& inputs) {
  std::vector<Tensor> outputs;
  for (ValueId v : g.outputs) outputs.emplace_back(g.type(v).dtype, g.type(v).shape);
  std::vector<const void*> in;
  std::vector<void*> out;
  for (const Tensor& t : inputs) in.push_back(t.bytes.data());
  for (Tensor& t : outputs) out.push_back(t.bytes.data());
  interpret(p, in, out);
  return outputs;
}

void expect_close(const std::vector<Tensor>& got, const std::vector<Tensor>& wanted,
                  double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (size_t o = 0; o < got.size(); ++o) {
    ASSERT_EQ(got[o].shape, wanted[o].shape) << what;
    ASSERT_EQ(got[o].dtype, wanted[o].dtype) << what;
    for (int64_t i = 0; i < got[o].size(); ++i) {
      const Scalar a = got[o].get(i), b = wanted[o].get(i);
      if (!is_float(got[o].dtype)) {
        ASSERT_EQ(a.i, b.i) << what << ": output " << o << " element " << i;
        continue;
      }
      const double scale = std::max({1.0, std::abs(a.f), std::abs(b.f)});
      ASSERT_LE(std::abs(a.f - b.f), tolerance * scale)
          << what << ": output " << o << " element " << i << " is " << a.f << ", not " << b.f;
    }
  }
}

namespace {

class NetworkWriter {
 public:
  explicit NetworkWriter(uint64_t seed) : random_(seed) { g_.name = fmt::format("random{}", seed); }

  Graph write() {
    const int64_t size = pick(5, 9);
    ValueId x = g_.add_input("x", {DType::F32, {1, pick(1, 5), size, size + 1}, {}});
    std::vector<ValueId> kept;
    const int64_t layers = pick(4, 10);
    for (int64_t i = 0; i < layers; ++i) {
      x = layer(x, kept);
      if (pick(0, 2) == 0) kept.push_back(x);
    }
    g_.outputs.push_back(x);
    if (pick(0, 1) == 0) g_.outputs.push_back(head(x));
    if (!kept.empty() && pick(0, 2) == 0 && kept.back() != x) g_.outputs.push_back(kept.back());
    for (size_t i = 0; i < g_.outputs.size(); ++i) {
      if (g_.values[g_.outputs[i]].name.empty())
        g_.values[g_.outputs[i]].name = fmt::format("y{}", i);
    }
    return without_dead_code(g_);
  }

 private:
  int64_t pick(int64_t lo, int64_t hi) {
    return std::uniform_int_distribution<int64_t>(lo, hi)(random_);
  }

  ValueId weights(Shape shape, double lo = -0.5, double hi = 0.5) {
    auto t = std::make_shared<Tensor>(DType::F32, shape);
    std::uniform_real_distribution<double> uniform(lo, hi);
    for (int64_t i = 0; i < t->size(); ++i) t->set(i, {.dtype = DType::F32, .f = uniform(random_)});
    return g_.add_constant(fmt::format("w{}", count_++), t);
  }
  ValueId integers(const std::vector<int64_t>& values) {
    auto t = std::make_shared<Tensor>(DType::I64, Shape{static_cast<int64_t>(values.size())});
    for (size_t i = 0; i < values.size(); ++i)
      t->set(static_cast<int64_t>(i), {.dtype = DType::I64, .i = values[i]});
    return g_.add_constant(fmt::format("i{}", count_++), t);
  }
  ValueId add(std::string_view op, std::vector<ValueId> inputs, Attrs attrs = {}) {
    return g_.add(op_named(op), std::move(inputs), std::move(attrs),
                  fmt::format("{}_{}", op, count_++));
  }

  ValueId conv(ValueId x) {
    const Shape s = g_.type(x).shape;
    const int64_t kernel = pick(0, 1) == 0 ? 1 : 3;
    const bool depthwise = pick(0, 3) == 0;
    const int64_t out = depthwise ? s[1] : pick(1, 6);
    Attrs attrs;
    if (kernel == 3) attrs.set("pads", std::vector<int64_t>{1, 1, 1, 1});
    if (depthwise) attrs.set("groups", s[1]);
    std::vector<ValueId> inputs{x, weights({out, depthwise ? 1 : s[1], kernel, kernel})};
    if (pick(0, 1) == 0) inputs.push_back(weights({out}));
    return add("conv", std::move(inputs), std::move(attrs));
  }
  ValueId conv_transpose(ValueId x) {
    const int64_t c = g_.type(x).shape[1], groups = c % 2 == 0 ? 2 : 1;
    Attrs attrs;
    attrs.set("groups", groups);
    attrs.set("pads", std::vector<int64_t>{1, 1, 1, 1});
    return add("conv_transpose", {x, weights({c, pick(1, 3), 3, 3})}, std::move(attrs));
  }
  ValueId norm(ValueId x) {
    const int64_t c = g_.type(x).shape[1];
    Attrs attrs;
    attrs.set("epsilon", 1e-3);
    return add("batch_norm",
               {x, weights({c}, 0.5, 1.5), weights({c}), weights({c}), weights({c}, 0.5, 2)},
               attrs);
  }
  ValueId scaled(ValueId x) {
    static constexpr std::string_view ops[] = {"mul", "add", "sub", "div"};
    const ValueId w =
        pick(0, 1) == 0 ? weights({g_.type(x).shape[1], 1, 1}, 0.5, 1.5) : weights({}, 0.5, 1.5);
    const std::string_view op = ops[pick(0, 3)];
    return op != "div" && pick(0, 1) == 0 ? add(op, {w, x}) : add(op, {x, w});
  }
  ValueId activation(ValueId x) {
    switch (pick(0, 4)) {
    case 0: return add("relu", {x});
    case 1: return add("mul", {x, add("sigmoid", {x})});
    case 2: return add("hard_swish", {x});
    case 3: {
      const ValueId three = constant(3), zero = constant(0), six = constant(6);
      return add("mul", {x, add("div", {add("clip", {add("add", {x, three}), zero, six}), six})});
    }
    default: return add("tanh", {x});
    }
  }
  ValueId constant(double v) {
    auto t = std::make_shared<Tensor>(DType::F32, Shape{});
    t->set(0, {.dtype = DType::F32, .f = v});
    return g_.add_constant(fmt::format("c{}", count_++), t);
  }
  ValueId residual(ValueId x, const std::vector<ValueId>& kept) {
    for (ValueId k : kept) {
      if (g_.type(k).shape == g_.type(x).shape) return add("add", {x, k});
    }
    return add("add", {conv_like(x), x});
  }
  ValueId conv_like(ValueId x) {
    const int64_t c = g_.type(x).shape[1];
    return add("conv", {x, weights({c, c, 1, 1})});
  }
  ValueId gate(ValueId x) {  // squeeze and excite
    return add("mul", {x, add("sigmoid", {conv_like(add("global_average_pool", {x}))})});
  }
  ValueId pool(ValueId x) {
    const Shape s = g_.type(x).shape;
    if (s[2] < 4 || s[3] < 4) return add("relu", {x});
    Attrs attrs;
    attrs.set("kernel", std::vector<int64_t>{2, 2});
    attrs.set("strides", std::vector<int64_t>{2, 2});
    return add(pick(0, 1) == 0 ? "max_pool" : "average_pool", {x}, attrs);
  }
  ValueId concat(ValueId x, const std::vector<ValueId>& kept) {
    Attrs attrs;
    attrs.set("axis", int64_t{1});
    std::vector<ValueId> parts{x};
    for (ValueId k : kept) {
      const Shape &a = g_.type(k).shape, &b = g_.type(x).shape;
      if (a[2] == b[2] && a[3] == b[3] && g_.type(x).shape[1] + a[1] < 12) parts.push_back(k);
    }
    return add("concat", std::move(parts), attrs);
  }
  ValueId layer(ValueId x, const std::vector<ValueId>& kept) {
    switch (pick(0, 10)) {
    case 0: return activation(norm(conv(x)));
    case 9: return norm(scaled(conv_transpose(x)));
    case 1: return activation(conv(x));
    case 2: return scaled(conv(x));
    case 3: return activation(norm(x));
    case 4: return residual(x, kept);
    case 5: return gate(x);
    case 6: return pool(x);
    case 7: return concat(x, kept);
    case 8: return add("identity", {scaled(scaled(conv(x)))});
    default: return activation(x);
    }
  }
  ValueId head(ValueId x) {
    const Shape s = g_.type(x).shape;
    Attrs axis;
    axis.set("axis", int64_t{-1});
    if (pick(0, 1) == 0) {
      Attrs perm;
      perm.set("perm", std::vector<int64_t>{0, 2, 3, 1});
      x = add("transpose", {x}, perm);
      return add("softmax", {add("reshape", {x, integers({1, -1, s[1]})})}, axis);
    }
    const ValueId rows = add("reshape", {x, integers({s[1], -1})});
    Attrs attrs;
    const bool transposed = pick(0, 1) == 0;
    attrs.set("trans_b", int64_t{transposed});
    attrs.set("alpha", 0.5);
    const ValueId w = transposed ? weights({3, s[2] * s[3]}) : weights({s[2] * s[3], 3});
    const ValueId out =
        add("mul", {add("gemm", {rows, w, weights({3})}, attrs), weights({3}, 0.5, 1.5)});
    return add("softmax", {out}, axis);
  }

  std::mt19937_64 random_;
  Graph g_;
  int count_ = 0;
};

}  // namespace

Graph random_network(uint64_t seed) { return NetworkWriter(seed).write(); }

const Target& plain_target() {
  static const PlainTarget target;
  return target;
}

bool update_golden = false;

void expect_golden(const std::string& name, const std::string& text,
                   const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / (name + ".txt");
  if (update_golden) {
    std::filesystem::create_directories(file.parent_path());
    write_file(file, text);
    return;
  }
  ASSERT_TRUE(std::filesystem::exists(file)) << file << " is missing: run test_passes --update";
  EXPECT_EQ(read_file(file), text) << "test_passes --update rewrites " << file;
}

}  // namespace burnish::test
