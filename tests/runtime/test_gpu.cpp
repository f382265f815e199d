// Models for GPUs on the fake driver: loading, runs, bindings, streams, profiles, errors.
#include "support.h"

#include "fake_cuda/control.h"
#include "fake_cuda/fake.h"

#include <burnish/burnish.hpp>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>

namespace burnish::test {
namespace {

// Before the first test asks for the driver.
const int fake_driver = (use_fake_driver(), 0);

constexpr std::size_t count = 64;
constexpr std::uint64_t image_at = 512;

// y = (x * w, reversed) + b + `extra`, with a barrier in the first kernel.
std::string kernels(int extra) {
  return R"(
extern "C" __global__ void scale(const float* x, const float* w, float* t) {
  float* shared = (float*)memory;
  const int i = 16 * blockIdx.x + threadIdx.x;
  shared[threadIdx.x] = x[i] * w[i];
  __syncthreads();
  t[63 - (16 * blockIdx.x + 15 - threadIdx.x)] = shared[15 - threadIdx.x];
}
FAKE_KERNEL(scale)
extern "C" __global__ void add(const float* t, const float* b, float* y) {
  const int i = 32 * blockIdx.x + threadIdx.x;
  y[i] = t[i] + b[i] + )" +
         std::to_string(extra) + R"(;
}
FAKE_KERNEL(add)
)";
}

float weight(std::size_t i) { return static_cast<float>(i % 5) - 2; }
float offset(std::size_t i) { return static_cast<float>(i) / 4; }

std::vector<float> input(int seed) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<float>((i * 37 + seed * 11) % 101);
  return x;
}
std::vector<float> expected(const std::vector<float>& x, int extra = 0) {
  std::vector<float> y(count);
  for (std::size_t i = 0; i < count; ++i) {
    y[63 - i] = x[i] * weight(i) + offset(63 - i) + static_cast<float>(extra);
  }
  return y;
}

struct Image {
  std::string arch, form;
  Bytes bytes;
};

// Weights, and images behind them.
Bytes section(const std::vector<Image>& images, std::string& table) {
  Bytes out(image_at);
  for (std::size_t i = 0; i < count; ++i) {
    const float w = weight(i), b = offset(i);
    std::memcpy(out.data() + 4 * i, &w, 4);
    std::memcpy(out.data() + 256 + 4 * i, &b, 4);
  }
  for (const Image& image : images) {
    out.resize((out.size() + 63) / 64 * 64);
    table += (table.empty() ? "" : ",") + std::string(R"({"arch":")") + image.arch +
             R"(","form":")" + image.form + R"(","offset":)" + std::to_string(out.size()) +
             R"(,"bytes":)" + std::to_string(image.bytes.size()) + "}";
    out.insert(out.end(), image.bytes.begin(), image.bytes.end());
  }
  return out;
}

std::string device_metadata(std::size_t section_bytes, const std::string& images) {
  return metadata_head() +
         R"("inputs":[{"name":"x","dtype":"f32","shape":[64]}],"outputs":[{"name":"y","dtype":"f32","shape":[64]}],)"
         R"("arena_bytes":1024,"scratch_bytes":0,"weights_bytes":)" +
         std::to_string(section_bytes) +
         R"(,"steps":[{"name":"scale","source":[]},{"name":"none","source":[]},{"name":"add","source":[]}],)"
         R"("device":{"kind":"cuda","weights_bytes":512,"images":[)" +
         images +
         R"(],"kernels":[{"name":"scale","threads":16,"block_bytes":64},{"name":"add","threads":32,"block_bytes":65536}],)"
         R"("launches":[{"step":0,"kernel":0,"blocks":4,"args":[[0,0],[-2,0],[-1,256]]},)"
         R"({"step":2,"kernel":1,"blocks":2,"dependent":true,"args":[[-1,256],[-2,256],[1,0]]}]}})";
}

Bytes device_model(const std::vector<Image>& images,
                   const std::function<std::string(std::string)>& change = {}) {
  std::string table;
  const Bytes bytes = section(images, table);
  const TempDir dir;
  write_file(dir.path("weights"), bytes);
  std::string metadata = device_metadata(bytes.size(), table);
  if (change) metadata = change(metadata);
  return compile_model("device", metadata,
                       "-DWEIGHTS_FILE='\"" + dir.path("weights") +
                           "\"' -DWEIGHTS_BYTES=" + std::to_string(bytes.size()));
}

