// Whole programs of the target: their launch tables, run against the operators' formulas.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>

#include "base/error.h"
#include "cuda/machines.h"
#include "graph/op.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"
#include "schedule/support.h"
#include "target/target.h"

namespace burnish::cuda_test {
namespace {

using cuda_target::Launches;
using cuda_target::Precision;

Program program_of(const Graph& g, Precision precision = Precision::Strict) {
  constexpr const char* texts[] = {"cuda:sm_90", "cuda:sm_90,precision=tf32", "cuda:sm_90,precision=fp16", "cuda:sm_90,precision=bf16"};
  const auto target = make_target(texts[static_cast<size_t>(precision)], 1);
  Context context;
  context.target = target.get();
  context.options.verify = true;
  return compile_graph(g, context);
}

void expect_right(On machine, const Graph& g, const std::string& what, uint64_t seed,
                  Precision precision = Precision::Strict) {
  SCOPED_TRACE(what);
  const Program p = program_of(g, precision);
  const std::vector<Tensor> inputs = test::random_inputs(g, seed),
                            wanted = test::evaluate_graph(g, inputs);
  std::vector<const void*> in;
  for (const Tensor& t : inputs) in.push_back(t.bytes.data());
  for (const bool reversed : orders_on(machine)) {
    const auto bytes = run_program(machine, p, precision, in, reversed);
    ASSERT_EQ(bytes.size(), wanted.size());
    std::vector<Tensor> got;
    for (size_t o = 0; o < wanted.size(); ++o) {
      got.emplace_back(wanted[o].dtype, wanted[o].shape);
      ASSERT_EQ(bytes[o].size(), got[o].bytes.size());
      std::memcpy(got[o].bytes.data(), bytes[o].data(), bytes[o].size());
    }
    constexpr double tolerances[] = {1e-4, 1e-2, 2e-2, 8 * 2e-2};
    test::expect_close(got, wanted, tolerances[static_cast<size_t>(precision)], what + (reversed ? ", reversed" : ""));
  }
}

using Programs = OnMachine;

TEST_P(Programs, RandomNetworks) {
  for (uint64_t seed = 1; seed <= 6; ++seed)
    expect_right(GetParam(), test::random_network(seed), fmt::format("seed {}", seed), seed);
}

TEST_P(Programs, RandomNetworksInHalves) {
  for (uint64_t seed = 1; seed <= 6; ++seed)
    for (const Precision p : {Precision::Fp16, Precision::Bf16})
      expect_right(GetParam(), test::random_network(seed), fmt::format("seed {}, precision {}", seed, int(p)), seed, p);
}

// Stages of one element follow one another without barriers: one thread's, in their order.
TEST_P(Programs, ScalarsAfterOneAnother) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::F32, {3, 5}, {}});
  uint64_t seed = 5;
  Attrs attrs;
  attrs.set("axis", int64_t{0});
  g.outputs.push_back(
      g.add(op_named("layer_norm"),
            {x, test::random_weights(g, {3, 5}, seed), test::random_weights(g, {3, 5}, seed)},
            attrs, "norm"));
  g.values[g.outputs[0]].name = "y";
  expect_right(GetParam(), g, "layer norm of all", 5);
}

