// Libraries of the target cuda: launch tables, what stands in their metadata, NVRTC and its cache.
#include <burnish/artifact_format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "cuda/machines.h"
#include "target/cuda/cache.h"
#include "target/cuda/images.h"
#include "target/groups.h"
#include "target/metadata.h"
#include "target/target.h"

namespace burnish::cuda_test {
namespace {

using cuda_target::Argument;
using cuda_target::Cache;
using cuda_target::Compiled;
using cuda_target::Launches;
using cuda_target::Nvrtc;
using cuda_target::Precision;

#define NEEDS_NVRTC()                                                                              \
  if (!Nvrtc::available())                                                                         \
  GTEST_SKIP() << "NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12, or set "            \
                  "BURNISH_NVRTC"

std::shared_ptr<const std::vector<std::byte>> bytes_of(const std::vector<float>& v) {
  const auto b = std::as_bytes(std::span(v));
  return std::make_shared<const std::vector<std::byte>>(b.begin(), b.end());
}

// T = X * W; T = T + B, in place; O = T reversed twice, through memory that two kernels share. All
// functions have one name.
Program three_steps() {
  Program p;
  p.functions.push_back(
      parse_function(R"(func f(X: param f32[64], W: param f32[64], T: out f32[64]) {
    parallel for i in 0..4 { thread for j in 0..16 { T[16*i + j] = X[16*i + j] * W[16*i + j] } }
  })"));
  p.functions.push_back(
      parse_function(R"(func f(T: param f32[64], B: param f32[64], U: out f32[64]) {
    parallel for i in 0..64 { U[i] = T[i] + B[i] }
  })"));
  p.functions.push_back(parse_function(R"(func f(T: param f32[64], O: out f32[64]) {
    alloc S: shared f32[64] {
      parallel for i in 0..64 { S[i] = T[63 - i] }
      barrier
      parallel for i in 0..64 { O[i] = S[63 - i] + 1.0 }
    }
  })"));
  std::vector<float> w(64), b(64);
  for (size_t i = 0; i < 64; ++i) w[i] = static_cast<float>(i), b[i] = static_cast<float>(100 * i);
  p.tensors = {
      {.name = "X", .kind = TensorKind::Input, .shape = {64}, .size = 64},
      {.name = "W", .kind = TensorKind::Constant, .size = 64, .offset = 256, .data = bytes_of(w)},
      {.name = "T", .kind = TensorKind::Arena, .size = 128, .offset = 64},
      {.name = "B", .kind = TensorKind::Constant, .size = 64, .offset = 0, .data = bytes_of(b)},
      {.name = "U", .kind = TensorKind::Arena, .size = 64, .offset = 64 + 256},
      {.name = "O", .kind = TensorKind::Output, .shape = {64}, .size = 64}};
  p.inputs = {0};
  p.outputs = {5};
  p.arena_bytes = 64 + 128 * 4;
  p.steps.push_back({.function = 0, .args = {0, 1, 2}, .offsets = {0, 0, 256}});
  p.steps.push_back({.function = 1, .args = {2, 3, 4}, .offsets = {256, 0, 0}});
  p.steps.push_back({.function = 2, .args = {4, 5}});
  p.steps.push_back({.function = 1, .args = {4, 3, 5}});  // not in place
  p.steps.push_back({.function = 2, .args = {4, 5}});
  return p;
}

TEST(Launches, ArgumentsOfStepsAndOfWhatKernelsShare) {
  const Program p = three_steps();
  const Launches l = cuda_target::launches_of(p, Precision::Strict);
  std::set<std::string> names;
  for (const c_like::Kernel& k : l.kernels) names.insert(k.name);
  EXPECT_EQ(names.size(), l.kernels.size());
  ASSERT_EQ(l.kernels.size(), 5u);  // the second function with and without overlap
  ASSERT_EQ(l.launches.size(), 7u);
  const auto args = [&](size_t launch) { return l.launches[launch].args; };
  using cuda_target::in_arena, cuda_target::in_weights;
  EXPECT_EQ(args(0), (std::vector<Argument>{{0, 0}, {in_weights, 256}, {in_arena, 64 + 256}}));
  EXPECT_EQ(args(1),
            (std::vector<Argument>{{in_arena, 64 + 256}, {in_weights, 0}, {in_arena, 64 + 256}}));
  const int64_t shared = 768;  // the arena's 576 bytes, aligned
  EXPECT_EQ(args(2), (std::vector<Argument>{{in_arena, 64 + 256}, {in_arena, shared}}));
  EXPECT_EQ(args(3), (std::vector<Argument>{{1, 0}, {in_arena, shared}}));
  EXPECT_EQ(l.launches[5].kernel, l.launches[2].kernel);
  EXPECT_EQ(cuda_target::arena_bytes(p), shared + 256);
  EXPECT_EQ(l.kernels[l.launches[1].kernel].source.find("__restrict__"), std::string::npos);
  EXPECT_NE(l.kernels[l.launches[4].kernel].source.find("__restrict__"), std::string::npos);
}

TEST(Launches, RunAsTheProgramSays) {
  std::vector<float> x(64);
  for (size_t i = 0; i < 64; ++i) x[i] = static_cast<float>(i) / 8;
  for (const bool reversed : {false, true}) {
    const auto out = run_program(On::Emulation, three_steps(), Precision::Strict, {x.data()}, reversed);
    ASSERT_EQ(out.size(), 1u);
    for (size_t i = 0; i < 64; ++i) {
      float got;
      std::memcpy(&got, out[0].data() + 4 * i, 4);
      EXPECT_EQ(got, x[i] * static_cast<float>(i) + static_cast<float>(100 * i) + 1) << i;
    }
  }
}

TEST(Cuda, LibraryWithImagesBehindTheWeights) {
  NEEDS_NVRTC();
  const Program p = three_steps();
  const auto target = make_target("cuda:sm_80+sm_90", 1);
  const std::string library = target->build(p, metadata_of(p, *target));
  const artifact::Layout layout = artifact::read_layout(std::as_bytes(std::span(library)));
  ASSERT_EQ(layout.error, nullptr);
  const auto j =
      nlohmann::json::parse(library.substr(layout.metadata.offset, layout.metadata.size));
  const auto& device = j.at("device");
  EXPECT_EQ(device.at("kind"), "cuda");
  EXPECT_EQ(device.at("weights_bytes"), 512);
  EXPECT_EQ(j.at("arena_bytes"), 768 + 256 + 4 * c_like::kMostBlocksThatMeet / 2) << "counters: sm_80 has no clusters";
  ASSERT_EQ(device.at("kernels").size(), 5u);
  ASSERT_EQ(device.at("images").size(), 3 * 5u);  // two architectures, and PTX of the second
  int64_t end = 512;
  for (const auto& i : device.at("images")) {
    const int64_t offset = i.at("offset");
    EXPECT_EQ(offset % 64, 0);
    EXPECT_GE(offset, end);
    end = offset + i.at("bytes").get<int64_t>();
  }
  EXPECT_EQ(j.at("weights_bytes"), end);
  EXPECT_EQ(device.at("images").back().at("arch"), "sm_90");
  EXPECT_EQ(device.at("images").back().at("form"), "ptx");
  EXPECT_EQ(device.at("kernels")[0].at("threads"), 16);
  EXPECT_GT(device.at("kernels")[0].at("registers"), 0);
  EXPECT_EQ(device.at("launches")[0].at("blocks"), 4);
  EXPECT_EQ(device.at("launches")[6].at("step"), 4);
}

// Of several architectures kernels have what the least of them has.
TEST(Cuda, SchedulesFitAllArchitectures) {
  const StageGroup g = target_test::image_chain({.channels = 160, .height = 17, .width = 30, .filter = 1, .first_stride = 1, .expanded = 960, .by_planes = false, .project = false});
  const auto bytes = [&](const char* target) {
    int64_t most = 0;
    for (const c_like::Kernel& k : c_like::kernels_of(*lower(make_target(target, 1)->default_schedule(g)), cuda_target::dialect())) most = std::max(most, k.block_bytes);
    return most;
  };
  EXPECT_GT(bytes("cuda:sm_90"), 99 << 10);
  EXPECT_LE(bytes("cuda:sm_90+sm_120"), 99 << 10);
}

TEST(Cuda, FormsOfCode) {
  const Program p = three_steps();
  const auto target = make_target("cuda:sm_90", 1);
  EXPECT_NE(target->emit(p, EmitKind::Cuda).find("__global__"), std::string::npos);
  EXPECT_THROW(target->emit(p, EmitKind::Assembly), UserError);
  EXPECT_THROW(make_target("native", 1)->emit(p, EmitKind::Ptx), UserError);
  NEEDS_NVRTC();
  const std::string ptx = target->emit(p, EmitKind::Ptx);
  EXPECT_NE(ptx.find(".entry"), std::string::npos);
  EXPECT_EQ(ptx.find('\0'), std::string::npos);
}

TEST(NvrtcTest, RefusedSourcesAreNamedWithTheLog) {
  NEEDS_NVRTC();
  try {
    Nvrtc::instance().compile("broken",
                              "extern \"C\" __global__ void broken() { undefined_thing(); }",
                              {"--gpu-architecture=sm_90"});
    FAIL() << "compiled";
  } catch (const InternalError& e) {
    EXPECT_NE(std::string(e.what()).find("broken"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("undefined_thing"), std::string::npos) << e.what();
  }
}

// NVRTC is looked for once a process: a process of its own.
TEST(NvrtcDeathTest, AbsenceSaysHowToGetIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ::setenv("BURNISH_NVRTC", "/nowhere/libnvrtc.so", 1);
        try {
          Nvrtc::instance();
        } catch (const UserError& e) {
          const std::string text = e.what();
          std::exit(text.find("/nowhere") != text.npos && text.find("BURNISH_NVRTC") != text.npos &&
                            text.find("pip install") != text.npos
                        ? 7
                        : 1);
        }
        std::exit(2);
      },
      testing::ExitedWithCode(7), "");
}

class CacheTest : public testing::Test {
 protected:
  CacheTest() { ::setenv("BURNISH_CACHE", folder_.path.c_str(), 1); }
  ~CacheTest() override { ::unsetenv("BURNISH_CACHE"); }
  std::filesystem::path only_file() const {
    return std::filesystem::directory_iterator(folder_.path)->path();
  }
  TemporaryFolder folder_;
  const Compiled entry_{
      .cubin = std::string("cu\0bin", 6), .ptx = "ptx", .registers = 40, .spill_bytes = 8};
};

TEST_F(CacheTest, KeepsEntriesByContent) {
  const Cache cache;
  EXPECT_FALSE(cache.find("source"));
  cache.put("source", entry_);
  const auto found = Cache().find("source");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->cubin, entry_.cubin);
  EXPECT_EQ(found->ptx, entry_.ptx);
  EXPECT_EQ(found->registers, 40);
  EXPECT_EQ(found->spill_bytes, 8);
  EXPECT_FALSE(cache.find("source "));
}