const Bytes& plain_image() {
  static const Bytes image = fake_image(kernels(0));
  return image;
}
const Bytes& plain_model() {
  static const Bytes model = device_model({{"sm_90", "cubin", plain_image()}});
  return model;
}

burnish_tensor tensor(const void* data) {
  return {.data = const_cast<void*>(data),
          .bytes = 4 * count,
          .dtype = BURNISH_F32,
          .rank = 0,
          .shape = nullptr};
}

void good(burnish_status status) { ASSERT_EQ(status, BURNISH_OK) << burnish_last_error(); }

std::vector<float> host_run(burnish_session* session, const std::vector<float>& x) {
  std::vector<float> y(count, -1);
  const burnish_tensor tx = tensor(x.data()), ty = tensor(y.data());
  good(burnish_session_bind_input(session, "x", &tx));
  good(burnish_session_bind_output(session, "y", &ty));
  good(burnish_session_run(session));
  return y;
}

// Memory of the fake GPU.
class OnGpu {
 public:
  explicit OnGpu(std::size_t bytes = 4 * count) {
    int (*push)(void*) = fake_function<int(void*)>("cuCtxPushCurrent_v2");
    void* context = nullptr;
    fake_function<int(void**, int)>("cuDevicePrimaryCtxRetain")(&context, 0);
    push(context);
    EXPECT_EQ((fake_function<int(unsigned long long*, std::size_t)>("cuMemAlloc_v2")(&at_, bytes)),
              0);
    fake_function<int(void**)>("cuCtxPopCurrent_v2")(&context);
  }
  ~OnGpu() { fake_function<int(unsigned long long)>("cuMemFree_v2")(at_); }
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;
  void* data() const { return reinterpret_cast<void*>(at_); }
  void set(const std::vector<float>& x) const { put(data(), x); }
  std::vector<float> get() const { return take(data()); }
  static void put(void* at, const std::vector<float>& x) {
    EXPECT_EQ((fake_function<int(unsigned long long, const void*, std::size_t)>("cuMemcpyHtoD_v2")(
                  reinterpret_cast<unsigned long long>(at), x.data(), 4 * count)),
              0);
  }
  static std::vector<float> take(void* at) {
    std::vector<float> y(count);
    EXPECT_EQ((fake_function<int(void*, unsigned long long, std::size_t)>("cuMemcpyDtoH_v2")(
                  y.data(), reinterpret_cast<unsigned long long>(at), 4 * count)),
              0);
    return y;
  }

 private:
  unsigned long long at_ = 0;
};

int calls(const char* function) {
  return fake_function<int(const char*)>("fake_cuda_calls")(function);
}

TEST(Gpu, HostTensorsInAndOut) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  ASSERT_TRUE(session);
  for (int seed = 0; seed < 3; ++seed) {
    EXPECT_EQ(host_run(session.get(), input(seed)), expected(input(seed)));
  }
}

// Launches take longer in processes that have used many streams.
TEST(Gpu, SessionsAfterOneAnotherHaveTheSameStream) {
  const ModelHandle model = load(plain_model());
  ASSERT_EQ(host_run(new_session(model, 1).get(), input(1)), expected(input(1)));
  const int before = calls("cuStreamCreate");
  for (int seed = 0; seed < 3; ++seed) EXPECT_EQ(host_run(new_session(model, 1).get(), input(seed)), expected(input(seed)));
  EXPECT_EQ(calls("cuStreamCreate"), before);
  const SessionHandle a = new_session(model, 1), b = new_session(model, 1);
  EXPECT_EQ(host_run(a.get(), input(1)), expected(input(1)));
  EXPECT_EQ(host_run(b.get(), input(2)), expected(input(2)));
  EXPECT_LE(calls("cuStreamCreate"), before + 1);
}

