// The flag beside GoogleTest's own: --update rewrites the expected texts of golden tests.
#include <gtest/gtest.h>

#include <cstdio>
#include <string_view>

#include "passes/oracle.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) != "--update") {
      std::fprintf(stderr, "there is no option '%s': --update rewrites tests/passes/golden\n", argv[i]);
      return 2;
    }
    burnish::test::update_golden = true;
  }
  return RUN_ALL_TESTS();
}
