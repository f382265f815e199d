// Tensors in and out, what is refused, profiles, and that runs allocate nothing.
#include "support.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

#if defined(__SANITIZE_ADDRESS__)
// Of sanitizer/allocator_interface.h, which not every package of the compiler has.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*,
                                                                  std::size_t),
                                                         void (*)(const volatile void*));
#endif

namespace {
std::atomic<long> allocations{0};
}

#if !defined(__SANITIZE_ADDRESS__)
// Counts every allocation of the process, the runtime's and its threads' too.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* old, std::size_t size) {
  ++allocations;
  return __libc_realloc(old, size);
}
}
#endif

namespace burnish::test {
namespace {

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  return static_cast<std::size_t>(
      std::count(std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>(), '\n'));
}

TEST(Session, RunsAllocateNothingAfterTheFirst) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, std::size_t) { ++allocations; }, [](const volatile void*) {});
#endif
  const ModelHandle model = load(rounds());
  const SessionHandle session = new_session(model, 3);
  std::uint64_t step_ns[2];
  ASSERT_EQ(burnish_session_run(session.get()), BURNISH_OK);
  const std::size_t mapped = mappings();
  const long before = allocations;
  for (int i = 0; i < 20; ++i) {
    burnish_session_run(session.get());
    burnish_session_profile(session.get(), step_ns, 2, nullptr);
  }
  EXPECT_EQ(allocations - before, 0);
  EXPECT_EQ(mappings(), mapped);
  const auto witness = std::make_unique<int>(1);  // the counter counts
  EXPECT_GT(allocations - before, 0) << *witness;
}

struct Affine : testing::Test {
  ModelHandle model = load(affine());
  SessionHandle session = new_session(model, 1);

  static burnish_tensor f32(void* data, std::uint64_t bytes) {
    return {.data = data, .bytes = bytes, .dtype = BURNISH_F32, .rank = 0, .shape = nullptr};
  }
  std::string set(const char* name, const burnish_tensor& tensor) {
    if (burnish_session_set_input(session.get(), name, &tensor) == BURNISH_OK) return "";
    return burnish_last_error();
  }
};

TEST_F(Affine, WrongTensorsAreRefusedWithWhatWasExpected) {
  alignas(64) float x[8]{};
  const std::string expected = "input \"x\" is f32 of shape 2x3 (24 bytes), but ";
  EXPECT_EQ(set("X", f32(x, 24)), "there is no input \"X\"; the model's inputs are \"x\", \"k\"");
  EXPECT_EQ(set("y", f32(x, 24)), "there is no input \"y\"; the model's inputs are \"x\", \"k\"");
  EXPECT_EQ(set(nullptr, f32(x, 24)),
            "there is no input \"(null)\"; the model's inputs are \"x\", \"k\"");
  EXPECT_EQ(set("x", f32(x, 20)), expected + "20 bytes was given");
  EXPECT_EQ(set("x", f32(nullptr, 24)), expected + "a null pointer was given");
  EXPECT_EQ(set("x", f32(reinterpret_cast<char*>(x) + 1, 24)),
            expected + "memory that is not aligned to its elements was given");
  burnish_tensor t = f32(x, 24);
  t.dtype = BURNISH_I32;
  EXPECT_EQ(set("x", t), expected + "i32 was given");
  t.dtype = static_cast<burnish_dtype>(99);
  EXPECT_EQ(set("x", t), expected + "the unknown dtype number 99 was given");
  const std::int64_t transposed[] = {3, 2}, right[] = {2, 3};
  t = f32(x, 24);
  t.rank = 2;
  t.shape = transposed;
  EXPECT_EQ(set("x", t), expected + "f32 of shape 3x2 was given");
  t.shape = right;
  EXPECT_EQ(set("x", t), "");
  EXPECT_EQ(burnish_session_bind_output(session.get(), "x", &t), BURNISH_ERROR_USER);
  EXPECT_STREQ(burnish_last_error(), "there is no output \"x\"; the model's outputs are \"y\"");
}

