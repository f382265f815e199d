// The code of register tiles, as text: the steady loop of each holds its multiply-adds, and nothing
// that touches the stack.
#include <regex>

#include "base/text.h"
#include "groups.h"
#include "support.h"
#include "target/llvm/space.h"

namespace burnish::target_test {
namespace {

struct Loop {
  int fmas = 0, stack = 0, instructions = 0;
};

// Loops without a label inside: blocks between labels that jump to their own start.
std::vector<Loop> innermost_loops(const std::string& assembly) {
  const std::regex label(R"(^(\.LBB\d+_\d+):)");
  std::vector<Loop> found;
  std::string name;
  Loop loop;
  for (const std::string& line : split_text(assembly, '\n')) {
    std::smatch m;
    if (std::regex_search(line, m, label)) {
      name = m[1];
      loop = {};
      continue;
    }
    if (line.size() < 2 || line[0] != '\t' || line[1] == '.' || line[1] == '#') continue;
    ++loop.instructions;
    loop.fmas += line.find("vfmadd") != line.npos;
    loop.stack += line.find("(%rsp") != line.npos;  // %rbp is a register like others
    if (!name.empty() && line[1] == 'j' && line[2] != 'm' && line.ends_with(name))
      found.push_back(loop);
  }
  return found;
}

std::string assembly_of(const Function& f, const char* cpu) {
  return make_target(fmt::format("llvm:cpu={}", cpu), 1)->emit(program_of(f), EmitKind::Assembly);
}

TEST(Tiles, OfMatrixProductsStayInRegisters) {
  struct Tile {
    int rows, vectors;
    const char* cpu;
    int lanes;
  };
  for (Tile t : {Tile{8, 3, "znver4", 16},
                 {9, 3, "znver4", 16},
                 {14, 1, "znver4", 16},
                 {12, 2, "znver4", 16},
                 {13, 2, "znver4", 16},
                 {14, 2, "znver4", 16},
                 {6, 4, "znver4", 16},
                 {4, 6, "znver4", 16},
                 {8, 3, "znver4", 8},
                 {9, 3, "znver4", 8},
                 {5, 5, "znver4", 8},
                 {6, 2, "x86-64-v3", 8},
                 {4, 3, "x86-64-v3", 8}}) {
    int n = t.vectors * t.lanes;
    Function f = parse_function(
        fmt::format(R"(func tile(A: param f32[{0}], B: param f32[{1}], C: out f32[{2}]) {{
      for x in 0..10 {{
        alloc acc: register f32[{2}] {{
          unroll for m in 0..{3} {{ unroll for v in 0..{4} {{ vectorize for l in 0..{5} {{ acc[{6}*m + {5}*v + l] = 0.0 }} }} }}
          for k in 0..64 {{
            unroll for m in 0..{3} {{ unroll for v in 0..{4} {{ vectorize for l in 0..{5} {{
              acc[{6}*m + {5}*v + l] = acc[{6}*m + {5}*v + l] + A[64*m + k + 4096*x] * B[{6}*k + {5}*v + l]
            }} }} }}
          }}
          unroll for m in 0..{3} {{ unroll for v in 0..{4} {{ vectorize for l in 0..{5} {{
            C[{6}*m + {5}*v + l] = max(acc[{6}*m + {5}*v + l], 0.0)
          }} }} }}
        }}
      }}
    }})",
                    4096 * 10, 64 * n, t.rows * n, t.rows, t.vectors, t.lanes, n));
    SCOPED_TRACE(testing::Message()
                 << t.rows << "x" << t.vectors << " of " << t.lanes << " lanes for " << t.cpu);
    const std::string text = assembly_of(f, t.cpu);
    int found = 0;
    for (const Loop& loop : innermost_loops(text)) {
      if (loop.fmas < t.rows * t.vectors) continue;
      ++found;
      EXPECT_EQ(loop.fmas, t.rows * t.vectors);
      EXPECT_EQ(loop.stack, 0) << text;
      EXPECT_LE(loop.instructions, t.rows * t.vectors + t.rows + t.vectors + 6) << text;
    }
    EXPECT_EQ(found, 1) << text;
  }
}

// Convolutions whose last vector of channels is a half.
TEST(Tiles, WithNarrowTailsStayInRegisters) {
  for (int channels : {24, 40, 72, 120}) {
    GroupBuilder b("conv");
    b.output(conv(b, "conv", image(b, 32, 28, 28), {28, 28, 32, channels, 1, 1}));
    SCOPED_TRACE(channels);
    const auto target = make_target("llvm:cpu=znver4", 1);
    const std::string text =
        assembly_of(lower(target->default_schedule(b.group())).expect("lowers"), "znver4");
    int found = 0;
    for (const Loop& loop : innermost_loops(text)) {
      if (loop.fmas < 8) continue;
      ++found;
      EXPECT_EQ(loop.stack, 0) << text;
    }
    EXPECT_GT(found, 0) << text;
  }
}

TEST(Tiles, OfDepthwiseConvolutionsStayInRegisters) {
  for (int kernel : {3, 5}) {
    for (int stride : {1, 2}) {
      GroupBuilder b("conv");
      b.output(conv(b, "conv", image(b, 96, 56, 56), {56, 56, 96, 96, kernel, stride, true}));
      SCOPED_TRACE(testing::Message() << kernel << "x" << kernel << " by " << stride);
      const auto target = make_target("llvm:cpu=znver4", 1);
      const std::string text =
          assembly_of(lower(target->default_schedule(b.group())).expect("lowers"), "znver4");
      int found = 0;
      for (const Loop& loop : innermost_loops(text)) {
        if (loop.fmas < kernel * kernel) continue;
        ++found;
        EXPECT_EQ(loop.stack, 0) << text;
      }
      EXPECT_GT(found, 0) << text;
    }
  }
}

}  // namespace
}  // namespace burnish::target_test
