// Scaled dot-product attention as one operator, which the pass `recognize_attention` makes of the
// products, the scaling and the softmax that models write it in. The sums of the softmax divide the
// finished output, not every score:
//
//   scores = (scale q) k + mask      e = exp(scores - max scores)      out = (e v) * (1 / sum e)
#include "ops/common.h"

namespace burnish::ops {
namespace {

constexpr AttrSpec attention_attrs[] = {{"scale", AttrType::Float}};

// q [b..., m, k], k [b..., k, n], v [b..., n, d]; the axes before the last two broadcast.
struct Attention {
  Shape batch;
  int64_t m, k, n, d;
  Shape scores() const {
    Shape s = batch;
    s.insert(s.end(), {m, n});
    return s;
  }
  Shape out() const {
    Shape s = batch;
    s.insert(s.end(), {m, d});
    return s;
  }
};

Shape batch_of(const Shape& s) { return {s.begin(), s.end() - 2}; }

Attention attention_of(std::span<const TensorType> types) {
  const Shape &q = types[0].shape, &k = types[1].shape, &v = types[2].shape;
  Attention a{};
  a.m = q[q.size() - 2];
  a.k = q.back();
  a.n = k.back();
  a.d = v.back();
  require(k[k.size() - 2] == a.k, "queries {} meet keys {}: the inner extents differ",
          shape_text(q), shape_text(k));
  require(v[v.size() - 2] == a.n, "{} keys meet values {}", a.n, shape_text(v));
  a.batch = broadcast(broadcast(batch_of(q), batch_of(k)), batch_of(v));
  return a;
}

std::vector<TensorType> infer_attention(const InferContext& c) {
  require_float(c.inputs[0], "the query");
  for (size_t i = 0; i < 3; ++i) {
    require_same_dtype(c.inputs[0], c.inputs[i]);
    require_rank(c.inputs[i], 2, 8, "an operand");
  }
  const Attention a = attention_of(c.inputs);
  if (c.has(3)) {
    require_same_dtype(c.inputs[0], c.inputs[3]);
    require(broadcast(a.scores(), c.inputs[3].shape) == a.scores(),
            "the mask {} does not broadcast to {}", shape_text(c.inputs[3].shape),
            shape_text(a.scores()));
  }
  return {{c.inputs[0].dtype, a.out(), {}}};
}

std::vector<NamedExtent> axes_of(const Attention& a, std::vector<NamedExtent> last) {
  std::vector<NamedExtent> axes;
  for (size_t i = 0; i < a.batch.size(); ++i) axes.push_back({fmt::format("b{}", i), a.batch[i]});
  axes.insert(axes.end(), last.begin(), last.end());
  return axes;
}

std::vector<StageId> compute_attention(ComputeContext& c) {
  const Attention a = attention_of(c.types);
  const DType t = c.outputs[0].dtype;
  const size_t rank = a.batch.size();
  GroupBuilder& b = c.builder;
  const auto name = [&](const char* suffix) { return b.unique(c.prefix + suffix); };
  // Operand i at a point of the batch, and two indices.
  const auto operand = [&](size_t i, AxisVars x, const Aff& row, const Aff& column) {
    std::vector<Index> at = broadcast_indices(batch_of(c.types[i].shape), x.first(rank));
    at.insert(at.end(), {Index(row), Index(column)});
    return b.at(c.inputs[i], at);
  };
  const auto same = [](AxisVars x) { return indices_of(x); };
  const auto of_row = [&](AxisVars x) { return indices_of(x.first(rank + 1)); };
  const auto replaced = [&](AxisVars x, const Aff& last) {
    std::vector<Index> at = of_row(x);
    at.emplace_back(last);
    return at;
  };

  const double scale = c.attrs.f("scale", 1);
  Attention queries = a;
  queries.batch = batch_of(c.types[0].shape);
  const StageId q =
      b.compute(name(".q"), t, axes_of(queries, {{"m", a.m}, {"k", a.k}}), [&](AxisVars x) {
        const Expr value = b.at(c.inputs[0], same(x));
        return scale == 1 ? value : value * constant(scale, t);
      });
  const StageId products = b.reduce(name(".products"), t, axes_of(a, {{"m", a.m}, {"n", a.n}}),
                                    {{"k", a.k}}, Combine::Sum, [&](AxisVars x, AxisVars r) {
                                      std::vector<Index> at =
                                          broadcast_indices(queries.batch, x.first(rank));
                                      at.insert(at.end(), {Index(x[rank]), Index(r[0])});
                                      return b.at(q, at) * operand(1, x, r[0], x[rank + 1]);
                                    });
  StageId scores = products;
  if (c.has(3)) {
    scores = b.compute(name(".scores"), t, axes_of(a, {{"m", a.m}, {"n", a.n}}), [&](AxisVars x) {
      return b.at(products, same(x)) + b.at(c.inputs[3], broadcast_indices(c.types[3].shape, x));
    });
  }
  const auto reduced = [&](const char* suffix, Combine op, StageId of) {
    return b.reduce(name(suffix), t, axes_of(a, {{"m", a.m}}), {{"n", a.n}}, op,
                    [&](AxisVars x, AxisVars r) { return b.at(of, replaced(x, r[0])); });
  };
  const StageId top = reduced(".max", Combine::Max, scores);
  const StageId e =
      b.compute(name(".exp"), t, axes_of(a, {{"m", a.m}, {"n", a.n}}), [&](AxisVars x) {
        return unary(UnaryOp::Exp, b.at(scores, same(x)) - b.at(top, of_row(x)));
      });
  const StageId sum = reduced(".sum", Combine::Sum, e);
  const StageId inverse = b.compute(name(".inverse"), t, axes_of(a, {{"m", a.m}}),
                                    [&](AxisVars x) { return one(t) / b.at(sum, same(x)); });
  const StageId acc =
      b.reduce(name(".acc"), t, axes_of(a, {{"m", a.m}, {"d", a.d}}), {{"n", a.n}}, Combine::Sum,
               [&](AxisVars x, AxisVars r) {
                 return b.at(e, replaced(x, r[0])) * operand(2, x, r[0], x[rank + 1]);
               });
  return {b.compute(name(""), t, axes_of(a, {{"m", a.m}, {"d", a.d}}),
                    [&](AxisVars x) { return b.at(acc, same(x)) * b.at(inverse, of_row(x)); })};
}

int64_t attention_macs(const InferContext& c, std::span<const TensorType>) {
  const Attention a = attention_of(c.inputs);
  return checked_mul(element_count(a.scores()), checked_add(a.k, a.d));
}

}  // namespace

std::span<const OpDef> attention_ops() {
  static const OpDef table[] = {{.name = "attention",
                                 .min_inputs = 3,
                                 .max_inputs = 4,
                                 .attrs = attention_attrs,
                                 .fusion = Fusion::Anchor,
                                 .infer = infer_attention,
                                 .compute = compute_attention,
                                 .macs = attention_macs}};
  return table;
}

}  // namespace burnish::ops
