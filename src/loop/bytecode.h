// What the interpreter runs: each statement's expressions as a short list of register instructions.
// Private to src/loop.
#pragma once

#include <cstdint>
#include <vector>

#include "loop/program.h"

namespace burnish::loop {

// A register or an element of a buffer. Floats of every type are held as the double of the same
// value.
union Cell {
  int64_t i;
  double f;
};

enum class Op : uint8_t {
  Affine,      // out = aff
  Atom,        // out += scale * (((a [+ b]) / div) mod m)
  Load,        // out = buffer[a]
  LoadAffine,  // out = buffer[aff]
  Add32,
  Sub32,
  Mul32,
  Div32,
  Min32,
  Max32,  // floats rounded to f32
  Add64,
  Sub64,
  Mul64,
  Div64,
  Min64,
  Max64,
  AddInt,
  SubInt,
  MulInt,
  GeInt,
  LtInt,
  EqInt,  // of I64
  AndBool,
  Binary,
  Unary,
  Cast,       // all others: through evaluate()
  Move,       // out = a
  Jump,       // to target
  JumpIfNot,  // to target, unless a
  Need,       // run deferred[target], unless it ran for this evaluation
  CallMath,   // intrinsic: out = fma(a, b, c)
};

struct Instruction {
  Op op;
  uint8_t which = 0;        // BinaryOp or UnaryOp
  DType from = DType::F32;  // operands
  DType to = DType::F32;    // result of Cast
  int32_t out = 0, a = 0, b = 0, c = 0;
  uint32_t target = 0;  // Jump, JumpIfNot, Need; the buffer of a Load; the row of an Atom
  uint32_t aff = 0;
};

struct Range {
  uint32_t begin = 0, end = 0;
};

struct AffCode {
  Range terms;
  int64_t c = 0;
};

struct AtomRow {
  int64_t div, mod, scale;
  bool has_value;
};

struct Deferred {  // evaluated once, when first needed
  Range code;
};

struct BoundCode {
  uint32_t aff;
  int64_t div;
};

struct Node {
  const StmtNode* source = nullptr;
  std::vector<uint32_t> children;
  Range code;            // Let: the value; Store: position and value; If, While: the condition
  int32_t a = 0, b = 0;  // registers: Let a; Store a = position, b = value; If, While a
  bool affine = false;   // Store: the position is the affine form `aff` instead
  uint32_t aff = 0;
  std::vector<BoundCode> lower, upper;
  uint32_t callee = 0;  // Call: a function of the program
  struct Arg {
    BufferId buffer;
    uint32_t aff;
  };
  std::vector<Arg> args;
};

struct Code {
  const Function* function = nullptr;
  std::vector<Instruction> code;
  std::vector<Term> terms;
  std::vector<AffCode> affs;
  std::vector<AtomRow> atoms;
  std::vector<Deferred> deferred;
  std::vector<Node> nodes;
  std::vector<Cell> constants;  // copied to the registers from constant_base on
  uint32_t root = 0;
  int32_t constant_base = 0, registers = 0;
  bool has_parallel = false, has_threads = false;
};

// `callees`: the functions that Call statements may name. InternalError for what cannot be
// interpreted.
Code compile(const Function& f, bool in_double, const std::vector<Function>* callees = nullptr);

}  // namespace burnish::loop
