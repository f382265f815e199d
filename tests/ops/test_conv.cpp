// Convolutions against the textbook: conv as nested sums, its transpose as scattering.
#include <random>

#include "ops/support.h"

namespace burnish::test {
namespace {

using Ints = std::vector<int64_t>;

struct Case {
  int64_t batch, in, out, groups;
  Ints spatial, kernel, strides, dilations, pads;
  bool bias;
};

Shape with_spatial(int64_t a, int64_t b, const Ints& s) {
  Shape out{a, b};
  out.insert(out.end(), s.begin(), s.end());
  return out;
}

std::string text(const Case& c, uint64_t seed) {
  return "seed " + std::to_string(seed) + " x " + shape_text(with_spatial(c.batch, c.in, c.spatial)) +
         " kernel " + shape_text(c.kernel) + " out " + std::to_string(c.out) + " groups " +
         std::to_string(c.groups) + " strides " + shape_text(c.strides) + " dilations " +
         shape_text(c.dilations) + " pads " + shape_text(c.pads);
}

Case random_case(std::mt19937_64& r, size_t rank) {
  auto pick = [&](int64_t lo, int64_t hi) {
    return lo + static_cast<int64_t>(r() % static_cast<uint64_t>(hi - lo + 1));
  };
  Case c{};
  c.groups = pick(1, 3);
  c.batch = pick(1, 2);
  c.in = c.groups * pick(1, 3);
  c.out = c.groups * pick(1, 3);
  c.bias = pick(0, 1);
  c.pads.resize(2 * rank);
  for (size_t i = 0; i < rank; ++i) {
    c.kernel.push_back(pick(1, 3));
    c.strides.push_back(pick(1, 3));
    c.dilations.push_back(pick(1, 2));
    c.spatial.push_back(pick(5, 8));
    c.pads[i] = pick(0, 2);
    c.pads[rank + i] = pick(0, 2);
  }
  return c;
}

AttrList attrs_of(const Case& c) {
  return {{"strides", c.strides}, {"dilations", c.dilations}, {"pads", c.pads}, {"groups", c.groups}};
}

std::vector<Arg> operands(const Case& c, Shape weights, uint64_t seed) {
  std::vector<Arg> args{given(random_floats(with_spatial(c.batch, c.in, c.spatial), seed)),
                        given(random_floats(std::move(weights), seed + 1))};
  if (c.bias) args.push_back(given(random_floats({c.out}, seed + 2)));
  return args;
}

TEST(Conv, AgreesWithNestedSums) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    std::mt19937_64 r(seed);
    size_t rank = 1 + seed % 3;
    Case c = random_case(r, rank);
    SCOPED_TRACE(text(c, seed));
    auto args = operands(c, with_spatial(c.out, c.in / c.groups, c.kernel), seed);
    Tensor y = apply("conv", args, attrs_of(c));
    const Tensor &x = args[0].tensor, &w = args[1].tensor;
    for (size_t i = 0; i < rank; ++i) {
      int64_t reach = (c.kernel[i] - 1) * c.dilations[i] + 1;
      EXPECT_EQ(y.shape[2 + i],
                (c.spatial[i] + c.pads[i] + c.pads[rank + i] - reach) / c.strides[i] + 1);
    }
    std::vector<double> wanted(static_cast<size_t>(y.size()));
    each_position(y.shape, [&](const Shape& p, int64_t flat) {
      double sum = c.bias ? at(args[2].tensor, {p[1]}) : 0;
      int64_t group = p[1] / (c.out / c.groups);
      Shape window = c.kernel;
      window.insert(window.begin(), c.in / c.groups);
      each_position(window, [&](const Shape& k, int64_t) {
        Shape from{p[0], group * (c.in / c.groups) + k[0]}, weight{p[1], k[0]};
        for (size_t i = 0; i < rank; ++i) {
          from.push_back(p[2 + i] * c.strides[i] + k[1 + i] * c.dilations[i] - c.pads[i]);
          weight.push_back(k[1 + i]);
        }
        sum += at(x, from) * at(w, weight);
      });
      wanted[static_cast<size_t>(flat)] = sum;
    });
    expect_values(y, y.shape, wanted, 1e-5);
  }
}

TEST(ConvTranspose, AgreesWithScattering) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 r(seed * 7);
    size_t rank = 1 + seed % 3;
    Case c = random_case(r, rank);
    for (size_t i = 0; i < 2 * rank; ++i) c.pads[i] = std::min<int64_t>(c.pads[i], 1);
    SCOPED_TRACE(text(c, seed));
    Ints more(rank);
    for (size_t i = 0; i < rank; ++i) more[i] = static_cast<int64_t>(r()) % 2 ? c.strides[i] - 1 : 0;
    auto args = operands(c, with_spatial(c.in, c.out / c.groups, c.kernel), seed);
    AttrList attrs = attrs_of(c);
    attrs.push_back({"output_padding", more});
    Tensor y = apply("conv_transpose", args, attrs);
    std::vector<double> wanted(static_cast<size_t>(y.size()));
    each_position(y.shape, [&](const Shape& p, int64_t flat) {
      wanted[static_cast<size_t>(flat)] = c.bias ? at(args[2].tensor, {p[1]}) : 0;
    });
    int64_t per = c.out / c.groups;
    each_position(args[0].tensor.shape, [&](const Shape& p, int64_t) {
      Shape window = c.kernel;
      window.insert(window.begin(), per);
      each_position(window, [&](const Shape& k, int64_t) {
        int64_t group = p[1] / (c.in / c.groups);
        int64_t flat = p[0] * c.out + group * per + k[0];
        Shape weight{p[1], k[0]};
        for (size_t i = 0; i < rank; ++i) {
          int64_t to = p[2 + i] * c.strides[i] + k[1 + i] * c.dilations[i] - c.pads[i];
          if (to < 0 || to >= y.shape[2 + i]) return;
          flat = flat * y.shape[2 + i] + to;
          weight.push_back(k[1 + i]);
        }
        wanted[static_cast<size_t>(flat)] += at(args[0].tensor, p) * at(args[1].tensor, weight);
      });
    });
    expect_values(y, y.shape, wanted, 1e-5);
  }
}