// Siblings and branches are one launch, whose parts want different numbers of threads and memory of the block.
TEST_P(Programs, StepsThatAreOneLaunch) {
  Graph g;
  uint64_t seed = 7;
  const auto convolved = [&](ValueId x, int64_t from, int64_t to, int64_t size) {
    Attrs pads;
    pads.set("pads", std::vector<int64_t>(4, size / 2));
    return g.add(op_named("conv"), {x, test::random_weights(g, {to, from, size, size}, seed), test::random_weights(g, {to}, seed)}, pads, "c");
  };
  const ValueId x = convolved(g.add_input("x", {DType::F32, {1, 3, 9, 7}, {}}), 3, 24, 3);
  const ValueId rows = g.add_input("rows", {DType::F32, {37, 64}, {}});
  g.outputs = {convolved(x, 24, 2, 1), g.add(op_named("sigmoid"), {convolved(x, 24, 10, 1)}, {}, "s"), convolved(x, 24, 16, 3),
               g.add(op_named("global_average_pool"), {x}, {}, "p"), g.add(op_named("softmax"), {rows}, {}, "m")};
  for (const int64_t n : {16, 16, 40}) g.outputs.push_back(g.add(op_named("matmul"), {rows, test::random_weights(g, {64, n}, seed)}, {}, "m"));
  for (size_t i = 0; i < g.outputs.size(); ++i) g.values[g.outputs[i]].name = fmt::format("y{}", i);
  const Launches l = cuda_target::launches_of(program_of(g), Precision::Strict);
  EXPECT_LE(l.launches.size(), 5u);
  for (const Precision precision : {Precision::Strict, Precision::Fp16, Precision::Bf16}) expect_right(GetParam(), g, "siblings", seed, precision);
}

// The expansion of a chain takes tiles of its input from the block's memory: at depths of 16, 8 and 32.
// Weights come rounded, and products do not round them again.
TEST(Factors, AreRoundedOnce) {
  Graph g;
  const ValueId x = g.add_input("x", {DType::F32, {1, 16, 20, 20}, {}});
  auto weights = std::make_shared<Tensor>(DType::F32, Shape{32, 16, 1, 1});
  for (int64_t i = 0; i < weights->size(); ++i) weights->set(i, {DType::F32, 0.1 + 1e-3 * static_cast<double>(i), 0});
  auto more = std::make_shared<Tensor>(DType::F32, Shape{32, 32, 1, 1});
  for (int64_t i = 0; i < more->size(); ++i) more->set(i, {DType::F32, 0.2 - 1e-3 * static_cast<double>(i), 0});
  const ValueId between = g.add(op_named("relu"), {g.add(op_named("conv"), {x, g.add_constant("w", weights)}, {}, "before")}, {}, "between");
  g.outputs = {g.add(op_named("conv"), {between, g.add_constant("v", more)}, {}, "y")};
  for (const Precision precision : {Precision::Strict, Precision::Tf32}) {
    const Program p = program_of(g, precision);
    int constants = 0;
    for (const ProgramTensor& t : p.tensors) {
      if (t.kind != TensorKind::Constant) continue;
      ++constants;
      EXPECT_EQ(t.dtype, precision == Precision::Tf32 ? DType::TF32 : DType::F32) << t.name;
      if (precision != Precision::Tf32) continue;
      for (size_t i = 0; i + 4 <= t.data->size(); i += 4) {
        uint32_t bits = 0;
        std::memcpy(&bits, t.data->data() + i, 4);
        ASSERT_EQ(bits & 0x1fffu, 0u) << i;
      }
    }
    EXPECT_EQ(constants, 2);
    const Launches l = cuda_target::launches_of(p, precision);
    EXPECT_EQ(std::ranges::any_of(l.kernels, [](const c_like::Kernel& k) { return k.source.find("bits(") != std::string::npos; }), precision == Precision::Tf32);
  }
}

