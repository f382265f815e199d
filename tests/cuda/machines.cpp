#include "cuda/machines.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cuda/emulated.h"
#include "cuda/native.h"
#include "target/weights.h"

namespace burnish::cuda_test {
namespace {

bool launched(On machine, const cuda_target::Launches& launches, cuda_target::Precision precision,
              const std::vector<Bytes>& tensors, Bytes arena, Bytes weights, bool reversed) {
  if (machine == On::Gpu) return run_native(launches, precision, tensors, arena, weights);
  const Emulated& emulated = Emulated::of(launches);
  if (!emulated) return false;
  std::vector<void*> at;
  for (const Bytes& t : tensors) at.push_back(t.at);
  emulated(at, arena.at, weights.at, reversed);
  return true;
}

// Aligned, as memory of a GPU.
std::byte* aligned_nans(std::vector<std::byte>& m, size_t bytes) {
  constexpr size_t align = 256;
  m.assign(bytes + align, std::byte{0xff});  // floats: NaN
  return m.data() + (align - reinterpret_cast<uintptr_t>(m.data()) % align);
}

}  // namespace

void OnMachine::SetUp() {
  if (GetParam() != On::Gpu) return;
  const char* wanted = std::getenv("BURNISH_TEST_GPU");
  if (wanted == nullptr || *wanted == '\0' || *wanted == '0')
    GTEST_SKIP() << "BURNISH_TEST_GPU=1 runs this on the GPU";
  // Who asks for it is not served by a skipped test.
  ASSERT_EQ(native_missing(), "");
}

bool run_function(On machine, const Function& f, cuda_target::Precision precision,
                  const std::vector<void*>& args, bool reversed) {
  std::vector<Bytes> tensors;
  for (size_t i = 0; i < args.size(); ++i) {
    const Buffer& b = f.buffers[f.params[i]];
    tensors.push_back({args[i], static_cast<size_t>(b.size * size_of(b.dtype))});
  }
  int64_t arena_bytes = 0;
  const cuda_target::Launches launches = launches_of_function(f, precision, arena_bytes);
  std::vector<std::byte> memory;
  const Bytes arena = {aligned_nans(memory, static_cast<size_t>(arena_bytes)), static_cast<size_t>(arena_bytes)};
  return launched(machine, launches, precision, tensors, arena, {}, reversed);
}

std::vector<std::vector<std::byte>> run_program(On machine, const Program& p, cuda_target::Precision precision, const std::vector<const void*>& inputs,
                                                bool reversed, int64_t cluster) {
  std::vector<std::vector<std::byte>> outputs;
  std::vector<std::byte> arena_memory, weights_memory;
  const auto arena_bytes = static_cast<size_t>(cuda_target::arena_bytes(p, cluster));
  std::byte* arena = aligned_nans(arena_memory, arena_bytes);
  const std::span counters(arena + (cluster ? arena_bytes : static_cast<size_t>(cuda_target::counters_begin(p))), arena + arena_bytes);
  std::ranges::fill(counters, std::byte{0});
  const std::vector<std::byte> section = weights_of(p);
  std::byte* weights = aligned_nans(weights_memory, section.size());
  std::ranges::copy(section, weights);
  std::vector<std::vector<std::byte>> memory(p.inputs.size() + p.outputs.size());
  std::vector<Bytes> tensors;
  const auto place = [&](uint32_t t) {
    const size_t size = static_cast<size_t>(p.tensors[t].size * size_of(p.tensors[t].dtype));
    tensors.push_back({aligned_nans(memory[tensors.size()], size), size});
  };
  for (size_t i = 0; i < p.inputs.size(); ++i) {
    place(p.inputs[i]);
    if (tensors[i].size) std::memcpy(tensors[i].at, inputs[i], tensors[i].size);
  }
  for (uint32_t t : p.outputs) place(t);
  const cuda_target::Launches launches = cuda_target::launches_of(p, precision, cluster);
  for (int runs = counters.empty() ? 1 : 2; runs > 0; --runs)  // the next one finds counters as the one before has left them
    if (!launched(machine, launches, precision, tensors, {arena, arena_bytes}, {weights, section.size()}, reversed)) return outputs;
  EXPECT_TRUE(std::ranges::all_of(counters, [](std::byte b) { return b == std::byte{0}; })) << "counters are not left as they were found";
  for (size_t o = 0; o < p.outputs.size(); ++o) {
    const ProgramTensor& t = p.tensors[p.outputs[o]];
    const auto* at = static_cast<const std::byte*>(tensors[p.inputs.size() + o].at);
    outputs.emplace_back(at, at + t.size * size_of(t.dtype));
  }
  return outputs;
}

}  // namespace burnish::cuda_test