TEST_F(Affine, OwnBuffersAreAlignedAndStartAtZero) {
  for (const char* name : {"x", "k"}) {
    burnish_tensor t{};
    ASSERT_EQ(burnish_session_get_input(session.get(), name, &t), BURNISH_OK);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(t.data) % 64, 0u);
    for (std::uint64_t i = 0; i < t.bytes; ++i) EXPECT_EQ(static_cast<char*>(t.data)[i], 0);
  }
  ASSERT_EQ(burnish_session_run(session.get()), BURNISH_OK);
  burnish_tensor y{};
  ASSERT_EQ(burnish_session_get_output(session.get(), "y", &y), BURNISH_OK);
  EXPECT_EQ(y.rank, 2u);
  EXPECT_EQ(y.shape[1], 3);
  EXPECT_EQ(static_cast<float*>(y.data)[5], 0);
}

TEST_F(Affine, BoundMemoryIsUsedUntilItIsUnbound) {
  float x[] = {1, 1, 1, 1, 1, 1}, y[6]{};
  burnish_tensor t = f32(x, 24);
  ASSERT_EQ(burnish_session_bind_input(session.get(), "x", &t), BURNISH_OK);
  t.data = y;
  ASSERT_EQ(burnish_session_bind_output(session.get(), "y", &t), BURNISH_OK);
  ASSERT_EQ(burnish_session_run(session.get()), BURNISH_OK);
  EXPECT_EQ(y[5], 6);
  x[5] = 2;
  ASSERT_EQ(burnish_session_run(session.get()), BURNISH_OK);
  EXPECT_EQ(y[5], 12);
  ASSERT_EQ(burnish_session_get_output(session.get(), "y", &t), BURNISH_OK);
  EXPECT_EQ(t.data, y);
  ASSERT_EQ(burnish_session_bind_output(session.get(), "y", nullptr), BURNISH_OK);
  y[5] = 0;
  ASSERT_EQ(burnish_session_run(session.get()), BURNISH_OK);
  EXPECT_EQ(y[5], 0);
  ASSERT_EQ(burnish_session_get_output(session.get(), "y", &t), BURNISH_OK);
  EXPECT_EQ(static_cast<float*>(t.data)[5], 12);
}

TEST_F(Affine, InfoIsTheMetadata) {
  burnish_model_info info{};
  info.struct_size = sizeof info;
  ASSERT_EQ(burnish_model_get_info(model.get(), &info), BURNISH_OK);
  EXPECT_EQ(info.metadata, affine_metadata());
  EXPECT_STREQ(info.compiler, "burnish 0.1.0");
  EXPECT_EQ(info.inputs, 2u);
  EXPECT_EQ(info.outputs, 1u);
  EXPECT_EQ(info.steps, 1u);
  EXPECT_EQ(info.weights_bytes, 24u);
  EXPECT_EQ(info.macs, 6u);
  burnish_step_info step{};
  ASSERT_EQ(burnish_model_get_step(model.get(), 0, &step), BURNISH_OK);
  EXPECT_STREQ(step.name, "affine");
  ASSERT_EQ(step.source_count, 2u);
  EXPECT_STREQ(step.sources[1], "add");
  EXPECT_STREQ(step.schedule, "split i");
  EXPECT_EQ(step.bytes, 80u);
  burnish_tensor_info tensor{};
  ASSERT_EQ(burnish_model_get_input(model.get(), 1, &tensor), BURNISH_OK);
  EXPECT_STREQ(tensor.name, "k");
  EXPECT_EQ(tensor.rank, 0u);
  EXPECT_EQ(tensor.bytes, 8u);
  EXPECT_EQ(burnish_model_get_input(model.get(), 2, &tensor), BURNISH_ERROR_USER);
  EXPECT_STREQ(burnish_last_error(), "there is no input number 2; the model has 2");
}

TEST_F(Affine, OptionsOfOtherVersions) {
  burnish_session* out = nullptr;
  burnish_session_options options{};
  EXPECT_EQ(burnish_session_create(model.get(), &options, &out), BURNISH_ERROR_USER);
  EXPECT_STREQ(
      burnish_last_error(),
      "burnish_session_options.struct_size is 0; set it to sizeof(burnish_session_options)");
  struct {
    burnish_session_options known;
    std::uint64_t later;
  } longer{};
  longer.known.struct_size = sizeof longer;
  longer.known.threads = 1;
  ASSERT_EQ(burnish_session_create(model.get(), &longer.known, &out), BURNISH_OK);
  burnish_session_release(out);
  longer.later = 1;
  EXPECT_EQ(burnish_session_create(model.get(), &longer.known, &out), BURNISH_ERROR_UNSUPPORTED);
}

