#include "cuda/kernels.h"

#include <cmath>
#include <cstring>
#include <random>

#include "expr/half.h"
#include "loop/interpreter.h"

namespace burnish::cuda_test {

using cuda_target::Precision;

namespace {

// Kernels that hand each other what is no parameter do so in a program's arena.
bool run(On machine, const Function& f, Precision precision, const std::vector<void*>& args, bool reversed, int64_t cluster) {
  if (std::ranges::none_of(f.buffers, [](const Buffer& b) { return b.scope == Scope::Shared; })) return run_function(machine, f, precision, args, reversed);
  Program p;
  p.functions.push_back(f);
  Step step{.function = 0, .args = {}, .offsets = {}, .sources = {}, .schedule = {}};
  std::vector<const void*> inputs;
  std::vector<size_t> outputs;
  for (size_t i = 0; i < f.params.size(); ++i) {
    const Buffer& b = f.buffers[f.params[i]];
    const auto tensor = static_cast<uint32_t>(i);
    p.tensors.push_back({.name = b.name, .kind = b.written ? TensorKind::Output : TensorKind::Input, .dtype = b.dtype, .shape = {b.size}, .size = b.size, .data = {}});
    (b.written ? p.outputs : p.inputs).push_back(tensor);
    if (b.written)
      outputs.push_back(i);
    else
      inputs.push_back(args[i]);
    step.args.push_back(tensor);
  }
  p.steps.push_back(std::move(step));
  const auto results = run_program(machine, p, precision, inputs, reversed, cluster);
  for (size_t o = 0; o < results.size(); ++o) std::memcpy(args[outputs[o]], results[o].data(), results[o].size());
  return results.size() == outputs.size();
}

// Numbers of memory that is random bits: halves and floats between -1 and 1.
void fill(std::vector<char>& m, DType t, std::mt19937_64& random) {
  const auto put = [&](size_t at, auto bits) { std::memcpy(&m[at], &bits, sizeof bits); };
  for (size_t at = 0; at < m.size(); at += static_cast<size_t>(size_of(t))) {
    if (t == DType::F16)
      put(at, static_cast<uint16_t>((random() & 0x83ff) | (10 + random() % 5) << 10));
    else if (const float x = std::uniform_real_distribution<float>(-1, 1)(random); t == DType::BF16)
      put(at, bfloat_of_float(x));
    else
      put(at, t == DType::TF32 ? tf32_of_float(x) : x);
  }
}

double number(const std::vector<char>& m, DType t, size_t k) {
  if (t == DType::F16) {
    uint16_t bits = 0;
    std::memcpy(&bits, &m[2 * k], 2);
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 31) return NAN;
    const double size = exponent ? std::ldexp(fraction + 1024, exponent - 25) : std::ldexp(fraction, -24);
    return bits & 0x8000 ? -size : size;
  }
  if (t == DType::BF16) {
    uint16_t bits = 0;
    std::memcpy(&bits, &m[2 * k], 2);
    return double{float_of_bfloat(bits)};
  }
  float x = 0;
  std::memcpy(&x, &m[4 * k], 4);
  return double{x};
}

}  // namespace

void Kernels::expect_right(const schedule_test::Case& c, const std::string& what, Precision precision, int64_t cluster) const {
  SCOPED_TRACE(what);
  const Function f = schedule_test::lowered(c.schedule);
  std::mt19937_64 random(schedule_test::seed());
  std::vector<std::vector<char>> memory;
  std::vector<void*> args;
  const auto type = [&](size_t param) { return f.buffers[f.params[param]].dtype; };
  for (size_t i = 0; i < f.params.size(); ++i) {
    ASSERT_TRUE(type(i) == DType::F32 || type(i) == DType::TF32 || is_half(type(i)));
    auto& m = memory.emplace_back(static_cast<size_t>(f.buffers[f.params[i]].size * size_of(type(i))));
    if (!f.buffers[f.params[i]].written) fill(m, type(i), random);
  }
  for (auto& m : memory) args.push_back(m.data());
  interpret(f, args);
  const auto expected = memory;
  for (const bool reversed : orders_on(GetParam())) {
    for (size_t i = 0; i < memory.size(); ++i)
      if (f.buffers[f.params[i]].written) std::ranges::fill(memory[i], char(0xff));  // NaN
    ASSERT_TRUE(run(GetParam(), f, precision, args, reversed, cluster));
    for (size_t i = 0; i < memory.size(); ++i) {
      double worst = 0;
      for (size_t k = 0; k < memory[i].size() / static_cast<size_t>(size_of(type(i))); ++k) {
        const double wanted = number(expected[i], type(i), k), error = std::abs(number(memory[i], type(i), k) - wanted) / (1 + std::abs(wanted));
        worst = std::isnan(error) ? INFINITY : std::max(worst, error);
      }
      // Sums that differ in their last places may be rounded to neighbours in bf16. Factors that are f32 lose 8 times as much there as in f16.
      const bool rounds = precision == Precision::Bf16 && type(0) == DType::F32;
      EXPECT_LT(worst, rounds ? 8e-2 : type(i) == DType::BF16 || precision != Precision::Strict ? 1e-2 : 1e-5)
          << f.buffers[f.params[i]].name << (reversed ? ", reversed\n" : "\n") 
          << cuda_target::source_of(c_like::kernels_of(f, cuda_target::dialect(precision, cluster)));
    }
  }
}

BURNISH_ON_MACHINES(Kernels);

}  // namespace burnish::cuda_test