TEST(Gpu, OwnBuffersStartAtZeroAndAreUsedByRuns) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  burnish_tensor x{}, y{};
  good(burnish_session_run(session.get()));
  good(burnish_session_get_output(session.get(), "y", &y));
  const auto* out = static_cast<const float*>(y.data);
  EXPECT_EQ(std::vector<float>(out, out + count), expected(std::vector<float>(count)));
  good(burnish_session_get_input(session.get(), "x", &x));
  const std::vector<float> values = input(5);
  std::memcpy(x.data, values.data(), 4 * count);
  good(burnish_session_run(session.get()));
  EXPECT_EQ(std::vector<float>(out, out + count), expected(values));
  const std::vector<float> other = input(6);
  const burnish_tensor copied = tensor(other.data());
  good(burnish_session_set_input(session.get(), "x", &copied));
  good(burnish_session_run(session.get()));
  EXPECT_EQ(std::vector<float>(out, out + count), expected(other));
}

TEST(Gpu, MemoryOfTheGpuIsUsedInPlace) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  const OnGpu x, y;
  const burnish_tensor tx = tensor(x.data()), ty = tensor(y.data());
  x.set(input(1));
  good(burnish_session_bind_input(session.get(), "x", &tx));
  good(burnish_session_bind_output(session.get(), "y", &ty));
  good(burnish_session_run(session.get()));
  EXPECT_EQ(y.get(), expected(input(1)));
  burnish_tensor got{};
  EXPECT_EQ(burnish_session_get_output(session.get(), "y", &got), BURNISH_ERROR_USER);
  EXPECT_NE(std::string(burnish_last_error()).find("burnish_session_get_device_output"),
            std::string::npos);
  good(burnish_session_get_device_output(session.get(), "y", &got));
  EXPECT_EQ(got.data, y.data());
  // Back to the host.
  EXPECT_EQ(host_run(session.get(), input(2)), expected(input(2)));
  EXPECT_EQ(y.get(), expected(input(1)));
}

TEST(Gpu, OwnMemoryOfTheGpu) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  burnish_tensor x{}, y{};
  good(burnish_session_get_device_input(session.get(), "x", &x));
  good(burnish_session_get_device_output(session.get(), "y", &y));
  good(burnish_session_run(session.get()));
  EXPECT_EQ(OnGpu::take(y.data), expected(std::vector<float>(count)));  // zero at first
  OnGpu::put(x.data, input(3));
  const int copies = calls("cuMemcpyDtoHAsync_v2");
  good(burnish_session_run(session.get()));
  EXPECT_EQ(OnGpu::take(y.data), expected(input(3)));
  EXPECT_EQ(calls("cuMemcpyDtoHAsync_v2"), copies);
}

// Kernels may have counters in the arena, which they find zero.
TEST(Gpu, ArenasAreZeroAtFirst) {
  const Bytes model_bytes = device_model({{"sm_90", "cubin", plain_image()}}, [](std::string m) {
    const std::string of_add = R"("args":[[-1,256],[-2,256],[1,0]])";
    const std::size_t at = m.find(of_add);
    return m.substr(0, at) + R"("args":[[-1,512],[-2,256],[1,0]])" + m.substr(at + of_add.size());  // what nobody writes
  });
  const ModelHandle model = load(model_bytes);
  std::vector<float> offsets;
  for (std::size_t i = 0; i < count; ++i) offsets.push_back(offset(i));
  for (int i = 0; i < 2; ++i) {
    const SessionHandle session = new_session(model, 1);
    EXPECT_EQ(host_run(session.get(), input(1)), offsets);
  }
}

