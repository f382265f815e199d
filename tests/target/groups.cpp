#include "groups.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "loop/interpreter.h"
#include "te/evaluate.h"

namespace burnish::target_test {

Machine machine(int threads, int vector_bytes) {
  Machine m;
  m.vector_bytes = vector_bytes;
  m.vector_registers = vector_bytes == 64 ? 32 : 16;
  m.threads = threads;
  return m;
}

std::vector<Index> at(AxisVars a) { return {a.begin(), a.end()}; }

StageId conv(GroupBuilder& b, const std::string& name, StageId x, const Conv& c, StageId residual) {
  const int pad = c.kernel / 2;
  const std::vector<NamedExtent> axes = {{"n", b[x].axes[0].extent},
                                         {"c", c.out},
                                         {"y", (c.height + 2 * pad - c.kernel) / c.stride + 1},
                                         {"x", (c.width + 2 * pad - c.kernel) / c.stride + 1}};
  std::vector<NamedExtent> raxes = {{"ky", c.kernel}, {"kx", c.kernel}};
  const int depth = c.depthwise ? 1 : c.in / c.groups;
  if (!c.depthwise) raxes.insert(raxes.begin(), {"k", depth});
  const DType storage = b[x].dtype;
  const auto as = [](DType t, const Expr& e) { return e.dtype() == t ? e : cast(t, e); };
  const StageId w = b.constant(name + ".w", storage, {{"c", c.out}, {"k", depth}, {"ky", c.kernel}, {"kx", c.kernel}});
  const StageId bias = b.constant(name + ".b", DType::F32, {{"c", c.out}});
  const Expr fill = pad ? constant(0, storage) : Expr{};
  const StageId acc = b.reduce(name + ".acc", DType::F32, axes, raxes, Combine::Sum, [&](AxisVars a, AxisVars r) {
    Index k(c.depthwise ? a[1] : r[0]);
    if (c.groups > 1) k.atoms.push_back({a[1], {}, c.out / c.groups, 0, depth});
    const Aff ky = r[c.depthwise ? 0 : 1], kx = r[c.depthwise ? 1 : 2];
    return as(DType::F32, b.at(x, {a[0], k, a[2] * c.stride + ky - Aff(pad), a[3] * c.stride + kx - Aff(pad)}, fill)) *
           as(DType::F32, b.at(w, {a[1], c.depthwise ? Aff(0) : r[0], ky, kx}));
  });
  const StageId out = b.compute(name, storage, axes, [&](AxisVars a) {
    Expr v = b.at(acc, at(a)) + b.at(bias, {a[1]});
    if (residual != none) v = v + as(DType::F32, b.at(residual, at(a)));
    return as(storage, c.relu ? max(v, constant(0)) : v);
  });
  b[out].layout = nhwc;
  return out;
}

StageId image(GroupBuilder& b, int channels, int height, int width, Layout layout, int images, DType storage) {
  return b.input("X", storage, {{"n", images}, {"c", channels}, {"y", height}, {"x", width}}, std::move(layout));
}

StageGroup softmax(int64_t rows, int64_t length) {
  GroupBuilder b("softmax");
  const StageId x = b.input("X", DType::F32, {{"i", rows}, {"j", length}});
  const StageId m = b.reduce("m", DType::F32, {{"i", rows}}, {{"j", length}}, Combine::Max,
                             [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], r[0]}); });
  const StageId e = b.compute("e", DType::F32, {{"i", rows}, {"j", length}}, [&](AxisVars a) {
    return unary(UnaryOp::Exp, b.at(x, at(a)) - b.at(m, {a[0]}));
  });
  const StageId z = b.reduce("z", DType::F32, {{"i", rows}}, {{"j", length}}, Combine::Sum,
                             [&](AxisVars a, AxisVars r) { return b.at(e, {a[0], r[0]}); });
  b.output(b.compute("Y", DType::F32, {{"i", rows}, {"j", length}},
                     [&](AxisVars a) { return b.at(e, at(a)) / b.at(z, {a[0]}); }));
  return b.group();
}

