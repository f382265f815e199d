// Matrix products: matmul (NumPy ranks), gemm, einsum, and the integer product of quantised models.
//
//   acc[b…, m, n] = sum over k of a[b…, m, k] * b[b…, k, n]
#include <algorithm>
#include <cctype>
#include <map>

#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec gemm_attrs[] = {{"alpha", AttrType::Float},
                                   {"beta", AttrType::Float},
                                   {"trans_a", AttrType::Int},
                                   {"trans_b", AttrType::Int}};
constexpr AttrSpec einsum_attrs[] = {{"equation", AttrType::String, true}};

// ---- matmul

struct Product {
  Shape batch;
  int64_t m, n, k;
  bool has_m, has_n;  // false for one-dimensional operands
  Shape out() const {
    Shape s = batch;
    if (has_m) s.push_back(m);
    if (has_n) s.push_back(n);
    return s;
  }
};

Product product_of(const Shape& a, const Shape& b) {
  require(!a.empty() && !b.empty(), "matmul of a scalar; use mul");
  Product p{};
  p.has_m = a.size() > 1;
  p.has_n = b.size() > 1;
  p.m = p.has_m ? a[a.size() - 2] : 1;
  p.k = a.back();
  p.n = p.has_n ? b.back() : 1;
  int64_t rows = p.has_n ? b[b.size() - 2] : b[0];
  require(p.k == rows, "matmul of {} and {}: {} columns meet {} rows", shape_text(a),
          shape_text(b), p.k, rows);
  auto batch = [](const Shape& s) {
    return Shape(s.begin(), s.end() - std::min<std::ptrdiff_t>(2, std::ssize(s)));
  };
  p.batch = broadcast(batch(a), batch(b));
  return p;
}

std::vector<TensorType> infer_matmul(const InferContext& c) {
  require_same_dtype(c.inputs[0], c.inputs[1]);
  require(c.inputs[0].dtype != DType::Bool, "matmul of bool");
  return {{c.inputs[0].dtype, product_of(c.inputs[0].shape, c.inputs[1].shape).out(), {}}};
}

// The product of two stages whose element type is that of the result.
StageId multiply(ComputeContext& c, StageId a, StageId b) {
  const Shape &as = c.types[0].shape, &bs = c.types[1].shape;
  Product p = product_of(as, bs);
  std::vector<NamedExtent> axes;
  for (size_t i = 0; i < p.batch.size(); ++i) axes.push_back({fmt::format("b{}", i), p.batch[i]});
  if (p.has_m) axes.push_back({"m", p.m});
  if (p.has_n) axes.push_back({"n", p.n});
  return c.builder.reduce(
      c.builder.unique(c.prefix + ".acc"), c.outputs[0].dtype, axes, {{"k", p.k}}, Combine::Sum,
      [&](AxisVars x, AxisVars r) {
        AxisVars batch = x.first(p.batch.size());
        auto operand = [&](const Shape& s) {
          size_t own = s.size() - std::min<size_t>(2, s.size());
          return broadcast_indices({s.begin(), s.begin() + static_cast<std::ptrdiff_t>(own)}, batch);
        };
        std::vector<Index> left = operand(as), right = operand(bs);
        if (p.has_m) left.push_back(x[p.batch.size()]);
        left.push_back(r[0]);
        right.push_back(r[0]);
        if (p.has_n) right.push_back(x[x.size() - 1]);
        return c.builder.at(a, left) * c.builder.at(b, right);
      });
}

std::vector<StageId> compute_matmul(ComputeContext& c) {
  return {multiply(c, c.inputs[0], c.inputs[1])};
}

int64_t matmul_macs(const InferContext& c, std::span<const TensorType>) {
  Product p = product_of(c.inputs[0].shape, c.inputs[1].shape);
  return checked_mul(checked_mul(element_count(p.batch), p.m), checked_mul(p.n, p.k));
}

// ---- matmul_integer