TEST(Gpu, GraphsAreCapturedOnceForEverySetOfAddresses) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  const OnGpu a, b;
  const int before = calls("cuGraphInstantiateWithFlags"), kernels_before = calls("kernel");
  a.set(input(1));
  b.set(input(2));
  for (int i = 0; i < 6; ++i) {
    const burnish_tensor tx = tensor((i % 2 ? b : a).data());
    good(burnish_session_bind_input(session.get(), "x", &tx));
    std::vector<float> y(count);
    const burnish_tensor ty = tensor(y.data());
    good(burnish_session_bind_output(session.get(), "y", &ty));
    good(burnish_session_run(session.get()));
    EXPECT_EQ(y, expected(input(i % 2 ? 2 : 1)));
  }
  EXPECT_EQ(calls("cuGraphInstantiateWithFlags") - before, 2);
  EXPECT_EQ(calls("kernel") - kernels_before, 12);
  good(burnish_session_bind_output(session.get(), "y", nullptr));
  // More sets than are kept.
  std::vector<std::unique_ptr<OnGpu>> many;
  for (int i = 0; i < 20; ++i) many.push_back(std::make_unique<OnGpu>());
  for (int i = 0; i < 40; ++i) {
    const burnish_tensor tx = tensor(many[static_cast<std::size_t>(i % 20)]->data());
    many[static_cast<std::size_t>(i % 20)]->set(input(i));
    good(burnish_session_bind_input(session.get(), "x", &tx));
    good(burnish_session_run(session.get()));
    burnish_tensor y{};
    good(burnish_session_get_output(session.get(), "y", &y));
    EXPECT_EQ(std::memcmp(y.data, expected(input(i)).data(), 4 * count), 0);
  }
}

TEST(Gpu, RunsOnStreamsOfTheCaller) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  void *one = nullptr, *two = nullptr;
  fake_function<int(void**, unsigned)>("cuStreamCreate")(&one, 1);
  fake_function<int(void**, unsigned)>("cuStreamCreate")(&two, 1);
  const OnGpu x, y;
  const burnish_tensor tx = tensor(x.data()), ty = tensor(y.data());
  x.set(input(7));
  good(burnish_session_bind_input(session.get(), "x", &tx));
  good(burnish_session_bind_output(session.get(), "y", &ty));
  good(burnish_session_run_async(session.get(), one));
  EXPECT_NE(y.get(), expected(input(7)));  // the fake begins when somebody waits
  good(burnish_session_synchronize(session.get()));
  EXPECT_EQ(y.get(), expected(input(7)));
  // The second run comes after the first, on whatever stream.
  const OnGpu z;
  const burnish_tensor tz = tensor(z.data());
  good(burnish_session_run_async(session.get(), one));
  good(burnish_session_bind_output(session.get(), "y", &tz));
  good(burnish_session_run_async(session.get(), two));
  x.set(input(8));
  fake_function<int(void*)>("cuStreamSynchronize")(two);
  EXPECT_EQ(y.get(), expected(input(8)));
  EXPECT_EQ(z.get(), expected(input(8)));
  // Own buffers are waited for when they are asked for.
  good(burnish_session_bind_output(session.get(), "y", nullptr));
  good(burnish_session_run_async(session.get(), nullptr));
  burnish_tensor got{};
  good(burnish_session_get_output(session.get(), "y", &got));
  EXPECT_EQ(std::memcmp(got.data, expected(input(8)).data(), 4 * count), 0);
  // What would need a copy afterwards is refused.
  std::vector<float> host(count);
  const burnish_tensor th = tensor(host.data());
  good(burnish_session_bind_output(session.get(), "y", &th));
  EXPECT_EQ(burnish_session_run_async(session.get(), one), BURNISH_ERROR_USER);
  fake_function<int(void*)>("cuStreamDestroy_v2")(one);
  fake_function<int(void*)>("cuStreamDestroy_v2")(two);
}