StageGroup squeeze(int channels, int squeezed, int height, int width, bool silu) {
  GroupBuilder b("squeeze");
  const StageId x = image(b, channels, height, width);
  const std::vector<NamedExtent> means = {{"n", 1}, {"c", channels}, {"y", 1}, {"x", 1}};
  const StageId sum = b.reduce("P.sum", DType::F32, means, {{"ky", height}, {"kx", width}}, Combine::Sum,
                               [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], a[1], r[0], r[1]}); });
  const StageId p = b.compute("P", DType::F32, means, [&](AxisVars a) { return b.at(sum, at(a)) * constant(1.0 / (height * width)); });
  StageId s = conv(b, "S", p, {.height = 1, .width = 1, .in = channels, .out = squeezed, .relu = !silu});
  if (silu)
    s = b.compute("A", DType::F32, {{"n", 1}, {"c", squeezed}, {"y", 1}, {"x", 1}},
                  [&](AxisVars a) { return b.at(s, at(a)) * unary(UnaryOp::Sigmoid, b.at(s, at(a))); });
  const StageId e = conv(b, "E", s, {.height = 1, .width = 1, .in = squeezed, .out = channels, .relu = false});
  b.output(b.compute("O", DType::F32, {{"n", 1}, {"c", channels}, {"y", 1}, {"x", 1}},
                     [&](AxisVars a) { return unary(UnaryOp::Sigmoid, b.at(e, at(a))); }));
  return b.group();
}

StageGroup layer_norm(int64_t rows, int64_t length) {
  GroupBuilder b("norm");
  const DType f = DType::F32;
  const StageId x = b.input("X", f, {{"i", rows}, {"j", length}}), w = b.constant("W", f, {{"j", length}});
  const Expr share = constant(1.0 / static_cast<double>(length), f);
  const StageId sum = b.reduce("sum", f, {{"i", rows}}, {{"j", length}}, Combine::Sum,
                               [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], r[0]}); });
  const StageId var = b.reduce("var", f, {{"i", rows}}, {{"j", length}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
    const Expr d = b.at(x, {a[0], r[0]}) - b.at(sum, {a[0]}) * share;
    return d * d;
  });
  const StageId scale = b.compute("scale", f, {{"i", rows}}, [&](AxisVars a) {
    return unary(UnaryOp::Rsqrt, b.at(var, {a[0]}) * share + constant(1e-5, f));
  });
  b.output(b.compute("O", f, {{"i", rows}, {"j", length}}, [&](AxisVars a) {
    return (b.at(x, {a[0], a[1]}) - b.at(sum, {a[0]}) * share) * b.at(scale, {a[0]}) * b.at(w, {a[1]});
  }));
  return b.group();
}

StageGroup mean(int64_t rows, int64_t columns, bool of_rows) {
  GroupBuilder b("mean");
  const DType f = DType::F32;
  const StageId x = b.input("X", f, {{"i", rows}, {"j", columns}});
  const int64_t left = of_rows ? rows : columns, length = of_rows ? columns : rows;
  const StageId sum = b.reduce("sum", f, {{"i", left}}, {{"k", length}}, Combine::Sum, [&](AxisVars a, AxisVars r) {
    return of_rows ? b.at(x, {a[0], r[0]}) : b.at(x, {r[0], a[0]});
  });
  b.output(b.compute("O", f, {{"i", left}}, [&](AxisVars a) { return b.at(sum, {a[0]}) * constant(1.0 / static_cast<double>(length), f); }));
  return b.group();
}

StageGroup product(int64_t m, int64_t n, int64_t k) {
  GroupBuilder b("product");
  const StageId x = b.input("X", DType::F32, {{"m", m}, {"k", k}}), w = b.constant("W", DType::F32, {{"k", k}, {"n", n}});
  b.output(b.reduce("O", DType::F32, {{"m", m}, {"n", n}}, {{"k", k}}, Combine::Sum,
                    [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], r[0]}) * b.at(w, {r[0], a[1]}); }));
  return b.group();
}

StageGroup transposition(int64_t batch, int64_t rows, int64_t columns) {
  GroupBuilder b("transposition");
  const StageId x = b.input("X", DType::F32, {{"b", batch}, {"i", rows}, {"j", columns}});
  const StageId y = b.input("Y", DType::F32, {{"j", columns}, {"i", rows}});
  b.output(b.compute("O", DType::F32, {{"j", columns}, {"b", batch}, {"i", rows}}, [&](AxisVars a) {
    return b.at(x, {a[1], a[2], a[0]}) * constant(2) + b.at(y, {a[0], a[2]});
  }));
  return b.group();
}