TEST_P(Programs, ExpansionsInHalves) {
  for (const int64_t channels : {16, 24, 32}) {
    Graph g;
    const uint64_t seed = 13 + static_cast<uint64_t>(channels);
    std::mt19937_64 random(seed);
    const auto weights = [&](Shape shape, int64_t summed) {  // whose sums are about 1
      const double most = std::sqrt(3.0 / static_cast<double>(summed));
      std::uniform_real_distribution<double> real(-most, most);
      auto t = std::make_shared<Tensor>(DType::F32, std::move(shape));
      for (int64_t i = 0; i < t->size(); ++i) t->data<float>()[i] = static_cast<float>(real(random));
      return g.add_constant("w", std::move(t));
    };
    const auto convolved = [&](ValueId x, int64_t from, int64_t to, int64_t size, int64_t group, int64_t stride) {
      Attrs attrs;
      attrs.set("pads", std::vector<int64_t>(4, size / 2));
      attrs.set("strides", std::vector<int64_t>(2, stride));
      attrs.set("groups", group);
      return g.add(op_named("conv"), {x, weights({to, from / group, size, size}, from / group * size * size), weights({to}, 3)}, attrs, "c");
    };
    const auto activated = [&](ValueId x) { return g.add(op_named("relu"), {x}, {}, "a"); };
    const int64_t expanded = 4 * channels;
    const ValueId x = convolved(g.add_input("x", {DType::F32, {1, 3, 11, 14}, {}}), 3, channels, 3, 1, 1);
    const ValueId e = activated(convolved(x, channels, expanded, 1, 1, 1));
    const ValueId d = activated(convolved(e, expanded, expanded, 3, expanded, channels == 24 ? 2 : 1));
    g.outputs = {convolved(d, expanded, 24, 1, 1, 1)};
    g.values[g.outputs[0]].name = "y";
    for (const Precision p : {Precision::Fp16, Precision::Bf16}) {
      const Launches l = cuda_target::launches_of(program_of(g, p), p);
      EXPECT_TRUE(std::ranges::any_of(l.kernels, [](const c_like::Kernel& k) { return k.source.find("load_tiles") != std::string::npos; })) << channels;
      expect_right(GetParam(), g, fmt::format("{} channels, precision {}", channels, int(p)), seed, p);
    }
  }
}

// A network's first convolution, the depthwise one behind it and the projection are one kernel; in halves, which the tests of kernels have none of.
TEST_P(Programs, ChainsOfImages) {
  for (const auto& [channels, height, width] : {std::array<int64_t, 3>{3, 125, 131}, {4, 30, 33}}) {
    Graph g;
    uint64_t seed = 13;
    const auto convolved = [&](ValueId x, int64_t from, int64_t to, int64_t size, int64_t stride, int64_t groups) {
      Attrs attrs;
      attrs.set("pads", std::vector<int64_t>(4, size / 2));
      attrs.set("strides", std::vector<int64_t>(2, stride));
      attrs.set("groups", groups);
      return g.add(op_named("conv"), {x, test::random_weights(g, {to, from / groups, size, size}, seed), test::random_weights(g, {to}, seed)}, attrs, "c");
    };
    const ValueId x = g.add_input("x", {DType::F32, {1, channels, height, width}, {}});
    const ValueId e = g.add(op_named("relu"), {convolved(x, channels, 32, 3, 2, 1)}, {}, "e");
    const ValueId d = g.add(op_named("relu"), {convolved(e, 32, 32, 3, 1, 32)}, {}, "d");
    g.outputs = {convolved(d, 32, 16, 1, 1, 1)};
    g.values[g.outputs[0]].name = "y";
    for (const Precision p : {Precision::Fp16, Precision::Bf16}) {
      const Launches l = cuda_target::launches_of(program_of(g, p), p);
      if (channels == 3) {  // where it pays
        EXPECT_NE(l.kernels.at(0).source.find(p == Precision::Fp16 ? "sum_f16" : "sum_bf16"), std::string::npos);
        EXPECT_LE(l.launches.size(), 2u);  // one may turn the result to planes
      }
      expect_right(GetParam(), g, fmt::format("{} x {} x {}, precision {}", channels, height, width, int(p)), seed, p);
    }
  }
}