TEST(Conv, DepthwiseHasNoChannelReduction) {
  Graph g;
  ValueId x = g.add_input("x", {DType::F32, {1, 4, 5, 5}, {}});
  ValueId w = g.add_input("w", {DType::F32, {8, 1, 3, 3}, {}});
  Attrs attrs;
  attrs.set("groups", int64_t{4});
  NodeId n = g.add_node(op_named("conv"), {x, w}, attrs, "conv");
  StageGroup s = stages_of(g, g.nodes[n]);
  std::optional<StageId> acc = s.named("conv.acc");
  ASSERT_TRUE(acc.has_value());
  ASSERT_EQ(s[*acc].raxes.size(), 2u);
  EXPECT_EQ(s[*acc].raxes[0].name, "ky");
  EXPECT_EQ(s[*acc].axes[1].name, "c");
}

TEST(Conv, CountsMultiplyAdds) {
  TensorType types[] = {{DType::F32, {1, 8, 10, 10}, {}}, {DType::F32, {16, 4, 3, 3}, {}}};
  TensorPtr none[2];
  bool present[] = {true, true};
  Attrs attrs;
  attrs.set("groups", int64_t{2});
  const OpDef& conv = op_named("conv");
  InferContext c{types, none, present, attrs};
  EXPECT_EQ(conv.macs(c, conv.infer(c)), 16 * 8 * 8 * 4 * 9);
}

TEST(Conv, ResolvesAutomaticPads) {
  Tensor x = counting({1, 1, 5, 5}), w = floats({1, 1, 3, 3}, std::vector<double>(9, 1));
  for (std::string mode : {"same_upper", "same_lower"}) {
    Tensor y = apply("conv", {given(x), given(w)}, {{"auto_pad", mode}, {"strides", Ints{2, 2}}});
    expect_values(y, {1, 1, 3, 3}, {12, 27, 24, 63, 108, 81, 72, 117, 84});
  }
  Tensor even = apply("conv", {given(counting({1, 1, 1, 4})), given(floats({1, 1, 1, 2}, {1, 1}))},
                      {{"auto_pad", std::string("same_lower")}});
  expect_values(even, {1, 1, 1, 4}, {0, 1, 3, 5});
  even = apply("conv", {given(counting({1, 1, 1, 4})), given(floats({1, 1, 1, 2}, {1, 1}))},
               {{"auto_pad", std::string("same_upper")}});
  expect_values(even, {1, 1, 1, 4}, {1, 3, 5, 3});
}

TEST(Conv, IntegersSubtractZeroPoints) {
  Tensor x = integers({1, 1, 3, 3}, {2, 3, 4, 5, 6, 7, 8, 9, 10}, DType::U8);
  Tensor w = integers({1, 1, 2, 2}, {1, 1, 1, 1}, DType::U8);
  Tensor y = apply("conv_integer", {given(x), given(w), given(integers({}, {1}, DType::U8))});
  EXPECT_EQ(y.dtype, DType::I32);
  expect_values(y, {1, 1, 2, 2}, {12, 16, 24, 28});
  Tensor padded = apply("conv_integer", {given(x), given(w), given(integers({}, {1}, DType::U8))},
                        {{"pads", Ints{1, 1, 1, 1}}});
  expect_values(padded, {1, 1, 4, 4}, {1, 3, 5, 3, 5, 12, 16, 9, 11, 24, 28, 15, 7, 15, 17, 9});
}

TEST(Conv, RefusesWhatDoesNotFit) {
  auto x = given(counting({1, 4, 6, 6}));
  EXPECT_NE(refusal("conv", {x, given(counting({8, 3, 3, 3}))}).find("the input 1x4x6x6 has 4"),
            std::string::npos);
  EXPECT_NE(refusal("conv", {x, given(counting({6, 1, 3, 3}))}, {{"groups", int64_t{4}}})
                .find("6 output channels do not divide into 4 groups"),
            std::string::npos);
  EXPECT_NE(refusal("conv", {x, given(counting({8, 4, 7, 7}))}).find("does not fit 6 elements"),
            std::string::npos);
  EXPECT_NE(refusal("conv", {x, given(counting({8, 4, 3, 3}))}, {{"strides", Ints{1}}})
                .find("'strides' has 1 values for 2"),
            std::string::npos);
  EXPECT_NE(refusal("conv", {x, given(counting({8, 4, 3, 3}))}, {{"strides", Ints{0, 1}}})
                .find("a stride is 0"),
            std::string::npos);
  EXPECT_NE(refusal("conv", {x, given(counting({8, 4, 3, 3})), given(counting({7}))})
                .find("the bias has the shape 7 for 8"),
            std::string::npos);
  EXPECT_NE(refusal("conv", {x, given(counting({8, 4, 3, 3}))}, {{"pads", Ints{0, 0, 1, -(1ll << 40)}}})
                .find("a pad is"),
            std::string::npos);
  EXPECT_NE(refusal("conv", {x, given(counting({8, 4, 3, 3}))}, {{"groups", int64_t{0}}})
                .find("'groups' is 0"),
            std::string::npos);
}

}  // namespace
}  // namespace burnish::test
