// Scalar expressions, shared by stages (te) and loops. Immutable nodes behind a value-like handle.
//
// Meaning. Integers wrap in two's complement; Div and Mod of integers round towards zero (as in C), FloorDiv and
// FloorMod towards minus infinity; division by zero gives 0 (no fault). Comparisons and logic give Bool. Min and Max
// propagate NaN from either side. Casts float -> integer truncate and saturate, NaN becomes 0; float -> Bool is != 0.
// Select evaluates its condition first: the arm that is not taken is never read, so a guarded Load is safe.
// Floats may be contracted (a*b+c as one fma), but are never reassociated.
// There is no vector kind: a vectorized loop is a loop (loop/stmt.h), and code generation widens its body.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expr/aff.h"
#include "expr/dtype.h"

namespace burnish {

class Expr;

// scale * (((a + value) / div) mod `mod`), floor division and floor modulo; mod 0: none.
// `value`, if set, is an integer expression (a Load of an index tensor: gather), else the atom is affine.
struct Atom;

// A position along one axis, or a flat position in a buffer: an affine form plus atoms.
struct Index {
  Aff a;
  std::vector<Atom> atoms;

  Index() = default;
  Index(Aff affine) : a(std::move(affine)) {}
  Index(int64_t c) : a(c) {}
  bool is_affine() const { return atoms.empty(); }
};

enum class ExprKind : uint8_t {
  Const,   // number(), integer() for integer types
  Affine,  // index() as an I64 value
  Load,    // element of stage or buffer `from()` at indices()
  Acc,     // the accumulator, inside a stage's finish
  Binary, Unary, Select, Cast,
  Call,    // an intrinsic named by callee()
};

enum class BinaryOp : uint8_t {
  Add, Sub, Mul, Div, Mod, FloorDiv, FloorMod, Min, Max, Pow,
  Eq, Ne, Lt, Le, Gt, Ge,  // -> Bool
  And, Or, Xor,            // Bool: logical; integers: bitwise
  Shl, Shr,                // Shr is arithmetic for signed types
};

enum class UnaryOp : uint8_t {
  Neg, Abs, Not,  // Not: Bool logical, integers bitwise
  Exp, Log, Sqrt, Rsqrt, Tanh, Sigmoid, Erf, Sin, Cos, Tan, Asin, Acos, Atan,
  Sinh, Cosh, Asinh, Acosh, Atanh,
  Floor, Ceil, Round /* half to even */, Trunc, Sign, IsNan, IsInf /* -> Bool */,
};

std::string_view name_of(BinaryOp op);  // lower case: add, floordiv, ...
std::string_view name_of(UnaryOp op);
std::optional<BinaryOp> binary_named(std::string_view name);
std::optional<UnaryOp> unary_named(std::string_view name);
bool is_comparison(BinaryOp op);

struct ExprNode;

class Expr {
 public:
  Expr() = default;
  explicit Expr(std::shared_ptr<const ExprNode> node) : node_(std::move(node)) {}

  explicit operator bool() const { return node_ != nullptr; }
  bool same_as(const Expr& o) const { return node_ == o.node_; }  // the same node
  const ExprNode* get() const { return node_.get(); }

  ExprKind kind() const;
  DType dtype() const;
  std::span<const Expr> children() const;  // operands; of a Load its fill, if any; not the values inside indices
  // The same node with other children; the handle itself when none differs.
  Expr with_children(std::span<const Expr> children) const;

  double number() const;              // Const, as double
  int64_t integer() const;            // Const of integer type or Bool
  const Index& index() const;         // Affine
  uint32_t from() const;              // Load: StageId in te, BufferId in loops
  std::span<const Index> indices() const;  // Load: one an axis in te, exactly one (flat) in loops
  const Expr& fill() const;           // Load: value outside the producer's domain (te only); null: never outside
  BinaryOp binary() const;
  UnaryOp unary() const;
  std::string_view callee() const;

 private:
  std::shared_ptr<const ExprNode> node_;
};

struct Atom {
  Aff a;
  Expr value;
  int64_t div = 1, mod = 0, scale = 1;
};

struct ExprNode {
  ExprKind kind;
  DType dtype;
  uint8_t op = 0;        // BinaryOp or UnaryOp
  uint32_t from = 0;
  double number = 0;
  int64_t integer = 0;
  std::vector<Expr> children;
  std::vector<Index> indices;  // Affine: one; Load
  std::string callee;
};

bool equal(const Expr& a, const Expr& b);  // structural
bool equal(const Index& a, const Index& b);

// Construction. Binary and unary check that the operands' types agree (InternalError) and fold constants.
Expr constant(double v, DType t = DType::F32);
Expr constant_int(int64_t v, DType t = DType::I64);
Expr affine(Index i);  // I64
inline Expr affine(VarId v) { return affine(Index(Aff::of(v))); }
Expr load(DType t, uint32_t from, std::vector<Index> indices, Expr fill = {});
Expr acc(DType t);
Expr binary(BinaryOp op, Expr a, Expr b);
Expr unary(UnaryOp op, Expr a);
Expr select(Expr condition, Expr then, Expr otherwise);
Expr cast(DType t, Expr a);
Expr call(DType t, std::string callee, std::vector<Expr> args);
// The conjunction of `index >= 0` over all indices; what guards are made of. True when there are none.
Expr all_nonnegative(std::span<const Index> indices);
// The reverse: the indices if `condition` is such a conjunction, else nothing.
std::optional<std::vector<Index>> as_nonnegative(const Expr& condition);

inline Expr operator+(Expr a, Expr b) { return binary(BinaryOp::Add, std::move(a), std::move(b)); }
inline Expr operator-(Expr a, Expr b) { return binary(BinaryOp::Sub, std::move(a), std::move(b)); }
inline Expr operator*(Expr a, Expr b) { return binary(BinaryOp::Mul, std::move(a), std::move(b)); }
inline Expr operator/(Expr a, Expr b) { return binary(BinaryOp::Div, std::move(a), std::move(b)); }
inline Expr min(Expr a, Expr b) { return binary(BinaryOp::Min, std::move(a), std::move(b)); }
inline Expr max(Expr a, Expr b) { return binary(BinaryOp::Max, std::move(a), std::move(b)); }

// Bottom up over the DAG, each node once; `f` returns a replacement or a null Expr. Goes into values inside indices.
Expr rewrite(const Expr& e, const std::function<Expr(const Expr&)>& f);
// Visits every node once, operands first, including values inside indices.
void visit(const Expr& e, const std::function<void(const Expr&)>& f);
// Replaces variables in every index.
Expr substitute(const Expr& e, const std::function<const Aff*(VarId)>& value);
Index substitute(const Index& i, const std::function<const Aff*(VarId)>& value);

// One scalar operation on constants, in the operation's type; the single definition that folding, the interpreters
// and tests share. Floats of type F32 are rounded to float, F16/BF16 likewise.
struct Scalar {
  DType dtype = DType::F32;
  double f = 0;   // floats
  int64_t i = 0;  // integers (U64 as its bits) and Bool
};
Scalar evaluate(BinaryOp op, const Scalar& a, const Scalar& b);
Scalar evaluate(UnaryOp op, const Scalar& a);
Scalar evaluate_cast(DType t, const Scalar& a);

}  // namespace burnish