// Products read and write through transposes, in tiles of rows that share a head.
TEST_P(Programs, Heads) {
  for (const int64_t tokens : {9, 32}) {
    Graph g;
    uint64_t seed = 11;
    const int64_t heads = 3, depth = 16, width = heads * depth;
    const auto attrs = [](std::vector<int64_t> perm) {
      Attrs a;
      a.set("perm", std::move(perm));
      return a;
    };
    const auto shaped = [&](ValueId v, std::vector<int64_t> shape) {
      auto sizes = std::make_shared<Tensor>(DType::I64, Shape{std::ssize(shape)});
      for (int64_t i = 0; i < std::ssize(shape); ++i) sizes->set(i, {DType::I64, 0, shape[static_cast<size_t>(i)]});
      return g.add(op_named("reshape"), {v, g.add_constant("sizes", sizes)}, {}, "r");
    };
    const ValueId x = g.add_input("x", {DType::F32, {1, tokens, width}, {}});
    const auto projected = [&](const std::vector<int64_t>& perm) {
      const ValueId y = g.add(op_named("matmul"), {x, test::random_weights(g, {width, width}, seed)}, {}, "p");
      return g.add(op_named("transpose"), {shaped(y, {1, tokens, heads, depth})}, attrs(perm), "t");
    };
    const ValueId q = projected({0, 2, 1, 3}), k = projected({0, 2, 3, 1}), v = projected({0, 2, 1, 3});
    const ValueId scores = g.add(op_named("matmul"), {q, k}, {}, "s");
    const ValueId mixed = g.add(op_named("matmul"), {g.add(op_named("tanh"), {scores}, {}, "h"), v}, {}, "m");
    const ValueId rows = shaped(g.add(op_named("transpose"), {mixed}, attrs({0, 2, 1, 3}), "t"), {1, tokens, width});
    g.outputs = {g.add(op_named("matmul"), {rows, test::random_weights(g, {width, width}, seed)}, {}, "o")};
    g.values[g.outputs[0]].name = "y";
    EXPECT_EQ(cuda_target::launches_of(program_of(g), Precision::Strict).launches.size(), 4u);
    expect_right(GetParam(), g, fmt::format("{} tokens", tokens), seed);
  }
}

// Heads of a detector: one product, which stores planes in several outputs.
TEST_P(Programs, NarrowConvolutionsOfOneTensor) {
  struct Case {
    int64_t height, width;
    Precision precision;
  };
  for (const auto& [height, width, precision] : {Case{12, 20, Precision::Tf32}, {7, 9, Precision::Strict}, {5, 16, Precision::Fp16}}) {
    if (schedule_test::cases(4) < 4 && precision != Precision::Strict) continue;  // proofs take minutes under sanitizers
    Graph g;
    uint64_t seed = 17;
    const auto convolved = [&](ValueId v, int64_t from, int64_t to) {
      return g.add(op_named("conv"), {v, test::random_weights(g, {to, from, 1, 1}, seed), test::random_weights(g, {to}, seed)}, {}, "c");
    };
    const ValueId x = g.add(op_named("relu"), {convolved(g.add_input("x", {DType::F32, {1, 8, height, width}, {}}), 8, 24)}, {}, "r");
    const ValueId seen = g.add(op_named("sigmoid"), {convolved(x, 24, 1)}, {}, "s"), size = convolved(x, 24, 2), marks = convolved(x, 24, 10);
    g.outputs = {size, seen, marks};
    for (size_t i = 0; i < g.outputs.size(); ++i) g.values[g.outputs[i]].name = fmt::format("y{}", i);
    const Program p = program_of(g, precision);
    EXPECT_EQ(std::ranges::count_if(p.steps, [](const Step& s) { return s.args.size() > 5; }), 1);
    expect_right(GetParam(), g, fmt::format("{} x {}", height, width), seed, precision);
  }
}