TEST(Gpu, SessionsOfSeveralThreadsShareCodeAndWeights) {
  const int loads = calls("cuModuleLoadDataEx");
  const ModelHandle model = load(plain_model());
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const SessionHandle session = new_session(model, 1);
      for (int i = 0; i < 20; ++i) {
        if (host_run(session.get(), input(t * 100 + i)) != expected(input(t * 100 + i))) ++wrong;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(calls("cuModuleLoadDataEx") - loads, 1);
}

TEST(Gpu, EverythingIsGivenBack) {
  const auto allocated = fake_function<std::size_t()>("fake_cuda_allocated");
  const std::size_t before = allocated();
  {
    const ModelHandle model = load(plain_model());
    const SessionHandle session = new_session(model, 1);
    host_run(session.get(), input(0));
    EXPECT_GT(allocated(), before);
  }
  EXPECT_EQ(allocated(), before);
}

TEST(Gpu, ProfilesTellStepsAndTheWhole) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  std::uint64_t step_ns[3] = {~0ull, ~0ull, ~0ull}, total = 0;
  good(burnish_session_profile(session.get(), step_ns, 3, &total));
  EXPECT_GT(step_ns[0], 0u);
  EXPECT_LT(step_ns[1], step_ns[0]);  // launches nothing
  EXPECT_GT(step_ns[2], 0u);
  EXPECT_GE(total, (step_ns[0] + step_ns[2]) / 20);
  total = 0;
  good(burnish_session_profile(session.get(), nullptr, 0, &total));
  EXPECT_GT(total, 0u);
  EXPECT_EQ(burnish_session_profile(session.get(), nullptr, 0, nullptr), BURNISH_ERROR_USER);
  burnish_tensor y{};
  good(burnish_session_get_output(session.get(), "y", &y));
  EXPECT_EQ(std::memcmp(y.data, expected(std::vector<float>(count)).data(), 4 * count), 0);
}

// ---- images

std::vector<float> result_of(const Bytes& library) {
  const ModelHandle model = load(library);
  const SessionHandle session = new_session(model, 1);
  return session ? host_run(session.get(), input(0)) : std::vector<float>();
}

TEST(Gpu, TheBestImageIsTaken) {
  const Bytes one = fake_image(kernels(1)), two = fake_image(kernels(2));
  EXPECT_EQ(result_of(device_model(
                {{"sm_80", "cubin", one}, {"sm_90", "cubin", two}, {"sm_100", "cubin", one}})),
            expected(input(0), 2));
  EXPECT_EQ(result_of(device_model({{"sm_90a", "cubin", two}, {"sm_90", "cubin", one}})),
            expected(input(0), 2));
  const TempDir dir;
  write_file(dir.path("ptx.so"), two);
  const std::string ptx = "fake " + dir.path("ptx.so");
  const Bytes text(reinterpret_cast<const std::byte*>(ptx.c_str()),
                   reinterpret_cast<const std::byte*>(ptx.c_str()) + ptx.size() + 1);
  EXPECT_EQ(result_of(device_model({{"sm_90", "ptx", text}, {"sm_90", "cubin", one}})),
            expected(input(0), 1));
  EXPECT_EQ(result_of(device_model({{"sm_86", "cubin", one}, {"sm_86", "ptx", text}})),
            expected(input(0), 2));
}

TEST(Gpu, KernelsMayBeInSeveralImages) {
  const std::string all = kernels(0);
  const auto half = all.find("extern \"C\" __global__ void add");
  const Bytes scale = fake_image(all.substr(0, half)), add = fake_image(all.substr(half));
  EXPECT_EQ(result_of(device_model({{"sm_90", "cubin", scale}, {"sm_90", "cubin", add}})),
            expected(input(0)));
  EXPECT_EQ(result_of(device_model({{"sm_90", "cubin", add}, {"sm_90", "cubin", scale}})),
            expected(input(0)));
}

struct Refused {
  burnish_status status = BURNISH_OK;
  std::string text;
};
Refused session_refusal(const Bytes& library, std::int32_t device = 0) {
  const ModelHandle model = load(library);
  burnish_session_options options{};
  options.struct_size = sizeof options;
  options.device = device;
  burnish_session* session = nullptr;
  const burnish_status status = burnish_session_create(model.get(), &options, &session);
  burnish_session_release(session);
  return {status, status == BURNISH_OK ? "" : burnish_last_error()};
}

