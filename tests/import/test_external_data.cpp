// Weights in files beside the model, and ways to make an importer read other files.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "evaluate_graph.h"
#include "import/import.h"
#include "model_writer.h"

namespace burnish::test {
namespace {

namespace fs = std::filesystem;

class ExternalData : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "burnish-external-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    base_ = name;
    fs::create_directories(base_ / "model" / "sub");
    write_file(base_ / "secret.bin", raw<float>({9, 9}));
    write_file(base_ / "model" / "w.bin", raw<float>({7, 1, 2}));
    write_file(base_ / "model" / "sub" / "w.bin", raw<float>({3, 4}));
  }
  void TearDown() override { fs::remove_all(base_); }

  std::string with(const std::string& location,
                   const std::vector<std::pair<std::string, std::string>>& more = {}) {
    return model({.nodes = {node("Add", {"x", "w"}, {"y"})},
                  .initializers = {external_tensor("w", {2}, location, more)},
                  .inputs = {value_info("x", kFloat, {2})},
                  .outputs = {value_info("y", kFloat, {2})}});
  }
  std::string failure(const std::string& bytes) {
    try {
      import_model(bytes, "m.onnx", base_ / "model");
    } catch (const UserError& e) {
      return e.what();
    }
    return "";
  }
  void expect_failure(const std::string& bytes, const std::string& part) {
    const std::string message = failure(bytes);
    EXPECT_NE(message.find(part), std::string::npos) << "'" << part << "' is not in: " << message;
    EXPECT_NE(message.find("tensor 'w'"), std::string::npos) << message;
  }
  std::vector<float> read(const std::string& bytes) {
    const Graph g = import_model(bytes, "m.onnx", base_ / "model");
    const TensorPtr y = evaluate_graph(g, {floats({2}, {0, 0})}).at(0);
    return {y->data<float>(), y->data<float>() + 2};
  }

  fs::path base_;
};

TEST_F(ExternalData, RangesAndFolders) {
  EXPECT_EQ(read(with("w.bin", {{"offset", "4"}, {"length", "8"}})), (std::vector<float>{1, 2}));
  EXPECT_EQ(read(with("w.bin", {{"offset", "4"}})), (std::vector<float>{1, 2}));
  EXPECT_EQ(read(with("sub/w.bin")), (std::vector<float>{3, 4}));
  EXPECT_EQ(read(with("./sub//w.bin")), (std::vector<float>{3, 4}));
}

TEST_F(ExternalData, PathsThatLeaveTheFolder) {
  expect_failure(with("../secret.bin"), "leaves the model's folder");
  expect_failure(with("sub/../../secret.bin"), "leaves the model's folder");
  expect_failure(with((base_ / "secret.bin").string()), "relative path");
  expect_failure(with("..\\secret.bin"), "relative path");
  expect_failure(with(""), "file name");
  expect_failure(with("."), "names no file");
  expect_failure(with(std::string("w.bin\0x", 7)), "zero byte");
}

TEST_F(ExternalData, SymbolicLinks) {
  fs::create_symlink(base_ / "secret.bin", base_ / "model" / "link.bin");
  fs::create_symlink(base_, base_ / "model" / "up");
  fs::create_symlink("w.bin", base_ / "model" / "inside.bin");
  expect_failure(with("link.bin"), "symbolic link 'link.bin'");
  expect_failure(with("up/secret.bin"), "symbolic link 'up'");
  expect_failure(with("inside.bin"), "symbolic link");
}

TEST_F(ExternalData, RangesThatDoNotExist) {
  expect_failure(with("w.bin", {{"offset", "100"}}), "offset 100");
  expect_failure(with("w.bin", {{"offset", "18446744073709551615"}}), "offset");
  expect_failure(with("w.bin", {{"offset", "8"}, {"length", "8"}}), "are asked for");
  expect_failure(with("w.bin", {{"length", "18446744073709551615"}}), "are asked for");
  expect_failure(with("w.bin"), "gives 12 bytes, but the tensor needs 8");
  EXPECT_NE(failure(with("w.bin", {{"offset", "-4"}})), "");
  EXPECT_NE(failure(with("w.bin", {{"offset", "4x"}})), "");
  EXPECT_NE(failure(with("w.bin", {{"offset", "99999999999999999999"}})), "");
}

TEST_F(ExternalData, ThingsThatAreNoFiles) {
  expect_failure(with("nothing.bin"), "cannot open");
  expect_failure(with("sub"), "not a regular file");
  ASSERT_EQ(::mkfifo((base_ / "model" / "pipe").c_str(), 0600), 0);
  expect_failure(with("pipe"), "not a regular file");
}

TEST_F(ExternalData, AModelInMemoryHasNone) {
  EXPECT_THROW(import_model(with("w.bin"), "m.onnx", {}), UserError);
}

}  // namespace
}  // namespace burnish::test