StageGroup chain(int height, int width, int stride, int channels, int expanded, int images, DType storage) {
  GroupBuilder b("chain");
  const int out_height = (height - 1) / stride + 1, out_width = (width - 1) / stride + 1;
  const StageId x = image(b, channels, height, width, nhwc, images, storage);
  const StageId e = conv(b, "E", x, {height, width, channels, expanded});
  const StageId d = conv(b, "D", e, {height, width, expanded, expanded, 3, stride, true});
  b.output(conv(b, "O", d, {out_height, out_width, expanded, channels, 1, 1, false, false}, stride == 1 ? x : none));
  return b.group();
}

StageGroup image_chain(const ImageChain& c) {
  GroupBuilder b("image_chain");
  const int height = (c.height - 1) / c.first_stride + 1, width = (c.width - 1) / c.first_stride + 1;
  const StageId x = image(b, c.channels, c.height, c.width, c.by_planes ? Layout{} : nhwc, c.images, c.storage);
  const StageId e = conv(b, "E", x, {c.height, c.width, c.channels, c.expanded, c.filter, c.first_stride});
  const StageId d = conv(b, "D", e, {height, width, c.expanded, c.expanded, 3, c.stride, true});
  b.output(c.project ? conv(b, "O", d, {(height - 1) / c.stride + 1, (width - 1) / c.stride + 1, c.expanded, 16, 1, 1, false, false}) : d);
  return b.group();
}

namespace {

std::vector<float> in_layout(const Tensor& t, const Layout& layout) {
  std::vector<float> out(static_cast<size_t>(physical_size(layout, t.shape)), 0);
  const std::vector<PhysicalDim> dims = physical(layout, t.shape);
  for (int64_t e = 0; e < t.size(); ++e) {
    std::vector<int64_t> index(t.shape.size());
    int64_t left = e, place = 0;
    for (size_t i = t.shape.size(); i-- > 0; left /= t.shape[i]) index[i] = left % t.shape[i];
    for (const PhysicalDim& d : dims) {
      const int64_t i = index[d.dim.axis] / d.dim.div;
      place += (d.dim.mod ? i % d.dim.mod : i) * d.stride;
    }
    out[static_cast<size_t>(place)] = t.data<float>()[e];
  }
  return out;
}

}  // namespace

void expect_computes(const Schedule& s, const StageGroup& g) {
  const auto f = lower(s);
  ASSERT_TRUE(f.ok()) << f.reason();
  verify(*f);
  std::mt19937 random(7);
  std::uniform_real_distribution<float> unit(-1, 1);
  std::vector<Tensor> inputs;
  std::vector<const Tensor*> pointers;
  for (StageId i : g.inputs) {
    Tensor t(DType::F32, g[i].shape());
    for (int64_t e = 0; e < t.size(); ++e) t.data<float>()[e] = unit(random);
    inputs.push_back(std::move(t));
  }
  for (const Tensor& t : inputs) pointers.push_back(&t);
  const Tensor want = std::move(evaluate(g, pointers).at(0));
  std::vector<std::vector<float>> buffers;
  for (size_t i = 0; i < inputs.size(); ++i) {
    buffers.push_back(in_layout(inputs[i], packed_layout(s, s.group().inputs[i])));
  }
  const Layout layout = packed_layout(s, s.group().outputs[0]);
  buffers.emplace_back(static_cast<size_t>(physical_size(layout, want.shape)));
  std::vector<void*> args;
  for (auto& b : buffers) args.push_back(b.data());
  interpret(*f, args);
  const std::vector<float> expected = in_layout(want, layout);
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(buffers.back()[i], expected[i], 1e-4 * (1 + std::fabs(expected[i]))) << "element " << i << "\n" << s.to_text();
  }
}

void expect_points_compute(const StageGroup& g, const Space* space, std::mt19937_64& random, bool may_refuse) {
  ASSERT_NE(space, nullptr);
  int tried = 0;
  for (int i = 0; i < 300 && tried < 4; ++i) {
    const Point p = point_at(*space, static_cast<int64_t>(random() % static_cast<uint64_t>(size_of(*space))));
    auto s = space->schedule(p);
    if (!s || (may_refuse && (s->failure() || !lower(*s)))) continue;
    SCOPED_TRACE(text_of(*space, p));
    expect_computes(*s, g);
    ++tried;
  }
  EXPECT_GT(tried, 0);
}

}  // namespace burnish::target_test