// A convolution whose only reader are such heads is one kernel with them; not where something else reads it. Two such pairs that do not
// depend on one another are one launch.
TEST_P(Programs, PairsWithHeads) {
  const auto expect_launches = [&](int64_t height, int64_t width, Precision precision, int branches, bool read_twice, size_t launches) {
    Graph g;
    uint64_t seed = 23;
    const auto convolved = [&](ValueId v, int64_t from, int64_t to, int64_t kernel) {
      Attrs a;
      a.set("pads", std::vector<int64_t>(4, kernel / 2));
      const ValueId w = test::random_weights(g, {to, from, kernel, kernel}, seed);
      // What is summed is of the size of one product, so that roundings are, too.
      auto& weights = *std::const_pointer_cast<Tensor>(g.values[w].constant);
      for (int64_t i = 0; i < weights.size(); ++i) weights.data<float>()[i] /= std::sqrt(static_cast<float>(from * kernel * kernel));
      return g.add(op_named("conv"), {v, w, test::random_weights(g, {to}, seed)}, a, "c");
    };
    const ValueId input = g.add_input("x", {DType::F32, {1, 24, height, width}, {}});
    for (int b = 0; b < branches; ++b) {
      const ValueId x = g.add(op_named("relu"), {convolved(input, 24, 24, 3)}, {}, "r");
      const ValueId seen = g.add(op_named("sigmoid"), {convolved(x, 24, 1, 1)}, {}, "s"), marks = convolved(x, 24, 10 + b, 1);
      g.outputs.insert(g.outputs.end(), {seen, marks});
      if (read_twice) g.outputs.push_back(g.add(op_named("tanh"), {x}, {}, "t"));
    }
    for (size_t i = 0; i < g.outputs.size(); ++i) g.values[g.outputs[i]].name = fmt::format("y{}", i);
    const std::string what = fmt::format("{} x {}, {} branches, {} readers, precision {}", height, width, branches, read_twice + 1, static_cast<int>(precision));
    const Program p = program_of(g, precision);
    EXPECT_EQ(cuda_target::launches_of(p, precision).launches.size(), launches) << what;
    expect_right(GetParam(), g, what, seed, precision);
  };
  expect_launches(12, 20, Precision::Tf32, 1, false, 2);
  if (schedule_test::cases(4) < 4) return;  // proofs take minutes under sanitizers
  expect_launches(72, 33, Precision::Strict, 1, false, 2);
  expect_launches(16, 18, Precision::Fp16, 2, false, 2);
  expect_launches(16, 18, Precision::Bf16, 1, false, 2);
  expect_launches(12, 20, Precision::Tf32, 1, true, 4);
}

// Squeeze and excite: its pool and both products are a kernel, and the product behind scales what it loads. Where instructions do not fit
// (36 channels) it does not.
TEST_P(Programs, SqueezeAndExcite) {
  struct Gated {
    int64_t channels, squeezed, images = 1, window = 1;
    const char* activation = "silu";
    const char* gate = "sigmoid";
  };
  using enum Precision;
  for (const auto& [x, precisions] : std::initializer_list<std::pair<Gated, std::vector<Precision>>>{
           {{40, 10}, {Tf32, Fp16, Bf16}},
           {{.channels = 96, .squeezed = 4, .activation = "relu", .gate = "hard_sigmoid"}, {Strict}},
           {{.channels = 16, .squeezed = 8, .images = 2}, {Tf32}},
           {{.channels = 48, .squeezed = 7, .window = 3}, {Fp16}},
           {{36, 9}, {Fp16}}}) {
    Graph g;
    uint64_t seed = 13;
    const auto convolved = [&](ValueId v, int64_t from, int64_t to, int64_t size, const char* then) {
      Attrs pads;
      pads.set("pads", std::vector<int64_t>(4, size / 2));
      const ValueId y = g.add(op_named("conv"), {v, test::random_weights(g, {to, from, size, size}, seed), test::random_weights(g, {to}, seed)}, pads, "c");
      return *then ? g.add(op_named(then), {y}, {}, "a") : y;
    };
    const ValueId wide = convolved(g.add_input("x", {DType::F32, {x.images, 8, 14, 11}, {}}), 8, x.channels, 1, "silu");
    const ValueId mean = g.add(op_named("global_average_pool"), {wide}, {}, "p");
    const ValueId excited = convolved(convolved(mean, x.channels, x.squeezed, 1, x.activation), x.squeezed, x.channels, 1, x.gate);
    g.outputs = {convolved(g.add(op_named("mul"), {excited, wide}, {}, "m"), x.channels, 24, x.window, "")};
    g.values[g.outputs[0]].name = "y";
    for (const Precision p : precisions) {
      const Launches l = cuda_target::launches_of(program_of(g, p), p);
      if (x.images == 1 && x.channels % 8 == 0) {
        EXPECT_EQ(std::ranges::count_if(l.kernels, [](const c_like::Kernel& k) { return k.name.starts_with("global_average_pool") && k.cluster > 1; }), 1);
        EXPECT_TRUE(std::ranges::any_of(l.kernels, [](const c_like::Kernel& k) { return k.name.starts_with("mul_conv"); }));
      }
      expect_right(GetParam(), g, fmt::format("{} channels, {}", x.channels, static_cast<int>(p)), seed, p);
    }
  }
}

