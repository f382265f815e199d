// Files are written whole or not at all; devices are written to, not replaced.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/text.h"

namespace burnish {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "burnish-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t count() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  fs::path folder_;
};

TEST_F(Files, WhatIsWrittenReadsBack) {
  const std::string bytes("a\0b\n", 4);
  write_file(folder_ / "f", bytes);
  EXPECT_EQ(read_file(folder_ / "f"), bytes);
  write_file(folder_ / "f", "shorter");
  EXPECT_EQ(read_file(folder_ / "f"), "shorter");
  EXPECT_EQ(count(), 1u) << "a temporary file is left";
}

TEST_F(Files, NothingIsLeftWhereWritingFails) {
  fs::create_directory(folder_ / "taken");
  EXPECT_THROW(write_file(folder_ / "taken", "x"), UserError);
  EXPECT_EQ(count(), 1u);
  EXPECT_THROW(write_file(folder_ / "missing" / "f", "x"), UserError);
}

TEST_F(Files, AFullDeviceIsAnErrorAndStaysADevice) {
  const fs::path full = "/dev/full";
  if (!fs::is_character_file(full)) GTEST_SKIP() << "there is no " << full;
  try {
    write_file(full, "x");
    FAIL() << "writing to " << full << " succeeded";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("No space left on device"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(fs::is_character_file(full));
}

TEST_F(Files, LimitsAreKept) {
  write_file(folder_ / "f", "12345");
  EXPECT_EQ(read_file(folder_ / "f", 5), "12345");
  EXPECT_THROW(read_file(folder_ / "f", 4), UserError);
  EXPECT_THROW(read_file(folder_), UserError);
  EXPECT_THROW(read_file(folder_ / "missing"), UserError);
}

}  // namespace
}  // namespace burnish