TEST_F(CacheTest, DamagedEntriesAreIgnored) {
  const Cache cache;
  cache.put("source", entry_);
  const std::string whole = read_file(only_file());
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x20);
    write_file(only_file(), flipped);
    EXPECT_FALSE(cache.find("source")) << "byte " << i;
    write_file(only_file(), std::string_view(whole).substr(0, i));
    EXPECT_FALSE(cache.find("source")) << i << " bytes";
  }
}

TEST_F(CacheTest, CanBeOff) {
  ::setenv("BURNISH_CACHE", "off", 1);
  const Cache cache;
  cache.put("source", entry_);
  EXPECT_FALSE(cache.find("source"));
  EXPECT_FALSE(std::filesystem::exists("off"));
}

// Instructions of four warps are in the code for their capability alone, and not in PTX, which later ones compile.
TEST_F(CacheTest, KernelsOfWarpgroups) {
  NEEDS_NVRTC();
  const c_like::Dialect& d = cuda_target::dialect(Precision::Tf32);
  const c_like::Kernel kernel = {.name = "k",
                                 .source = "extern \"C\" __global__ void k(float* x) {\n"
                                           "  __shared__ __align__(1024) float memory[1024];\n  float c[4] = {};\n"
                                           "  memory[threadIdx.x] = x[threadIdx.x];\n  let_warpgroups_read();\n  __syncthreads();\n"
                                           "  const WarpgroupPlace place = warpgroup_place(memory);\n  begin_warpgroup_sums();\n"
                                           "  sum8(c[0], c[1], c[2], c[3], place, 1024, place, 1024);\n  end_warpgroup_sums();\n"
                                           "  wait_for_warpgroup_sums(c[0], c[1], c[2], c[3]);\n  x[threadIdx.x] = c[0] + c[1] + c[2] + c[3];\n}\n",
                                 .threads = 128,
                                 .helpers = {d.warpgroup_sum("sum8", 8, 128)}};
  const std::vector<std::string> archs = {"sm_90"};
  const cuda_target::Code code = cuda_target::compile_kernels(std::span(&kernel, 1), archs, Precision::Tf32);
  ASSERT_EQ(code.images.size(), 2u);
  EXPECT_EQ(code.images[0].arch, "sm_90");
  EXPECT_FALSE(code.images[0].bytes.empty());
  EXPECT_GT(code.registers[0], 8);
  EXPECT_EQ(code.images[1].form, "ptx");
  EXPECT_NE(code.images[1].bytes.find("mma.sync"), std::string::npos);
  EXPECT_EQ(code.images[1].bytes.find("wgmma"), std::string::npos);
  EXPECT_EQ(code.images[1].bytes.find("sm_90a"), std::string::npos);
}

TEST_F(CacheTest, ServesKernels) {
  NEEDS_NVRTC();
  const std::vector<c_like::Kernel> kernels = {
      {.name = "k",
       .source = "extern \"C\" __global__ void k(float* x) { x[threadIdx.x] = 1.0f; }\n"}};
  const std::vector<std::string> archs = {"sm_90"};
  const auto first = cuda_target::compile_kernels(kernels, archs, Precision::Strict);
  ASSERT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path), {}), 1);
  const auto written = std::filesystem::last_write_time(only_file());
  const auto again = cuda_target::compile_kernels(kernels, archs, Precision::Strict);
  EXPECT_EQ(std::filesystem::last_write_time(only_file()), written);
  EXPECT_EQ(first.images[0].bytes, again.images[0].bytes);
  EXPECT_EQ(first.registers, again.registers);
  cuda_target::compile_kernels(kernels, archs, Precision::Tf32);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path), {}), 2);
}

}  // namespace
}  // namespace burnish::cuda_test