std::vector<TensorType> infer_matmul_integer(const InferContext& c) {
  auto byte = [](DType t) { return t == DType::U8 || t == DType::I8; };
  require(byte(c.inputs[0].dtype) && byte(c.inputs[1].dtype),
          "the operands must be u8 or i8, but they are {} and {}", name_of(c.inputs[0].dtype),
          name_of(c.inputs[1].dtype));
  Product p = product_of(c.inputs[0].shape, c.inputs[1].shape);
  for (size_t i = 2; i < 4; ++i) {
    if (!c.has(i)) continue;
    int64_t lines = i == 2 ? p.m : p.n;
    const Shape& s = c.inputs[i].shape;
    require(element_count(s) == 1 || s == Shape{lines}, "a zero point has the shape {}",
            shape_text(s));
    require_same_dtype(c.inputs[i - 2], c.inputs[i]);
  }
  return {{DType::I32, p.out(), {}}};
}

std::vector<StageId> compute_matmul_integer(ComputeContext& c) {
  auto widened = [&](size_t i) {
    const Shape& s = c.types[i].shape;
    return map(c, {DType::I32, s, {}}, fmt::format(".wide{}", i), [&](AxisVars a) {
      Expr v = cast(DType::I32, c.builder.at(c.inputs[i], indices_of(a)));
      if (!c.has(i + 2)) return v;
      const Shape& z = c.types[i + 2].shape;
      std::vector<Index> at(z.size());
      if (element_count(z) > 1) at[0] = i == 0 ? a[a.size() - 2] : a[a.size() - 1];
      return v - cast(DType::I32, c.builder.at(c.inputs[i + 2], at));
    });
  };
  StageId a = widened(0), b = widened(1);
  return {multiply(c, a, b)};
}

// ---- gemm

