// Whole libraries: what they import, steps and weights in order, memory.
#include <burnish/artifact_format.h>

#include <chrono>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "support.h"

namespace burnish::target_test {
namespace {

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  char buffer[4096];
  while (size_t n = fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, n);
  EXPECT_EQ(pclose(pipe), 0) << out;
  return out;
}

std::shared_ptr<const std::vector<std::byte>> bytes_of(const std::vector<float>& v) {
  auto b = std::as_bytes(std::span(v));
  return std::make_shared<const std::vector<std::byte>>(b.begin(), b.end());
}

// scale: T = X * W; sum: O = T + B, T in the arena; with shared memory in the second.
Program two_steps() {
  Program p;
  p.functions.push_back(parse_function(R"(func scale(X: param f32[64], W: param f32[64], T: out f32[64]) {
    parallel for i in 0..4 { vectorize for j in 0..16 { T[16*i + j] = X[16*i + j] * W[16*i + j] } }
  })"));
  p.functions.push_back(parse_function(R"(func sum(T: param f32[64], B: param f32[32], O: out f32[64]) {
    alloc S: shared f32[64] {
      parallel for i in 0..64 { S[i] = T[63 - i] }
      barrier
      parallel for i in 0..64 { O[i] = S[63 - i] + B[{i / 2}] }
    }
  })"));
  std::vector<float> w(64), b(32);
  for (int i = 0; i < 64; ++i) w[size_t(i)] = float(i);
  for (int i = 0; i < 32; ++i) b[size_t(i)] = float(100 * i);
  p.tensors = {{.name = "X", .kind = TensorKind::Input, .shape = {64}, .size = 64},
               {.name = "W", .kind = TensorKind::Constant, .size = 64, .offset = 128, .data = bytes_of(w)},
               {.name = "T", .kind = TensorKind::Arena, .size = 128, .offset = 64},
               {.name = "B", .kind = TensorKind::Constant, .size = 32, .offset = 0, .data = bytes_of(b)},
               {.name = "O", .kind = TensorKind::Output, .shape = {64}, .size = 64}};
  p.inputs = {0};
  p.outputs = {4};
  p.arena_bytes = 64 + 128 * 4;
  p.steps.push_back({.function = 0, .args = {0, 1, 2}, .offsets = {0, 0, 256}});
  p.steps.push_back({.function = 1, .args = {2, 3, 4}, .offsets = {256, 0, 0}});
  return p;
}

TEST(Library, RunsStepsOnThreadsAndReportsThem) {
  Program p = two_steps();
  auto t = make_target("native", 2);
  Library library(t->build(p, "{}"));
  EXPECT_EQ(library.entry().abi, uint32_t(BURNISH_ABI_VERSION));
  EXPECT_EQ(library.entry().steps, 2u);
  EXPECT_EQ(library.entry().weights_bytes, 128u + 256u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(library.entry().weights) % 64, 0u);
  EXPECT_EQ(t->memory(p).arena_bytes, 576 + 256);
  for (unsigned threads : {1u, 2u, 3u, 7u}) {
    std::vector<float> x(64), o(64);
    for (int i = 0; i < 64; ++i) x[size_t(i)] = float(i) / 8;
    std::vector<uint32_t> marks;
    ASSERT_EQ(library.run(p, *t, {x.data(), o.data()}, threads, &marks), 0);
    EXPECT_EQ(marks, (std::vector<uint32_t>{0, 1}));
    for (int i = 0; i < 64; ++i) EXPECT_EQ(o[size_t(i)], float(i) / 8 * float(i) + float(100 * (i / 2))) << i;
  }
}

TEST(Library, ImportsNothingAndCarriesItsNotes) {
  Function f = parse_function(R"(func all(X: param f32[40], H: param f16[40], D: param f64[40], O: out f32[400], P: out f16[40], Q: out f64[120], Z: out i64[40]) {
    alloc big: stack f32[4000] {
      for i in 0..4000 { big[i] = 0.0 }
      vectorize for i in 0..40 {
        O[i] = exp(X[i]) + tanh(X[i]) + erf(X[i]) + log(X[i]) + big[i]
        O[40 + i] = floor(X[i]) + ceil(X[i]) + round(X[i]) + trunc(X[i])
        O[80 + i] = pow(X[i], X[i]) + mod(X[i], 3.0) + sin(X[i]) + acosh(X[i])
        O[120 + i] = f32(H[i])
        P[i] = f16(X[i])
        Q[i] = pow(D[i], D[i]) + erf(D[i])
        Q[40 + i] = floor(D[i]) + mod(D[i], D[i])
        Z[i] = i64(D[i]) / i64(X[i])
      }
    }
  })");
  for (const char* cpu : {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "znver4", "skylake", "native"}) {
    auto t = make_target(fmt::format("llvm:cpu={}", cpu), 1);
    std::string bytes = t->build(program_of(f), R"({"hello": 1})");
    auto layout = artifact::read_layout(std::as_bytes(std::span(bytes)));
    ASSERT_EQ(layout.error, nullptr) << cpu;
    EXPECT_EQ(bytes.substr(layout.metadata.offset, layout.metadata.size), R"({"hello": 1})");
    uint64_t sum;
    std::memcpy(&sum, bytes.data() + layout.checksum.offset, 8);
    EXPECT_EQ(sum, artifact::checksum_of(std::as_bytes(std::span(bytes)), layout)) << cpu;
    Library library(bytes);
    EXPECT_EQ(output_of("nm -D --undefined-only " + library.path()), "") << cpu;
    std::string exported = output_of("nm -D --defined-only " + library.path());
    EXPECT_NE(exported.find("burnish_model_entry"), std::string::npos);
    EXPECT_EQ(std::count(exported.begin(), exported.end(), '\n'), 1) << exported;
  }
}

