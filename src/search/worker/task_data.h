// What a runner keeps of a task from candidate to candidate: tensors, reference answers.
#pragma once

#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "search/worker/buffers.h"
#include "search/worker/kernel_library.h"
#include "te/evaluate.h"

namespace burnish::search {

inline constexpr int check_seeds = 2;

struct TaskData {
  std::string hash;
  std::vector<Parameter> parameters;
  std::vector<Tensor> constants_of[check_seeds];          // logical, by parameter; empty for others and until needed
  std::vector<std::vector<std::byte>> inputs[check_seeds];  // as they lie in memory, likewise
  std::vector<GuardedBuffer> buffers;                       // for timing, by parameter; constants: empty
  std::vector<std::vector<std::byte>> answers[check_seeds];  // of the reference, by parameter; empty until needed

  // The constants as the last candidate wanted them, several times over, so that they come from memory.
  std::vector<Layout> packed;
  std::unique_ptr<GuardedBuffer> constants;
  size_t stride = 0, copies = 1;
  std::vector<size_t> offset;  // by parameter, in one copy

  std::span<const std::byte> input(size_t parameter, int seed);
  // As its layout in `p` wants it.
  std::shared_ptr<const std::vector<std::byte>> packed_constant(size_t parameter, int seed, const Parameter& p);
  std::byte* constant(size_t parameter, size_t copy) const {
    return constants->data() + (copy % copies) * stride + offset[parameter];
  }
  size_t bytes() const;
};

// Are these of one task? Layouts of constants may differ.
bool same_task(const std::vector<Parameter>& a, const std::vector<Parameter>& b);

class TaskCache {
 public:
  explicit TaskCache(size_t most_bytes) : most_(most_bytes) {}
  // With tensors of seed 0 and buffers for `parameters`; the least recently used go when memory is short.
  TaskData& get(const std::string& hash, const std::vector<Parameter>& parameters);

 private:
  size_t most_;
  std::list<TaskData> tasks_;  // the last used first
};

// Packs the constants as `parameters` say, so many times that they exceed `cold_bytes`.
void place_constants(TaskData& d, const std::vector<Parameter>& parameters, size_t cold_bytes);

}  // namespace burnish::search