std::vector<TensorType> infer_gemm(const InferContext& c) {
  require_same_dtype(c.inputs[0], c.inputs[1]);
  require_rank(c.inputs[0], 2, 2, "the first operand");
  require_rank(c.inputs[1], 2, 2, "the second operand");
  bool ta = c.attrs.i("trans_a"), tb = c.attrs.i("trans_b");
  const Shape &a = c.inputs[0].shape, &b = c.inputs[1].shape;
  require(a[ta ? 0 : 1] == b[tb ? 1 : 0], "gemm of {}{} and {}{}: the inner extents differ",
          shape_text(a), ta ? " transposed" : "", shape_text(b), tb ? " transposed" : "");
  Shape out{a[ta ? 1 : 0], b[tb ? 0 : 1]};
  if (c.has(2)) {
    require_same_dtype(c.inputs[0], c.inputs[2]);
    require(broadcast(out, c.inputs[2].shape) == out, "the addend {} does not broadcast to {}",
            shape_text(c.inputs[2].shape), shape_text(out));
  }
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

Expr scaled(double factor, Expr e) {
  if (factor == 1) return e;
  DType t = e.dtype();
  return constant(factor, t) * std::move(e);
}

std::vector<StageId> compute_gemm(ComputeContext& c) {
  bool ta = c.attrs.i("trans_a"), tb = c.attrs.i("trans_b");
  double alpha = c.attrs.f("alpha", 1), beta = c.attrs.f("beta", 1);
  const Shape& out = c.outputs[0].shape;
  std::vector<NamedExtent> axes{{"m", out[0]}, {"n", out[1]}};
  auto addend = [&](AxisVars a) {
    Expr e = c.builder.at(c.inputs[2], broadcast_indices(c.types[2].shape, a));
    return scaled(beta, e);
  };
  bool add = c.has(2) && beta != 0;
  std::function<Expr(AxisVars)> init;
  if (add && alpha == 1) init = addend;
  StageId acc = c.builder.reduce(
      c.builder.unique(c.prefix + ".acc"), c.outputs[0].dtype, axes,
      {{"k", c.types[0].shape[ta ? 0 : 1]}}, Combine::Sum,
      [&](AxisVars x, AxisVars r) {
        std::vector<Index> a{Index(x[0]), Index(r[0])}, b{Index(r[0]), Index(x[1])};
        if (ta) std::swap(a[0], a[1]);
        if (tb) std::swap(b[0], b[1]);
        return c.builder.at(c.inputs[0], a) * c.builder.at(c.inputs[1], b);
      },
      init);
  if (alpha == 1) return {acc};
  return {c.builder.compute(c.builder.unique(c.prefix), c.outputs[0].dtype, axes, [&](AxisVars a) {
    Expr e = scaled(alpha, c.builder.at(acc, indices_of(a)));
    return add ? e + addend(a) : e;
  })};
}

int64_t gemm_macs(const InferContext& c, std::span<const TensorType> outputs) {
  int64_t k = c.inputs[0].shape[c.attrs.i("trans_a") ? 0 : 1];
  return checked_mul(element_count(outputs[0].shape), k);
}

// ---- einsum

// Labels of every axis; those of an ellipsis are the digits 0… counted from its end, so that they broadcast.
struct Equation {
  std::vector<std::vector<std::string>> inputs;
  std::vector<std::string> output, reduced;
  std::map<std::string, int64_t> extent;
};

std::vector<std::string> labels_of(std::string_view term, size_t rank, bool is_input) {
  std::vector<std::string> labels;
  size_t letters = 0;
  for (char ch : term) letters += std::isalpha(static_cast<unsigned char>(ch)) != 0;
  for (size_t i = 0; i < term.size(); ++i) {
    if (std::isalpha(static_cast<unsigned char>(term[i]))) {
      labels.emplace_back(1, term[i]);
      continue;
    }
    require(term.substr(i, 3) == "...", "the equation has an unexpected '{}'", term[i]);
    require(!is_input || rank >= letters, "a term of the equation names {} axes of a tensor of {}",
            letters, rank);
    for (size_t d = rank - letters; d > 0; --d) labels.push_back(std::to_string(d - 1));
    i += 2;
  }
  require(!is_input || labels.size() == rank, "a term of the equation names {} axes of a tensor of {}",
          labels.size(), rank);
  return labels;
}

Equation parse_equation(const Attrs& attrs, std::span<const TensorType> types) {
  std::string text;
  for (char ch : attrs.s("equation")) {
    if (ch != ' ') text += ch;
  }
  size_t arrow = text.find("->");
  std::string left = text.substr(0, arrow);
  std::vector<std::string> terms;
  for (size_t start = 0;;) {
    size_t comma = left.find(',', start);
    terms.push_back(left.substr(start, comma - start));
    if (comma == std::string::npos) break;
    start = comma + 1;
  }
  require(terms.size() == types.size(), "the equation \"{}\" has {} terms for {} operands", text,
          terms.size(), types.size());
  Equation e;
  std::map<std::string, int> uses;
  size_t ellipsis = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    const Shape& shape = types[i].shape;
    e.inputs.push_back(labels_of(terms[i], shape.size(), true));
    size_t digits = 0;
    for (size_t d = 0; d < shape.size(); ++d) {
      const std::string& label = e.inputs[i][d];
      digits += std::isdigit(static_cast<unsigned char>(label[0])) != 0;
      ++uses[label];
      int64_t& extent = e.extent.try_emplace(label, shape[d]).first->second;
      require(extent == shape[d] || extent == 1 || shape[d] == 1,
              "label {} of \"{}\" has the extents {} and {}", label, text, extent, shape[d]);
      extent = std::max(extent, shape[d]);
    }
    ellipsis = std::max(ellipsis, digits);
  }
  if (arrow != std::string::npos) {
    std::string right = text.substr(arrow + 2);
    size_t letters = 0;
    for (char ch : right) letters += std::isalpha(static_cast<unsigned char>(ch)) != 0;
    e.output = labels_of(right, letters + ellipsis, false);
  } else {  // implicit: the ellipsis, then what is used once, in alphabetic order
    for (size_t d = ellipsis; d > 0; --d) e.output.push_back(std::to_string(d - 1));
    for (const auto& [label, count] : uses) {
      if (count == 1 && std::isalpha(static_cast<unsigned char>(label[0]))) {
        e.output.push_back(label);
      }
    }
  }
  for (size_t i = 0; i < e.output.size(); ++i) {
    require(e.extent.contains(e.output[i]), "label {} of the result is in no operand", e.output[i]);
    require(std::find(e.output.begin(), e.output.begin() + static_cast<std::ptrdiff_t>(i),
                      e.output[i]) == e.output.begin() + static_cast<std::ptrdiff_t>(i),
            "label {} is twice in the result", e.output[i]);
  }
  for (const auto& [label, extent] : e.extent) {
    if (std::find(e.output.begin(), e.output.end(), label) == e.output.end()) {
      e.reduced.push_back(label);
    }
  }
  return e;
}

