#include "base/text.h"

#include <gtest/gtest.h>

namespace burnish {
namespace {

TEST(Text, TrimTakesBlanksAndLineEndsOff) {
  EXPECT_EQ(trim("  a b\t"), "a b");
  EXPECT_EQ(trim("1024K\n"), "1024K");  // as files of /sys end
  EXPECT_EQ(trim("\r\n x\r\n"), "x");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_EQ(trim(""), "");
}

}  // namespace
}  // namespace burnish