TEST_F(Affine, NullsAreRefused) {
  EXPECT_EQ(burnish_model_load(nullptr, nullptr, nullptr), BURNISH_ERROR_USER);
  EXPECT_EQ(burnish_session_run(nullptr), BURNISH_ERROR_USER);
  EXPECT_STREQ(burnish_last_error(), "the argument \"session\" is null");
  EXPECT_EQ(burnish_session_set_input(session.get(), "x", nullptr), BURNISH_ERROR_USER);
  EXPECT_EQ(burnish_session_create(nullptr, nullptr, nullptr), BURNISH_ERROR_USER);
  burnish_model_release(nullptr);
  burnish_session_release(nullptr);
  burnish_pool_release(nullptr);
}

TEST_F(Affine, SessionKeepsTheModel) {
  model.reset();
  EXPECT_EQ(burnish_session_run(session.get()), BURNISH_OK);
}

TEST(Session, ErrorsBelongToTheirThread) {
  burnish_session_run(nullptr);
  std::string other;
  std::thread([&other] { other = burnish_last_error(); }).join();
  EXPECT_EQ(other, "");
  EXPECT_STRNE(burnish_last_error(), "");
}

TEST(Session, ModelFaultIsReportedAndTheNextRunIsFine) {
  const ModelHandle model = load(rounds());
  for (const std::uint32_t threads : {1u, 2u, 4u}) {
    const SessionHandle session = new_session(model, threads);
    burnish_tensor x{};
    ASSERT_EQ(burnish_session_get_input(session.get(), "x", &x), BURNISH_OK);
    static_cast<std::uint32_t*>(x.data)[0] = 13;
    ASSERT_EQ(burnish_session_run(session.get()), BURNISH_ERROR_FAULT);
    EXPECT_NE(std::string(burnish_last_error()).find("fault 7 on thread"), std::string::npos);
    EXPECT_TRUE(run_rounds(session.get(), 5));
  }
}

TEST(Session, ProfileCoversTheRun) {
  const ModelHandle model = load(rounds());
  const SessionHandle session = new_session(model, 2);
  std::uint64_t step_ns[2] = {77, 77}, total = 0;
  ASSERT_EQ(burnish_session_profile(session.get(), step_ns, 2, &total), BURNISH_OK);
  EXPECT_GT(step_ns[1], 0u);
  EXPECT_LE(step_ns[0] + step_ns[1], total);
  EXPECT_EQ(burnish_session_profile(session.get(), step_ns, 1, &total), BURNISH_ERROR_USER);
  EXPECT_STREQ(burnish_last_error(), "step_ns has 1 elements, the model 2 steps");
}

TEST(Session, TooManyThreads) {
  const ModelHandle model = load(affine());
  const burnish_session_options many = {
      .struct_size = sizeof many, .threads = 5000, .spin_us = 0, .pin = 0, .pool = nullptr};
  burnish_session* out = nullptr;
  EXPECT_EQ(burnish_session_create(model.get(), &many, &out), BURNISH_ERROR_USER);
  EXPECT_STREQ(burnish_last_error(), "5000 threads are asked for; the most is 1024");
  const PoolHandle pool = new_pool(2);
  const burnish_session_options more = {
      .struct_size = sizeof more, .threads = 3, .spin_us = 0, .pin = 0, .pool = pool.get()};
  EXPECT_EQ(burnish_session_create(model.get(), &more, &out), BURNISH_ERROR_USER);
  EXPECT_STREQ(burnish_last_error(), "3 threads are asked for, the pool has 2");
}

TEST(Session, MemoryThatTheSystemDoesNotGive) {
  const ModelHandle model =
      load(with_metadata(affine(), replaced(affine_metadata(), "\"arena_bytes\":0",
                                            "\"arena_bytes\":70368744177664")));
  burnish_session* out = nullptr;
  EXPECT_EQ(burnish_session_create(model.get(), nullptr, &out), BURNISH_ERROR_MEMORY);
  EXPECT_STREQ(burnish_last_error(),
               "the system does not give 70368744.2 MB of memory for the arena of a session");
}

}  // namespace
}  // namespace burnish::test