TEST(Gpu, WhatDoesNotFitIsRefusedInASentence) {
  Refused r = session_refusal(
      device_model({{"sm_80", "cubin", plain_image()}, {"sm_90a", "cubin", plain_image()}}), 0);
  EXPECT_EQ(r.status, BURNISH_OK);
  r = session_refusal(
      device_model({{"sm_80", "cubin", plain_image()}, {"sm_100", "cubin", plain_image()}}));
  EXPECT_EQ(r.status, BURNISH_ERROR_UNSUPPORTED);
  EXPECT_EQ(r.text, "the model has no code for GPU 0 (Fake GPU, sm_90): it holds sm_80, sm_100; "
                    "compile it with --target cuda:sm_90");
  r = session_refusal(plain_model(), 1);
  EXPECT_EQ(r.text, "there is no GPU number 1; there is 1");
  r = session_refusal(plain_model(), -1);
  EXPECT_EQ(r.text, "there is no GPU number -1; there is 1");
  r = session_refusal(affine(), 1);
  EXPECT_EQ(r.text, "GPU number 1 is asked for, but the model runs on the CPU");
  r = session_refusal(device_model({{"sm_90", "cubin", plain_image()}}, [](const std::string& m) {
    return replaced(m, R"("name":"add","threads")", R"("name":"odd","threads")");
  }));
  EXPECT_EQ(r.text, "the model's code has no kernel \"odd\"; compile it anew");
  r = session_refusal(device_model({{"sm_90", "cubin", plain_image()}}, [](const std::string& m) {
    return replaced(m, "65536", "300000");
  }));
  EXPECT_EQ(r.status, BURNISH_ERROR_UNSUPPORTED);
  EXPECT_NE(r.text.find("300000 bytes of memory a block"), r.text.npos) << r.text;
  r = session_refusal(device_model({{"sm_90", "cubin", plain_image()}}, [](const std::string& m) {
    return replaced(m, R"("block_bytes":65536)", R"("block_bytes":65536,"cluster":32)");
  }));
  EXPECT_EQ(r.status, BURNISH_ERROR_UNSUPPORTED);
  EXPECT_NE(r.text.find("kernel \"add\" needs clusters of 32 blocks"), r.text.npos) << r.text;
}

TEST(Gpu, MemoryThatDoesNotFitIsRefused) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  const OnGpu x(4 * count + 16);
  const burnish_tensor t = tensor(static_cast<char*>(x.data()) + 4);
  EXPECT_EQ(burnish_session_bind_input(session.get(), "x", &t), BURNISH_ERROR_USER);
  EXPECT_NE(std::string(burnish_last_error()).find("not aligned to 16 bytes"), std::string::npos);
}

TEST(Gpu, CpuModelsHaveNoMemoryOfGpus) {
  const ModelHandle model = load(affine());
  const SessionHandle session = new_session(model, 1);
  burnish_tensor t{};
  EXPECT_EQ(burnish_session_get_device_output(session.get(), "y", &t), BURNISH_ERROR_USER);
  EXPECT_EQ(burnish_session_run_async(session.get(), nullptr), BURNISH_ERROR_USER);
  EXPECT_EQ(burnish_session_synchronize(session.get()), BURNISH_OK);
}

// ---- errors of the driver