std::vector<TensorType> infer_einsum(const InferContext& c) {
  for (const TensorType& t : c.inputs) require_same_dtype(c.inputs[0], t);
  Equation e = parse_equation(c.attrs, c.inputs);
  Shape out;
  for (const std::string& l : e.output) out.push_back(e.extent.at(l));
  return {{c.inputs[0].dtype, std::move(out), {}}};
}

std::vector<StageId> compute_einsum(ComputeContext& c) {
  Equation e = parse_equation(c.attrs, c.types);
  auto named = [&](const std::vector<std::string>& labels) {
    std::vector<NamedExtent> axes;
    for (const std::string& l : labels) {
      bool digit = std::isdigit(static_cast<unsigned char>(l[0])) != 0;
      axes.push_back({digit ? "b" + l : l, e.extent.at(l)});
    }
    return axes;
  };
  auto body = [&](AxisVars a, AxisVars r) {
    auto var = [&](const std::string& l) {
      auto at = std::find(e.output.begin(), e.output.end(), l);
      if (at != e.output.end()) return a[static_cast<size_t>(at - e.output.begin())];
      return r[static_cast<size_t>(std::find(e.reduced.begin(), e.reduced.end(), l) -
                                   e.reduced.begin())];
    };
    Expr product;
    for (size_t i = 0; i < e.inputs.size(); ++i) {
      std::vector<Index> at;
      for (size_t d = 0; d < e.inputs[i].size(); ++d) {
        at.push_back(c.types[i].shape[d] == 1 ? Index(Aff(0)) : Index(var(e.inputs[i][d])));
      }
      Expr x = c.builder.at(c.inputs[i], at);
      product = product ? product * x : x;
    }
    return product;
  };
  DType t = c.outputs[0].dtype;
  if (e.reduced.empty()) {
    return {c.builder.compute(c.builder.unique(c.prefix), t, named(e.output),
                              [&](AxisVars a) { return body(a, {}); })};
  }
  return {c.builder.reduce(c.builder.unique(c.prefix + ".acc"), t, named(e.output),
                           named(e.reduced), Combine::Sum, body)};
}

int64_t einsum_macs(const InferContext& c, std::span<const TensorType>) {
  int64_t macs = 1;
  for (const auto& [label, extent] : parse_equation(c.attrs, c.inputs).extent) {
    macs = checked_mul(macs, extent);
  }
  return macs;
}

}  // namespace

std::span<const OpDef> matmul_ops() {
  static const OpDef table[] = {
      {.name = "matmul",
       .min_inputs = 2,
       .max_inputs = 2,
       .fusion = Fusion::Anchor,
       .infer = infer_matmul,
       .compute = compute_matmul,
       .macs = matmul_macs},
      {.name = "matmul_integer",
       .min_inputs = 2,
       .max_inputs = 4,
       .fusion = Fusion::Anchor,
       .infer = infer_matmul_integer,
       .compute = compute_matmul_integer,
       .macs = matmul_macs},
      {.name = "gemm",
       .min_inputs = 2,
       .max_inputs = 3,
       .attrs = gemm_attrs,
       .fusion = Fusion::Anchor,
       .infer = infer_gemm,
       .compute = compute_gemm,
       .macs = gemm_macs},
      {.name = "einsum",
       .min_inputs = 1,
       .max_inputs = ~0u,
       .attrs = einsum_attrs,
       .fusion = Fusion::Anchor,
       .infer = infer_einsum,
       .compute = compute_einsum,
       .macs = einsum_macs},
  };
  return table;
}

}  // namespace burnish::ops
