// Files that are broken, or made to harm: a sentence that says where and why, in bounded time and
// memory.
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "base/error.h"
#include "import/import.h"
#include "model_writer.h"

namespace burnish::test {
namespace {

// The message of the error that importing `bytes` raises; "" when it succeeds.
std::string failure(const std::string& bytes, const ImportOptions& options = {}) {
  try {
    import_model(bytes, "m.onnx", {}, options);
  } catch (const UserError& e) {
    return e.what();
  } catch (const Unsupported& e) {
    return std::string("unsupported: ") + e.what();
  }
  return "";
}

void expect_failure(const std::string& bytes, const std::vector<std::string>& parts) {
  const std::string message = failure(bytes);
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
  }
}

GraphParts relu_parts() {
  return {.nodes = {node("Relu", {"x"}, {"y"}, {}, "act")},
          .inputs = {value_info("x", kFloat, {1, 4})},
          .outputs = {value_info("y", kFloat, {1, 4})}};
}

// A few operators, weights, a subgraph and a function: something to damage.
std::string rich_model() {
  GraphParts p;
  p.inputs = {value_info("x", kFloat, {1, 2, 5, 5})};
  p.outputs = {value_info("y", kFloat, {1, 3, 9})};
  p.initializers = {tensor("w", kFloat, {3, 2, 3, 3}, raw(std::vector<float>(54, 0.5f))),
                    int_tensor("shape", {1, 3, -1}),
                    tensor("yes", kBool, {}, std::string(1, '\1'))};
  const GraphParts branch{.nodes = {node("Neg", {"c"}, {"b"})},
                          .outputs = {value_info("b", kFloat, {})}};
  p.nodes = {node("Conv", {"x", "w"}, {"c"}, {ints_attribute("kernel_shape", {3, 3})}, "conv"),
             node("If", {"yes"}, {"i"},
                  {graph_attribute("then_branch", graph(branch)),
                   graph_attribute("else_branch", graph(branch))}),
             node("Twice", {"i"}, {"t"}, {}, "call", "local"),
             node("Reshape", {"t", "shape"}, {"r"}, {}, "reshape"),
             node("LeakyRelu", {"r"}, {"y"}, {float_attribute("alpha", 0.1f)})};
  Message f;
  f.bytes(1, "Twice").bytes(4, "a").bytes(5, "b").message(7, node("Add", {"a", "a"}, {"b"}));
  f.message(9, opset("", 17)).bytes(10, "local");
  return model(p, 17, {f});
}

TEST(Hostile, TheUndamagedModelsImport) {
  EXPECT_EQ(failure(model(relu_parts())), "");
  EXPECT_EQ(failure(rich_model()), "");
}

TEST(Hostile, NoOnnxAtAll) {
  expect_failure("", {"m.onnx", "is empty"});
  expect_failure("\x7f"
                 "ELF and more",
                 {"m.onnx is a compiled library", "give the model"});
  expect_failure("I am a letter, no network\n", {"m.onnx is no ONNX model"});
  expect_failure(std::string(1000, '\0'), {"m.onnx is no ONNX model"});
  expect_failure(Message().number(1, 8).text(), {"holds no graph"});
}

// Each fault by its own name: what is cut off has to be copied anew, what is damaged not.
TEST(Hostile, TruncatedOrDamaged) {
  const std::string whole = model(relu_parts());
  expect_failure(whole.substr(0, whole.size() - 5), {"m.onnx is truncated", "inside a message"});
  expect_failure(Message().number(1, 8).message(7, Message().length(1, 1000)).text(),
                 {"m.onnx is damaged"});
  expect_failure(Message().number(1, 8).bytes(7, "\x0b\x0b").text(), {"m.onnx is damaged"});
}

TEST(Hostile, EveryTruncation) {
  const std::string whole = rich_model();
  for (size_t n = 0; n < whole.size(); ++n) {
    // A cut between two fields may leave a smaller model that is fine; most leave none. None may
    // crash.
    failure(whole.substr(0, n));
  }
  EXPECT_NE(failure(whole.substr(0, whole.size() / 2)), "");
}

TEST(Hostile, FlippedBytes) {
  const std::string whole = rich_model();
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const ImportOptions small{.max_tensor_bytes = 1 << 24};
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole;
    for (int k = 1 + static_cast<int>(random() % 3); k > 0; --k) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    EXPECT_NO_THROW(failure(bytes, small)) << "round " << round;
  }
}

