#include "support.h"

#include <dlfcn.h>
#include <unistd.h>

#include <barrier>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "expr/half.h"
#include "loop/interpreter.h"

namespace burnish::target_test {

namespace {

struct Aligned {
  explicit Aligned(size_t bytes) : p(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64))) {
    std::memset(p, 0xff, (bytes + 127) / 64 * 64);  // NaN: what is read before it is written shows
  }
  ~Aligned() { std::free(p); }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  std::byte* p;
};

struct Host {
  std::barrier<> barrier;
  std::vector<uint32_t>* marks;
};

}  // namespace

uint64_t seed() {
  static const uint64_t s = std::getenv("BURNISH_SEED") ? std::strtoull(std::getenv("BURNISH_SEED"), nullptr, 10)
                                                        : std::random_device{}();
  return s;
}

Library::Library(const std::string& bytes) {
  static int count = 0;
  path_ = (std::filesystem::temp_directory_path() / fmt::format("burnish-test-{}-{}.so", getpid(), count++)).string();
  std::ofstream(path_, std::ios::binary).write(bytes.data(), std::streamsize(bytes.size()));
  handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle_) throw std::runtime_error(dlerror());
  auto entry = reinterpret_cast<burnish_model_entry_fn>(dlsym(handle_, BURNISH_ENTRY_SYMBOL));
  if (!entry) throw std::runtime_error("the library has no entry");
  entry_ = entry();
}

Library::~Library() {
  if (handle_) dlclose(handle_);
  std::filesystem::remove(path_);
}

int32_t Library::run(const Program& p, const Target& t, const std::vector<void*>& tensors, unsigned threads,
                     std::vector<uint32_t>* steps_marked) const {
  MemoryNeeds needs = t.memory(p);
  uint64_t stride = (uint64_t(needs.scratch_bytes) + 63) / 64 * 64;
  Aligned arena(size_t(needs.arena_bytes)), scratch(stride * threads);
  Host state{std::barrier<>(std::ptrdiff_t(threads)), steps_marked};
  burnish_host host{&state, [](void* c, uint32_t) { static_cast<Host*>(c)->barrier.arrive_and_wait(); },
                    steps_marked ? +[](void* c, uint32_t, uint32_t s) { static_cast<Host*>(c)->marks->push_back(s); } : nullptr,
                    nullptr};
  burnish_frame frame{tensors.data(), arena.p, entry_->weights, scratch.p, stride, nullptr, threads, 0};
  std::vector<int32_t> codes(threads);
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < threads; ++i) {
      others.emplace_back([&, i] { codes[i] = entry_->run(&frame, i, &host); });
    }
    codes[0] = entry_->run(&frame, 0, &host);
  }
  for (int32_t c : codes) {
    if (c) return c;
  }
  return 0;
}

Program program_of(const Function& f) {
  Program p;
  p.functions.push_back(f);
  Step s{.function = 0};
  for (BufferId b : f.params) {
    const Buffer& buf = f.buffers[b];
    uint32_t id = uint32_t(p.tensors.size());
    p.tensors.push_back({.name = buf.name,
                         .kind = buf.written ? TensorKind::Output : TensorKind::Input,
                         .dtype = buf.dtype,
                         .shape = {buf.size},
                         .size = buf.size});
    (buf.written ? p.outputs : p.inputs).push_back(id);
    s.args.push_back(id);
  }
  p.steps.push_back(s);
  return p;
}

std::vector<std::byte> random_values(DType t, int64_t size, std::mt19937_64& random) {
  std::vector<std::byte> bytes(size_t(size * size_of(t)));
  std::uniform_real_distribution<double> real(-2, 2);
  for (int64_t i = 0; i < size; ++i) {
    std::byte* at = bytes.data() + i * size_of(t);
    auto put = [&](auto v) { std::memcpy(at, &v, sizeof v); };
    int64_t n = int64_t(random() % 19) - (is_signed(t) ? 9 : 0);
    if (t == DType::F64) put(real(random));
    else if (t == DType::F32) put(float(real(random)));
    else if (t == DType::F16) put(half_of_float(float(real(random))));
    else if (t == DType::BF16) put(bfloat_of_float(float(real(random))));
    else if (t == DType::TF32) put(tf32_of_float(float(real(random))));
    else if (t == DType::Bool) put(uint8_t(random() & 1));
    else std::memcpy(at, &n, size_t(size_of(t)));
  }
  return bytes;
}

namespace {

double real_at(DType t, const std::byte* p) {
  auto get = [&]<class T>(T v) { return std::memcpy(&v, p, sizeof v), v; };
  if (t == DType::F64) return get(double{});
  if (t == DType::F32 || t == DType::TF32) return get(float{});
  return t == DType::F16 ? float_of_half(get(uint16_t{})) : float_of_bfloat(get(uint16_t{}));
}

void compare(const Buffer& b, const std::vector<std::byte>& want, const std::vector<std::byte>& got, double tolerance,
             const std::string& what) {
  int64_t width = size_of(b.dtype);
  for (int64_t i = 0; i < b.size; ++i) {
    const std::byte *w = want.data() + i * width, *g = got.data() + i * width;
    if (!is_float(b.dtype)) {
      ASSERT_EQ(std::memcmp(w, g, size_t(width)), 0) << what << ": " << b.name << "[" << i << "] differs";
      continue;
    }
    double x = real_at(b.dtype, w), y = real_at(b.dtype, g);
    if (std::isnan(x) || std::isinf(x)) {
      ASSERT_TRUE(std::isnan(x) ? std::isnan(y) : x == y) << what << ": " << b.name << "[" << i << "] is " << y << ", not " << x;
    } else {
      ASSERT_NEAR(y, x, tolerance * std::max(1.0, std::fabs(x))) << what << ": " << b.name << "[" << i << "]";
    }
  }
}

}  // namespace

void expect_same(const Function& f, double tolerance, const std::vector<std::string>& targets) {
  std::mt19937_64 random(seed());
  Program p = program_of(f);
  std::vector<std::vector<std::byte>> values, want;
  for (BufferId b : f.params) values.push_back(random_values(f.buffers[b].dtype, f.buffers[b].size, random));
  want = values;
  std::vector<void*> args;
  for (auto& v : want) args.push_back(v.data());
  interpret(f, args);
  for (const std::string& name : targets) {
    auto target = make_target(name, 1);
    Library library(target->build(p, "{}"));
    for (unsigned threads : {1u, 3u}) {
      auto got = values;
      std::vector<void*> tensors;
      for (bool written : {false, true}) {
        for (size_t i = 0; i < f.params.size(); ++i) {
          if (f.buffers[f.params[i]].written == written) tensors.push_back(got[i].data());
        }
      }
      ASSERT_EQ(library.run(p, *target, tensors, threads), 0);
      for (size_t i = 0; i < f.params.size(); ++i) {
        compare(f.buffers[f.params[i]], want[i], got[i], tolerance,
                fmt::format("{} on {}, {} threads, seed {}", f.name, name, threads, seed()));
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

void expect_same(std::string_view text, double tolerance) { expect_same(parse_function(text), tolerance); }

}  // namespace burnish::target_test