// Parts that do not begin where vectors do are read otherwise.
TEST_P(Programs, PartsAtUnalignedPlaces) {
  const Graph g = parse_graph(R"(graph g {
  input %x: f32[243]
  %r: f32[243] = relu(%x)
  %p: f32[3], %q: f32[240] = split(%r) {axis=0, sizes=[3,240]}
  %y: f32[240] = exp(%q)
  %z: f32[3] = neg(%p)
  output %y, %z
})");
  const Program p = program_of(g);
  const Launches l = cuda_target::launches_of(p, Precision::Strict);
  size_t unaligned = 0;
  for (const cuda_target::Launch& launch : l.launches)
    for (size_t a = 0; a < launch.args.size(); ++a)
      if (launch.args[a].offset % 16) {
        ++unaligned;
        EXPECT_EQ(l.kernels[launch.kernel].source.find("load4"), std::string::npos) << l.kernels[launch.kernel].source;
      }
  EXPECT_GT(unaligned, 0u) << to_text(p);
  expect_right(GetParam(), g, "parts", 5);
}

// What a value shares it shares in its kernel.
TEST(Factors, AreSharedInText) {
  GroupBuilder b("group");
  const StageId x = b.input("X", DType::F32, {{"i", 1024}});
  b.output(b.compute("O", DType::F32, {{"i", 1024}}, [&](AxisVars a) {
    Expr e = b.at(x, {a[0]});
    for (int i = 0; i < 16; ++i) e = e * max(e + constant(0.5), constant(0));
    return e;
  }));
  const auto kernels = c_like::kernels_of(*lower(make_target("cuda:sm_90", 1)->default_schedule(b.group())), cuda_target::dialect());
  EXPECT_LT(kernels.at(0).source.size(), 20000u);
}

TEST(LaunchTable, EveryStepHasItsLaunches) {
  const Program p = program_of(test::random_network(3));
  const Launches l = cuda_target::launches_of(p, Precision::Strict);
  std::vector<int> launches(p.steps.size());
  for (size_t i = 0; i < l.launches.size(); ++i) {
    const cuda_target::Launch& x = l.launches[i];
    if (i > 0) {
      EXPECT_GE(x.step, l.launches[i - 1].step);
    }
    ++launches.at(x.step);
    EXPECT_EQ(x.args.size(), l.kernels.at(x.kernel).args.size());
  }
  for (const int n : launches) EXPECT_GE(n, 1);
  for (const c_like::Kernel& k : l.kernels)
    EXPECT_NE(k.source.find("__restrict__"), std::string::npos)
        << "outputs in the place of inputs: " << k.source;
}

BURNISH_ON_MACHINES(Programs);

}  // namespace
}  // namespace burnish::cuda_test
