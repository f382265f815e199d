// Attention and rotary embedding, from matrix products, softmax and element-wise operators.
#include <algorithm>
#include <cmath>
#include <limits>

#include "import/onnx/node_context.h"
#include "import/onnx/tensor.h"

namespace burnish::onnx {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// [batch, sequence, heads * size] -> [batch, heads, sequence, size]; four axes stay.
ValueId by_heads(NodeContext& n, ValueId v, int64_t heads) {
  const Shape s = n.type_of(v).shape;
  if (s.size() == 4) return v;
  require(s.size() == 3, "an operand of rank {} is given, but 3 or 4 is needed", s.size());
  require(heads > 0 && s[2] % heads == 0, "{} heads do not divide the last axis of {}", heads,
          shape_text(s));
  return n.transpose(n.reshape(v, {s[0], s[1], heads, s[2] / heads}), {0, 2, 1, 3});
}

ValueId concat(NodeContext& n, ValueId a, ValueId b, int64_t axis) {
  return n.add("concat", {a, b}, attrs({{"axis", integer(axis)}}));
}

// Each head of keys or values as often as queries share it.
ValueId repeated(NodeContext& n, ValueId v, int64_t times) {
  if (times == 1) return v;
  const Shape s = n.type_of(v).shape;
  const ValueId spread = n.add("expand", {n.reshape(v, {s[0], s[1], 1, s[2], s[3]}),
                                          n.int_vector({s[0], s[1], times, s[2], s[3]})});
  return n.reshape(spread, {s[0], s[1] * times, s[2], s[3]});
}

// 0 where query i may see key j, that is j - past <= i; else -inf.
ValueId causal_bias(NodeContext& n, int64_t queries, int64_t keys, int64_t past, DType dtype) {
  require(queries <= (1 << 26) / std::max<int64_t>(keys, 1), "a causal mask of {}x{} is too large",
          queries, keys);
  auto t = std::make_shared<Tensor>(dtype, Shape{queries, keys});
  for (int64_t i = 0; i < queries; ++i) {
    for (int64_t j = std::max<int64_t>(i + past + 1, 0); j < keys; ++j) {
      t->set(i * keys + j, Scalar{.dtype = dtype, .f = -infinity});
    }
  }
  return n.constant_of(std::move(t));
}

// The mask as numbers to add, as wide as there are keys.
ValueId mask_bias(NodeContext& n, ValueId mask, int64_t keys, DType dtype) {
  if (n.type_of(mask).dtype == DType::Bool) {
    mask = n.add("where", {mask, n.scalar(0, dtype), n.scalar(-infinity, dtype)});
  }
  const Shape& s = n.type_of(mask).shape;
  require(!s.empty() && s.back() <= keys, "a mask of {} does not fit {} keys", shape_text(s), keys);
  if (s.back() == keys) return mask;
  std::vector<int64_t> pads(2 * s.size(), 0);
  pads.back() = keys - s.back();
  return n.add("pad", {mask, n.int_vector(pads), n.scalar(-infinity, dtype)},
               attrs({{"mode", text("constant")}}));
}

// Sequences that end early: key j of batch b counts if j < length[b].
ValueId length_bias(NodeContext& n, ValueId lengths, int64_t keys, DType dtype) {
  auto t = std::make_shared<Tensor>(n.type_of(lengths).dtype, Shape{1, 1, 1, keys});
  for (int64_t j = 0; j < keys; ++j) t->set(j, Scalar{.dtype = t->dtype, .i = j});
  const ValueId column = n.reshape(lengths, {element_count(n.type_of(lengths).shape), 1, 1, 1});
  const ValueId counts = n.add("less", {n.constant_of(std::move(t)), column});
  return n.add("where", {counts, n.scalar(0, dtype), n.scalar(-infinity, dtype)});
}

std::vector<ValueId> attention(NodeContext& n) {
  const bool flat = n.rank(0) == 3;
  const DType dtype = n.dtype(0);
  const int64_t q_heads = n.attr_i("q_num_heads", 0), kv_heads = n.attr_i("kv_num_heads", 0);
  const ValueId q = by_heads(n, n.in(0), q_heads);
  ValueId k = by_heads(n, n.in(1), kv_heads), v = by_heads(n, n.in(2), kv_heads);
  int64_t past = 0;
  if (n.has(4)) {
    require(n.rank(4) == 4, "the past keys have rank {}, but 4 is needed", n.rank(4));
    past = n.shape(4)[2];
    k = concat(n, n.in(4), k, 2);
  }
  if (n.has(5)) v = concat(n, n.in(5), v, 2);
  const ValueId present_key = k, present_value = v;

  const Shape qs = n.type_of(q).shape, ks = n.type_of(k).shape;
  require(ks[1] > 0 && qs[1] % ks[1] == 0, "{} query heads cannot share {} key heads", qs[1],
          ks[1]);
  k = repeated(n, k, qs[1] / ks[1]);
  v = repeated(n, v, qs[1] / ks[1]);

  const double scale = std::sqrt(n.attr_f("scale", 1 / std::sqrt(static_cast<double>(qs[3]))));
  const ValueId factor = n.scalar(scale, dtype);
  const ValueId scaled_q = n.add("mul", {q, factor});
  const ValueId scaled_k = n.add("mul", {n.transpose(k, {0, 1, 3, 2}), factor});
  ValueId scores = n.add("matmul", {scaled_q, scaled_k});
  const double softcap = n.attr_f("softcap", 0);
  if (softcap > 0) {
    const ValueId cap = n.scalar(softcap, dtype);
    scores = n.add("mul", {n.add("tanh", {n.add("div", {scores, cap})}), cap});
  }
  ValueId shown = scores;  // the fourth output
  const int64_t queries = qs[2], keys = ks[2];
  if (n.has(3)) scores = n.add("add", {scores, mask_bias(n, n.in(3), keys, dtype)});
  if (n.attr_i("is_causal", 0) != 0) {
    scores = n.add("add", {scores, causal_bias(n, queries, keys, past, dtype)});
  }
  if (n.has(6)) scores = n.add("add", {scores, length_bias(n, n.in(6), keys, dtype)});

  const int64_t mode = n.attr_i("qk_matmul_output_mode", 0);
  if (mode == 2) shown = scores;
  const auto precision = static_cast<int32_t>(n.attr_i("softmax_precision", 0));
  DType wide = dtype;
  if (precision != 0) {
    const auto wanted = dtype_of(precision);
    if (!wanted) n.gap("a softmax in {} is not supported", onnx_type_name(precision));
    wide = *wanted;
  }
  const ValueId weights = n.add("softmax", {n.cast(scores, wide)}, attrs({{"axis", integer(-1)}}));
  if (mode == 3) shown = n.cast(weights, dtype);
  ValueId y = n.cast(n.add("matmul", {weights, n.cast(v, wide)}), dtype);
  if (flat) {
    const Shape s = n.type_of(y).shape;
    y = n.reshape(n.transpose(y, {0, 2, 1, 3}), {s[0], s[2], s[1] * s[3]});
  }
  return {y, present_key, present_value, shown};
}

// Pairs of elements are turned by an angle a position: (x1, x2) -> (c x1 - s x2, s x1 + c x2).
std::vector<ValueId> rotary(NodeContext& n) {
  const Shape given = n.shape(0);
  const bool interleaved = n.attr_i("interleaved", 0) != 0;
  const int64_t heads = n.attr_i("num_heads", 0);
  ValueId x = n.in(0);
  if (given.size() == 4) {
    x = n.transpose(x, {0, 2, 1, 3});
  } else {
    require(given.size() == 3 && heads > 0 && given[2] % heads == 0, "{} heads do not divide {}",
            heads, shape_text(given));
    x = n.reshape(x, {given[0], given[1], heads, given[2] / heads});
  }
  const Shape s = n.type_of(x).shape;  // batch, sequence, heads, size
  int64_t turned = n.attr_i("rotary_embedding_dim", 0);
  if (turned == 0) turned = s[3];
  require(turned > 0 && turned <= s[3] && turned % 2 == 0,
          "'rotary_embedding_dim' is {} for heads of size {}", turned, s[3]);

  const auto table = [&](size_t i) {
    ValueId t = n.in(i);
    if (n.has(3)) t = n.add("gather", {t, n.in(3)}, attrs({{"axis", integer(0)}}));
    return n.add("unsqueeze", {t}, attrs({{"axes", ints({2})}}));
  };
  const ValueId cosine = table(1), sine = table(2);
  const auto part = [&](int64_t start, int64_t end, int64_t step) {
    return n.add("slice", {x, n.int_vector({start}), n.int_vector({end}), n.int_vector({3}),
                           n.int_vector({step})});
  };
  const ValueId x1 = interleaved ? part(0, turned, 2) : part(0, turned / 2, 1);
  const ValueId x2 = interleaved ? part(1, turned, 2) : part(turned / 2, turned, 1);
  ValueId real = n.add("sub", {n.add("mul", {cosine, x1}), n.add("mul", {sine, x2})});
  ValueId imaginary = n.add("add", {n.add("mul", {sine, x1}), n.add("mul", {cosine, x2})});
  ValueId y = no_value;
  if (interleaved) {
    real = n.add("unsqueeze", {real}, attrs({{"axes", ints({4})}}));
    imaginary = n.add("unsqueeze", {imaginary}, attrs({{"axes", ints({4})}}));
    y = n.reshape(concat(n, real, imaginary, 4), {s[0], s[1], s[2], turned});
  } else {
    y = concat(n, real, imaginary, 3);
  }
  if (turned < s[3]) y = concat(n, y, part(turned, s[3], 1), 3);
  return {given.size() == 4 ? n.transpose(y, {0, 2, 1, 3}) : n.reshape(y, given)};
}

constexpr OnnxOp table[] = {
    {"Attention", attention},
    {"RotaryEmbedding", rotary},
};

}  // namespace

std::span<const OnnxOp> attention_conversions() { return table; }

}  // namespace burnish::onnx