TEST(Hostile, LyingLengths) {
  expect_failure(Message().number(1, 8).length(7, uint64_t{1} << 60).text(), {"truncated"});
  expect_failure(Message().number(1, 8).length(7, ~uint64_t{0}).text(), {"truncated"});
}

TEST(Hostile, TenGigabytesDeclaredInOneKilobyte) {
  GraphParts p = relu_parts();
  p.initializers = {tensor("w", kFloat, {2'500'000'000}, "abcd")};
  expect_failure(model(p), {"m.onnx", "tensor 'w'", "needs 10000000000 bytes", "holds 4"});
  p.initializers = {Message().number(1, 2'500'000'000).number(2, kFloat).bytes(8, "w")};
  expect_failure(model(p), {"tensor 'w'", "the file holds 0"});
}

TEST(Hostile, SizesThatOverflowOrAreNegative) {
  GraphParts p = relu_parts();
  p.initializers = {tensor("w", kFloat, {int64_t{1} << 40, int64_t{1} << 40}, "")};
  expect_failure(model(p), {"tensor 'w'", "overflows"});
  p.initializers = {tensor("w", kFloat, {-3}, "")};
  expect_failure(model(p), {"tensor 'w'", "negative dimension -3"});
  p = relu_parts();
  p.inputs = {value_info("x", kFloat, {1, int64_t{1} << 62, 16})};
  expect_failure(model(p), {"input 'x'", "overflows"});
  p.inputs = {value_info("x", kFloat, {1, int64_t{1} << 50})};
  expect_failure(model(p), {"input 'x'", "bytes"});
  p.inputs = {value_info("x", kFloat, {1, -7})};
  expect_failure(model(p), {"input 'x'", "negative size -7"});
}

TEST(Hostile, ResultsTooLargeToExist) {
  GraphParts p = relu_parts();
  p.initializers = {int_tensor("s", {int64_t{1} << 35, int64_t{1} << 20})};
  p.nodes = {node("Expand", {"x", "s"}, {"y"}, {}, "grow")};
  EXPECT_NE(failure(model(p)), "");
  p.initializers = {int_tensor("s", {int64_t{1} << 45})};
  p.nodes = {node("ConstantOfShape", {"s"}, {"y"}, {}, "grow")};
  expect_failure(model(p), {"node grow (ConstantOfShape)", "bytes"});
  p.initializers = {tensor("a", kInt64, {}, raw<int64_t>({0})),
                    tensor("b", kInt64, {}, raw<int64_t>({int64_t{1} << 60})),
                    tensor("c", kInt64, {}, raw<int64_t>({1}))};
  p.nodes = {node("Range", {"a", "b", "c"}, {"y"}, {}, "count")};
  expect_failure(model(p), {"node count (Range)"});
}

TEST(Hostile, CyclesAndDanglingNames) {
  GraphParts p = relu_parts();
  p.nodes = {node("Add", {"x", "b"}, {"a"}, {}, "first"), node("Relu", {"a"}, {"b"}, {}, "second"),
             node("Relu", {"b"}, {"y"}, {}, "third")};
  const std::string message = failure(model(p));
  EXPECT_NE(message.find("cycle through node"), std::string::npos) << message;
  EXPECT_TRUE(message.find("first") != std::string::npos ||
              message.find("second") != std::string::npos)
      << message;

  p = relu_parts();
  p.nodes = {node("Add", {"x", "ghost"}, {"y"}, {}, "sum")};
  expect_failure(model(p), {"m.onnx", "node sum (Add)", "'ghost'"});
  p = relu_parts();
  p.outputs = {value_info("nobody", kFloat, {1})};
  expect_failure(model(p), {"output 'nobody'"});
}

TEST(Hostile, NamesTwice) {
  GraphParts p = relu_parts();
  p.nodes.push_back(node("Neg", {"x"}, {"y"}, {}, "again"));
  expect_failure(model(p), {"'y'", "act", "again"});
  p = relu_parts();
  p.nodes = {node("Relu", {"x"}, {"x"}, {}, "self")};
  expect_failure(model(p), {"self"});
  p = relu_parts();
  p.inputs.push_back(p.inputs[0]);
  expect_failure(model(p), {"two inputs", "'x'"});
  p = relu_parts();
  p.outputs.push_back(p.outputs[0]);
  expect_failure(model(p), {"two outputs", "'y'"});
}

TEST(Hostile, NodesOutOfOrderAreSorted) {
  GraphParts p = relu_parts();
  p.nodes = {node("Relu", {"m"}, {"y"}), node("Neg", {"x"}, {"m"})};
  EXPECT_EQ(failure(model(p)), "");
}

TEST(Hostile, WrongTypes) {
  GraphParts p = relu_parts();
  p.initializers = {int_tensor("w", {1, 2, 3, 4})};
  p.nodes = {node("Add", {"x", "w"}, {"y"}, {}, "sum")};
  expect_failure(model(p), {"node sum (Add)"});
  p = relu_parts();
  p.outputs = {value_info("y", kInt64, {1, 4})};
  expect_failure(model(p), {"output 'y'", "INT64", "f32"});
  p = relu_parts();
  p.nodes = {node("LeakyRelu", {"x"}, {"y"}, {int_attribute("alpha", 3)}, "leak")};
  expect_failure(model(p), {"node leak (LeakyRelu)", "'alpha'"});
  p = relu_parts();
  p.initializers = {Message().number(1, 1).number(2, kInt8).number(5, 1000).bytes(8, "w")};
  expect_failure(model(p), {"tensor 'w'", "1000", "i8"});
}

TEST(Hostile, WrongAttributesOfWindows) {
  GraphParts p = relu_parts();
  p.inputs = {value_info("x", kFloat, {1, 2, 8, 8})};
  const auto pool = [&](std::vector<Message> a) {
    p.nodes = {node("MaxPool", {"x"}, {"y"}, a, "pool")};
    return failure(model(p));
  };
  EXPECT_EQ(pool({ints_attribute("kernel_shape", {2, 2})}), "");
  for (const std::vector<int64_t>& kernel :
       {std::vector<int64_t>{}, {0, 2}, {-1, 2}, {2}, {int64_t{1} << 62, 2}}) {
    const std::string message = pool({ints_attribute("kernel_shape", kernel)});
    EXPECT_NE(message.find("kernel_shape"), std::string::npos) << message;
  }
  EXPECT_NE(pool({ints_attribute("kernel_shape", {2, 2}), ints_attribute("strides", {0, 1})}), "");
  EXPECT_NE(pool({ints_attribute("kernel_shape", {2, 2}), ints_attribute("pads", {0, 1, 2})}), "");
  EXPECT_NE(pool({ints_attribute("kernel_shape", {9, 9})}), "");
}

TEST(Hostile, MissingInputsAndOutputs) {
  GraphParts p = relu_parts();
  p.nodes = {node("Conv", {"x"}, {"y"}, {}, "conv")};
  expect_failure(model(p), {"node conv (Conv)"});
  p.nodes = {node("Relu", {}, {"y"}, {}, "act")};
  expect_failure(model(p), {"node act (Relu)", "input 0 is missing"});
  p.nodes = {node("Relu", {"x"}, {"y", "z"}, {}, "act")};
  expect_failure(model(p), {"unsupported", "output 1"});
  p = relu_parts();
  p.outputs.clear();
  expect_failure(model(p), {"no outputs"});
}

TEST(Hostile, SequencesWhereTensorsBelong) {
  GraphParts p = relu_parts();
  p.nodes = {node("SequenceConstruct", {"x", "x"}, {"s"}), node("Relu", {"s"}, {"y"}, {}, "act")};
  expect_failure(model(p), {"Relu", "sequence"});
  p.nodes = {node("SequenceConstruct", {"x", "x"}, {"s"}),
             node("SequenceInsert", {"s", "s"}, {"y"}, {}, "put")};
  expect_failure(model(p), {"SequenceInsert", "sequences of sequences"});
  p.nodes = {node("SequenceConstruct", {"x", "x"}, {"s"}),
             node("SequenceAt", {"s", "s"}, {"y"}, {}, "take")};
  expect_failure(model(p), {"node take (SequenceAt)", "a sequence is given"});
  p.nodes = {node("SequenceAt", {"x", "x"}, {"y"}, {}, "take")};
  expect_failure(model(p), {"node take (SequenceAt)", "a sequence is needed"});
  p.nodes = {node("SequenceConstruct", {"x"}, {"y"})};
  expect_failure(model(p), {"unsupported", "only tensors can leave"});
  for (const char* op : {"If", "Loop"}) {
    p.nodes = {node("SequenceConstruct", {"x", "x"}, {"s"}),
               node(op, {"s"}, {"y"},
                    {graph_attribute("body", graph({})), graph_attribute("then_branch", graph({})),
                     graph_attribute("else_branch", graph({}))})};
    EXPECT_NE(failure(model(p)), "") << op;
  }
}

TEST(Hostile, NestedSubgraphs) {
  Message inner =
      graph({.nodes = {node("Relu", {"x"}, {"b"})}, .outputs = {value_info("b", kFloat, {})}});
  for (int depth = 0; depth < 2000; ++depth) {
    inner = graph({.nodes = {node("If", {"c"}, {"b"}, {graph_attribute("then_branch", inner)})},
                   .outputs = {value_info("b", kFloat, {})}});
  }
  const Message m = Message().number(1, 8).message(8, opset("", 17)).message(7, inner);
  expect_failure(m.text(), {"m.onnx", "nests deeper"});
}

TEST(Hostile, FunctionsThatCallThemselvesOrExplode) {
  const auto function = [](const std::string& name, const std::vector<Message>& nodes) {
    Message f;
    f.bytes(1, name).bytes(4, "a").bytes(5, "b");
    for (const auto& n : nodes) f.message(7, n);
    return f.message(9, opset("", 17)).message(9, opset("local", 1)).bytes(10, "local");
  };
  GraphParts p = relu_parts();
  p.nodes = {node("F", {"x"}, {"y"}, {}, "call", "local")};
  expect_failure(model(p, 17, {function("F", {node("F", {"a"}, {"b"}, {}, "", "local")})}),
                 {"call", "recursive"});

  // Each function calls the next one ten times: 10^12 nodes in two kilobytes.
  std::vector<Message> functions;
  for (int level = 0; level < 12; ++level) {
    std::vector<Message> nodes;
    for (int k = 0; k < 10; ++k) {
      nodes.push_back(node(level == 11 ? "F" : "F" + std::to_string(level + 1),
                           {k == 0 ? "a" : "t" + std::to_string(k)},
                           {k == 9 ? "b" : "t" + std::to_string(k + 1)}, {}, "", "local"));
    }
    functions.push_back(function(level == 0 ? "F" : "F" + std::to_string(level), nodes));
  }
  functions.back() = function("F11", {node("Relu", {"a"}, {"b"})});
  const auto start = std::chrono::steady_clock::now();
  const std::string message = failure(model(p, 17, functions), {.max_nodes = 20'000});
  EXPECT_NE(message.find("more than 20000 nodes"), std::string::npos) << message;
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Hostile, LoopsThatFillMemory) {
  // Each step makes half a megabyte of constants out of nothing; a thousand loops of a thousand
  // steps.
  const Message body =
      graph({.nodes = {node("ConstantOfShape", {"n"}, {"e"}), node("Identity", {"c"}, {"go"})},
             .inputs = {value_info("i", kInt64, {}), value_info("c", kBool, {})},
             .outputs = {value_info("go", kBool, {}), value_info("e", kFloat, {})}});
  GraphParts p = relu_parts();
  p.initializers = {int_tensor("n", {65536}), tensor("m", kInt64, {}, raw<int64_t>({1000}))};
  for (int k = 0; k < 1000; ++k) {
    p.nodes.push_back(
        node("Loop", {"m", ""}, {"l" + std::to_string(k)}, {graph_attribute("body", body)}));
  }
  const std::string message = failure(model(p), {.max_made_bytes = 32 << 20});
  EXPECT_NE(message.find("need more than 33554432 bytes"), std::string::npos) << message;
}

TEST(Hostile, MessagesBeyondNumber) {
  std::string nodes;
  for (int i = 0; i < 9'000'000; ++i) nodes += std::string("\x0a\x00", 2);
  expect_failure(Message().number(1, 8).bytes(7, nodes).text(), {"messages", "refused"});
}

TEST(Hostile, WrongOpsets) {
  expect_failure(model(relu_parts(), 1), {"unsupported", "operator set 1", "version_converter"});
  expect_failure(model(relu_parts(), 1000), {"unsupported", "operator set 1000"});
}

TEST(Hostile, AllGapsAtOnce) {
  GraphParts p = relu_parts();
  p.nodes = {node("Magic", {"x"}, {"a"}, {}, "m1"), node("Magic", {"a"}, {"b"}, {}, "m2"),
             node("Fused", {"b"}, {"c"}, {}, "f", "com.vendor"),
             node("Relu", {"x"}, {"d"}, {int_attribute("turbo", 1)}, "r"),
             node("Add", {"c", "d"}, {"y"})};
  const std::string message = failure(model(p));
  for (const char* part : {"unsupported", "Magic (2x)", "m1, m2", "com.vendor.Fused (1x)",
                           "'turbo'", "4 of its nodes"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
  }
}

TEST(Hostile, GapsGoBeforeErrors) {
  GraphParts p = relu_parts();
  p.initializers = {tensor("w", kFloat, {3, 3}, raw(std::vector<float>(9)))};
  p.nodes = {node("Magic", {"x"}, {"a"}, {}, "m1"),
             node("Relu", {"x"}, {"d"}, {int_attribute("turbo", 1)}, "r"),
             node("MatMul", {"x", "w"}, {"b"}, {}, "misfit"), node("Trick", {"b"}, {"c"}, {}, "m2"),
             node("Call", {"c"}, {"y"}, {}, "call", "local")};
  Message f;
  f.bytes(1, "Call").bytes(4, "a").bytes(5, "b").message(7, node("Inner", {"a"}, {"b"}, {}, "m3"));
  f.message(9, opset("", 17)).bytes(10, "local");
  const std::string message = failure(model(p, 17, {f}));
  for (const char* part : {"unsupported", "4 of its nodes", "Magic (1x)", "m1", "Trick (1x)", "m2",
                           "Inner (1x)", "Call/m3", "'turbo'"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " is not in: " << message;
  }
  // Without them the error stands.
  p.nodes = {node("MatMul", {"x", "w"}, {"y"}, {}, "misfit")};
  EXPECT_EQ(failure(model(p)).find("unsupported"), std::string::npos);
  expect_failure(model(p), {"misfit"});
  // An input that no array can be.
  p = relu_parts();
  p.inputs.push_back(value_info("s", kString, {2}));
  p.nodes.push_back(node("Magic", {"x"}, {"z"}, {}, "m1"));
  expect_failure(model(p), {"unsupported", "input 's'", "STRING", "Magic (1x)"});
}

}  // namespace
}  // namespace burnish::test