TEST(Gpu, FromCpp) {
  const Model model = Model::load(plain_model().data(), plain_model().size());
  Session session = model.session({.device = 0});
  const burnish_device_info gpu = session.device();
  EXPECT_STREQ(gpu.name, "Fake GPU");
  EXPECT_EQ(gpu.major, 9);
  EXPECT_EQ(gpu.processors, 132u);
  EXPECT_EQ(gpu.memory_rate, 256'000'000'000u);
  session.set_input("x", input(4).data(), count);
  session.run();
  const TensorView<float> y = session.output<float>("y");
  EXPECT_EQ(std::vector<float>(y.begin(), y.end()), expected(input(4)));
  auto* on_gpu = session.device_output<float>("y");
  session.device_input<float>("x");  // holds what was copied there last
  session.run_async(nullptr);
  session.synchronize();
  EXPECT_EQ(OnGpu::take(on_gpu), expected(input(4)));
  EXPECT_THROW(session.device_output<int>("y"), UserError);
  EXPECT_THROW(model.session({.device = 3}), UserError);
}

TEST(Gpu, NoMemory) {
  fake_function<void(const char*, int, int)>("fake_cuda_fail")("cuMemAlloc_v2", 1, 2);
  const ModelHandle model = load(plain_model());
  burnish_session* session = nullptr;
  EXPECT_EQ(burnish_session_create(model.get(), nullptr, &session), BURNISH_ERROR_MEMORY);
  EXPECT_EQ(std::string(burnish_last_error()),
            "allocating 1024 bytes for the arena of a session on GPU 0 (Fake GPU, sm_90) failed: "
            "CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
  // Nothing is left behind that would hinder the next one.
  EXPECT_EQ(host_run(new_session(model, 1).get(), input(0)), expected(input(0)));
}

TEST(Gpu, ALaunchThatIsRefusedDuringCaptureLeavesNothing) {
  const ModelHandle model = load(plain_model());
  const SessionHandle session = new_session(model, 1);
  fake_function<void(const char*, int, int)>("fake_cuda_fail")("cuLaunchKernelEx", 0, 1);
  EXPECT_EQ(burnish_session_run(session.get()), BURNISH_ERROR_INTERNAL);
  EXPECT_NE(std::string(burnish_last_error()).find("launching kernel \"add\" on GPU 0"),
            std::string::npos)
      << burnish_last_error();
  EXPECT_EQ(host_run(session.get(), input(0)), expected(input(0)));
}

// In processes of their own: a context stays lost, and the driver is looked for once.
TEST(GpuDeathTest, AFaultOfAKernelLosesTheGpu) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto body = [] {
    const ModelHandle model = load(plain_model());
    const SessionHandle session = new_session(model, 1), other = new_session(model, 1);
    fake_function<void(const char*, int, int)>("fake_cuda_fail")("kernel", 1, 700);
    bool right = burnish_session_run(session.get()) == BURNISH_ERROR_FAULT;
    std::string text = burnish_last_error();
    right &= text.find("CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access") != text.npos;
    right &= burnish_session_run(other.get()) == BURNISH_ERROR_FAULT;
    text = burnish_last_error();
    right &= text.find("was lost to this process") != text.npos;
    burnish_session* third = nullptr;
    right &= burnish_session_create(model.get(), nullptr, &third) == BURNISH_ERROR_FAULT;
    std::exit(right ? 7 : 1);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(7), "");
}

TEST(GpuDeathTest, WithoutDriverOrGpuModelsLoadAndSessionsSayWhatIsMissing) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto text_is = [](const char* variable, const char* value, const char* text) {
    setenv(variable, value, 1);
    const Refused r = session_refusal(plain_model());
    std::exit(r.status == BURNISH_ERROR_UNSUPPORTED && r.text.find(text) != r.text.npos ? 7 : 1);
  };
  EXPECT_EXIT(
      text_is("BURNISH_CUDA_DRIVER", "/nowhere/libcuda.so.1", "NVIDIA's driver is not installed"),
      testing::ExitedWithCode(7), "");
  EXPECT_EXIT(text_is("BURNISH_FAKE_GPUS", "", "there is no NVIDIA GPU (CUDA_ERROR_NO_DEVICE"),
              testing::ExitedWithCode(7), "");
}

TEST(GpuDeathTest, TheGpuIsChosenByItsNumber) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto body = [] {
    setenv("BURNISH_FAKE_GPUS", "8.6,9.0", 1);
    const bool right = session_refusal(plain_model(), 0).status == BURNISH_ERROR_UNSUPPORTED &&
                       session_refusal(plain_model(), 1).status == BURNISH_OK;
    std::exit(right ? 7 : 1);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(7), "");
}

// ---- hostile files

