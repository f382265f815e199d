// A stage's formula as a flat list of instructions that each work on a block of output elements ("lanes"), so that
// the cost of dispatch is shared by the block. Private to the evaluator.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "te/evaluate.h"
#include "te/stage.h"

namespace burnish::te {

inline constexpr int block_lanes = 256;

// The values of one expression in all lanes. Exactly one vector is in use, by the dtype: f for F16, BF16 and F32,
// d for F64, i for integers (wrapped to their type) and Bool.
struct Register {
  DType dtype;
  std::vector<float> f;
  std::vector<double> d;
  std::vector<int64_t> i;
  explicit Register(DType t);
  Scalar get(int lane) const;
  void set(int lane, const Scalar& s);
};

// An affine form: `base` is its part over the data axes by lane, `step` the part over the reduce axes.
struct AffineSlot {
  Aff form;
  std::vector<int64_t> base;
  int64_t lo = 0, hi = 0;  // of base over the lanes
  int64_t step = 0;
};

struct AtomPlan {
  int slot, value;  // value: a register, -1 when the atom is affine
  int64_t div, mod, scale;
};

struct IndexPlan {
  int slot;
  std::vector<AtomPlan> atoms;
};

struct Instruction {
  enum class Kind : uint8_t { Affine, Load, Binary, Unary, Select, Cast, MaskAnd };
  Kind kind;
  uint8_t op = 0;
  bool invert = false;     // MaskAnd: of the negated condition
  int out = -1, a = -1, b = -1, c = -1;
  int mask = -1;           // Load: lanes that are wanted; the others are neither read nor checked
  uint32_t from = 0;
  std::vector<IndexPlan> dims;
  std::vector<int64_t> extents, strides;
  int flat = -1;           // slot of the flat position when all indices are affine
};

using Code = std::vector<Instruction>;

// All formulas of one stage, over shared registers.
class StageCode {
 public:
  StageCode(const StageGroup& g, const Stage& s, std::span<const Tensor> storage, bool in_double);

  void set_block(std::span<const std::vector<int64_t>> axis_values, int lanes);  // by axis
  void set_reduce_point(std::span<const int64_t> values);                        // by raxis
  void run(const Code& code);
  void combine_body();  // accumulator (+)= body
  void reset_accumulator();

  Code init, body, finish;
  int init_register = -1, body_register = -1, finish_register = -1;
  int accumulator = -1;
  Register& operator[](int r) { return registers_[static_cast<size_t>(r)]; }
  DType type_of(DType t) const { return in_double_ && is_float(t) ? DType::F64 : t; }

 private:
  int compile(const Expr& e, int mask, Code& code);
  int compile_load(const Expr& e, int mask, Code& code);
  IndexPlan plan(const Index& index, int mask, Code& code);
  int slot(const Aff& form);
  int fresh(DType t);
  void run_affine(const Instruction& in);
  void run_load(const Instruction& in);
  int64_t index_at(const IndexPlan& p, int lane) const;

  const StageGroup& group_;
  const Stage& stage_;
  std::span<const Tensor> storage_;
  bool in_double_;
  int lanes_ = 0;
  Scalar neutral_;
  std::vector<Register> registers_;
  std::vector<AffineSlot> slots_;
  std::map<std::pair<const ExprNode*, int>, int> done_;  // by expression and mask, within one formula
};

}  // namespace burnish::te
