// Normalisations and softmax.
#include <numeric>

#include "import/onnx/node_context.h"

namespace burnish::onnx {

namespace {

Attrs epsilon(NodeContext& n) { return attrs({{"epsilon", real(n.attr_f("epsilon", 1e-5f))}}); }

std::vector<ValueId> batch_norm(NodeContext& n) {
  n.ignore({"momentum", "is_test"});
  if (n.attr_i("training_mode", 0) != 0) n.gap("batch normalisation in training is not supported");
  if (n.attr_i("spatial", 1) == 0) n.gap("batch normalisation with 'spatial' 0 is not supported");
  return {n.add("batch_norm", {n.in(0), n.in(1), n.in(2), n.in(3), n.in(4)}, epsilon(n))};
}

std::vector<ValueId> instance_norm(NodeContext& n) {
  return {n.add("instance_norm", {n.in(0), n.in(1), n.in(2)}, epsilon(n))};
}

// Before opset 21 scale and bias were given a group, not a channel.
std::vector<ValueId> group_norm(NodeContext& n) {
  n.ignore({"stash_type"});
  const int64_t groups = n.attr_i("num_groups", 0);
  require(n.rank(0) >= 2 && groups > 0 && n.shape(0)[1] % groups == 0,
          "{} groups do not divide the channels of {}", groups, shape_text(n.shape(0)));
  const int64_t channels = n.shape(0)[1];
  const auto per_channel = [&](size_t i) {
    if (n.opset() >= 21 || n.shape(i) != Shape{groups}) return n.in(i);
    const ValueId column = n.reshape(n.in(i), {groups, 1});
    return n.reshape(n.add("expand", {column, n.int_vector({groups, channels / groups})}),
                     {channels});
  };
  Attrs a = epsilon(n);
  a.set("num_groups", groups);
  return {n.add("group_norm", {n.in(0), per_channel(1), per_channel(2)}, a)};
}

std::vector<ValueId> layer_norm(NodeContext& n) {
  n.ignore({"stash_type"});
  const int64_t axis = normal_axis(n.attr_i("axis", -1), n.rank(0));
  Attrs a = epsilon(n);
  a.set("axis", axis);
  std::vector<ValueId> in{n.in(0), n.in(1)};
  if (n.has(2)) in.push_back(n.in(2));
  std::vector<ValueId> out{n.add("layer_norm", in, a)};
  if (!n.wants(1) && !n.wants(2)) return out;
  std::vector<int64_t> axes(static_cast<size_t>(n.rank(0) - axis));
  std::iota(axes.begin(), axes.end(), axis);
  const ValueId mean = n.reduce("reduce_mean", n.in(0), axes, true);
  const ValueId centred = n.add("sub", {n.in(0), mean});
  const ValueId variance = n.reduce("reduce_mean", n.add("mul", {centred, centred}), axes, true);
  const ValueId shifted =
      n.add("add", {variance, n.scalar_like(n.attr_f("epsilon", 1e-5f), variance)});
  out.insert(out.end(), {mean, n.add("reciprocal", {n.add("sqrt", {shifted})})});
  return out;
}

std::vector<ValueId> rms_norm(NodeContext& n) {
  n.ignore({"stash_type"});
  Attrs a = epsilon(n);
  a.set("axis", n.attr_i("axis", -1));
  return {n.add("rms_norm", {n.in(0), n.in(1)}, a)};
}

std::vector<ValueId> lp_norm(NodeContext& n) {
  return {
      n.add("lp_norm", {n.in(0)},
            attrs({{"axis", integer(n.attr_i("axis", -1))}, {"p", integer(n.attr_i("p", 2))}}))};
}

std::vector<ValueId> mean_variance_norm(NodeContext& n) {
  return {n.add("mean_variance_norm", {n.in(0)},
                attrs({{"axes", ints(n.attr_ints("axes", {0, 2, 3}))}}))};
}

std::vector<ValueId> lrn(NodeContext& n) {
  return {n.add("lrn", {n.in(0)},
                attrs({{"size", integer(n.attr_i("size", 0))},
                       {"alpha", real(n.attr_f("alpha", 1e-4f))},
                       {"beta", real(n.attr_f("beta", 0.75))},
                       {"bias", real(n.attr_f("bias", 1))}}))};
}

// Before opset 13 these work on the matrix of the axes before `axis` and those from it on.
std::vector<ValueId> softmax(NodeContext& n) {
  const std::string_view op = n.op_type() == "Softmax"      ? "softmax"
                              : n.op_type() == "LogSoftmax" ? "log_softmax"
                                                            : "hardmax";
  const int64_t axis =
      normal_axis(n.attr_i("axis", n.opset() >= 13 ? -1 : 1), std::max<int64_t>(n.rank(0), 1));
  if (n.opset() >= 13 || axis == n.rank(0) - 1) {
    return {n.add(op, {n.in(0)}, attrs({{"axis", integer(axis)}}))};
  }
  const Shape shape = n.shape(0);
  const Shape before(shape.begin(), shape.begin() + axis), after(shape.begin() + axis, shape.end());
  const ValueId matrix = n.reshape(n.in(0), {element_count(before), element_count(after)});
  return {n.reshape(n.add(op, {matrix}, attrs({{"axis", integer(1)}})), shape)};
}

constexpr OnnxOp table[] = {
    {"BatchNormalization", batch_norm},
    {"InstanceNormalization", instance_norm},
    {"GroupNormalization", group_norm},
    {"LayerNormalization", layer_norm},
    {"RMSNormalization", rms_norm},
    {"LpNormalization", lp_norm},
    {"MeanVarianceNormalization", mean_variance_norm},
    {"LRN", lrn},
    {"Softmax", softmax},
    {"LogSoftmax", softmax},
    {"Hardmax", softmax},
};

}  // namespace

std::span<const OnnxOp> norm_conversions() { return table; }

}  // namespace burnish::onnx