TEST(GpuArtifact, MetadataThatDoesNotFitIsRefused) {
  const struct {
    const char *from, *to, *text;
  } rows[] = {
      {R"("kind":"cuda")", R"("kind":"rocm")", "a device of the kind \"rocm\""},
      {R"("device":{)", R"("device":[], "other":{)", "\"device\" is not an object"},
      {R"("cuda","weights_bytes":512)", R"("cuda","weights_bytes":51200000)",
       "is 51200000, more than"},
      {R"("arch":"sm_90")", R"("arch":"gfx90")", "not of the form sm_90"},
      {R"("arch":"sm_90")", R"("arch":"sm_")", "not of the form sm_90"},
      {R"("arch":"sm_90")", R"("arch":"sm_99999999999")", "not of the form sm_90"},
      {R"("form":"cubin")", R"("form":"spirv")", "in the form \"spirv\""},
      {R"("offset":512)", R"("offset":513)", "is no multiple of 64"},
      {R"("offset":512)", R"("offset":5120000)", "is 5120000, more than"},
      {R"("offset":512)", R"("offset":576)", "\"bytes\" is "},
      {R"("offset":512,"bytes":)", R"("offset":512,"bytes":1)", "\"bytes\" is 1"},
      {R"("threads":16)", R"("threads":0)", "\"threads\" is 0"},
      {R"("threads":16)", R"("threads":1025)", "is 1025, more than 1024"},
      {R"("block_bytes":64)", R"("block_bytes":99999999)", "is 99999999, more than"},
      {R"("block_bytes":64)", R"("block_bytes":64,"cluster":0)", "\"cluster\" is 0"},
      {R"("block_bytes":64)", R"("block_bytes":64,"cluster":5000)", "is 5000, more than"},
      {R"("block_bytes":64)", R"("block_bytes":64,"cluster":16)", ""},
      {R"("step":0)", R"("step":3)", "\"step\" is 3, there are 3"},
      {R"("step":0)", R"("step":2)", ""},
      {R"("step":2)", R"("step":0)", ""},
      {R"("kernel":0)", R"("kernel":2)", "\"kernel\" is 2, there are 2"},
      {R"("blocks":4)", R"("blocks":0)", "\"blocks\" is 0"},
      {R"("blocks":4)", R"("blocks":2147483648)", "is 2147483648, more than"},
      {R"("dependent":true)", R"("dependent":1)", "is neither true nor false"},
      {"[0,0]", "[2,0]", "names a memory that there is not, 2"},
      {"[0,0]", "[-3,0]", "names a memory that there is not, -3"},
      {"[0,0]", "[18446744073709551615,0]", "names a memory that there is not"},
      {"[0,0]", "[-9223372036854775808,0]", "names a memory that there is not"},
      {"[0,0]", "[0,-4]", "no pair of a memory and an offset"},
      {"[0,0]", "[0]", "no pair of a memory and an offset"},
      {"[0,0]", "[0,257]", "points to byte 257 of a memory of 256"},
      {"[-2,0]", "[-2,513]", "points to byte 513 of a memory of 512"},
      {"[-1,256]", "[-1,1025]", "points to byte 1025 of a memory of 1024"},
  };
  std::string table;
  const std::size_t bytes = section({{"sm_90", "cubin", plain_image()}}, table).size();
  const std::string good_metadata = device_metadata(bytes, table);
  for (const auto& row : rows) {
    const Refusal r =
        refusal(with_metadata(plain_model(), replaced(good_metadata, row.from, row.to)));
    EXPECT_EQ(r.status == BURNISH_OK, *row.text == '\0') << row.to << ": " << r.text;
    EXPECT_NE(r.text.find(row.text), r.text.npos) << row.to << ": " << r.text;
  }
  const Refusal backwards = refusal(
      with_metadata(plain_model(), replaced(replaced(good_metadata, R"("step":0)", R"("step":2)"),
                                            R"("step":2,"kernel":1)", R"("step":1,"kernel":1)")));
  EXPECT_NE(backwards.text.find("its step comes before"), backwards.text.npos) << backwards.text;
}

TEST(GpuArtifact, DamagedImagesAreRefused) {
  const Bytes& image = plain_image();
  Bytes cut(image.begin(), image.end() - 1);
  EXPECT_NE(refusal(device_model({{"sm_90", "cubin", cut}}))
                .text.find("damaged image number 0 (sm_90, cubin)"),
            std::string::npos);
  const Bytes text(3, std::byte{'x'});
  EXPECT_NE(refusal(device_model({{"sm_90", "ptx", text}})).text.find("PTX without an end"),
            std::string::npos);
  EXPECT_NE(refusal(device_model({{"sm_90", "cubin", text}})).text.find("damaged image"),
            std::string::npos);
  for (const std::size_t at : {32u, 40u, 54u, 58u, 60u}) {  // tables of the ELF header
    Bytes bad = image;
    bad[at + 1] = std::byte{0xff};
    EXPECT_NE(refusal(device_model({{"sm_90", "cubin", bad}})).text.find("damaged image"),
              std::string::npos)
        << at;
  }
}

}  // namespace
}  // namespace burnish::test