TEST(Library, BuildsForOtherMachines) {
  for (const char* target : {"llvm:cpu=cortex-a76,triple=aarch64-unknown-linux-gnu", "llvm:cpu=apple-m1,triple=aarch64-unknown-linux-gnu",
                             "llvm:cpu=generic,triple=aarch64-unknown-linux-gnu"}) {
    std::string bytes = make_target(target, 2)->build(two_steps(), "{}");  // fails to link where something is imported
    auto layout = artifact::read_layout(std::as_bytes(std::span(bytes)));
    ASSERT_EQ(layout.error, nullptr) << target;
    EXPECT_EQ(layout.header.machine, 183) << target;
  }
}

TEST(Library, RefusesToExpandWithoutBound) {
  Function f = parse_function(R"(func f(O: out f32[1000000]) { unroll for i in 0..1000000 { O[i] = 1.0 } })");
  EXPECT_THROW(make_target("native", 1)->build(program_of(f), "{}"), InternalError);
}

TEST(Library, LargeWeightsCostLittleTime) {
  Program p = two_steps();
  auto data = std::make_shared<std::vector<std::byte>>(size_t{100} << 20, std::byte{7});
  p.tensors.push_back({.name = "big", .kind = TensorKind::Constant, .size = 25 << 20, .offset = 4096, .data = data});
  auto t = make_target("native", 2);
  auto from = std::chrono::steady_clock::now();
  std::string bytes = t->build(p, "{}");
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  EXPECT_GT(bytes.size(), size_t{100} << 20);
  EXPECT_LT(bytes.size(), size_t{110} << 20);
  EXPECT_LT(seconds, 10);  // about one second on an idle machine
  std::printf("100 MB of weights: %.2f s\n", seconds);
}

TEST(Target, ParsesItsOwnText) {
  for (const char* text : {"native", "llvm", "llvm:cpu=x86-64-v3,threads=2", "llvm:cpu=znver4,-avx512vp2intersect",
                           "llvm:cpu=cortex-a76,triple=aarch64-unknown-linux-gnu", "cuda", "cuda:sm_90", "cuda:sm_90a,precision=tf32",
                           "cuda:precision=fp16,sm_90+sm_80", "cuda:sm_80+sm_90,precision=bf16"}) {
    auto t = make_target(text, 3);
    auto again = make_target(t->text(), 9);
    EXPECT_EQ(t->text(), again->text());
    EXPECT_EQ(t->machine().threads, again->machine().threads);
    EXPECT_EQ(t->required_features(), again->required_features());
  }
  EXPECT_EQ(make_target("llvm:cpu=x86-64-v3,threads=2", 1)->machine().threads, 2);
  EXPECT_EQ(make_target("llvm:cpu=x86-64-v3", 1)->machine().vector_bytes, 32);
  EXPECT_EQ(make_target("llvm:cpu=x86-64-v4", 1)->machine().vector_bytes, 64);
}

TEST(Target, RefusesWhatItDoesNotKnow) {
  for (const char* text : {"cuda:7", "llvm:cpu=i9000", "llvm:threads=0", "llvm:threads=x", "llvm:colour=red", "llvm:cpu",
                           "native:precision=tf32", "cuda:sm_60", "cuda:sm_90b", "cuda:sm_", "cuda:precision=f8", "cuda:sm_80,sm_90", "cuda:sm_75+sm_90,precision=bf16"}) {
    EXPECT_THROW(make_target(text, 1), UserError) << text;
  }
}

}  // namespace
}  // namespace burnish::target_test
