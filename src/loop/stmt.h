// Statements of the loop IR. Immutable nodes behind value-like handles; loads and stores name
// buffers of the enclosing Function and have one flat index (elements): an affine form of loop
// variables plus atoms.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "expr/expr.h"

namespace burnish {

using BufferId = uint32_t;

enum class StmtKind : uint8_t { For, Let, Alloc, Store, Seq, If, While, Barrier, Call };

// serial: in order. unroll: expanded by code generation (constant bounds where registers are
// indexed by it). vectorize: iterations at once, in lanes; constant bounds; every access has stride
// 0 or 1 in the variable, or is gathered. parallel: iterations are independent; thread t of T runs
// the t-th of T nearly equal contiguous shares; on a GPU each is a block. thread: inside a parallel
// loop; iterations at once, by the threads of a GPU's block. Where such loops are nested, their
// variables are the digits of the thread's number, the innermost the fastest; those that follow one
// another are run by the same threads. What stands beside them is run by the block's first thread.
// tensor: in order, a sum of products that the threads of a warp compute by matrix instructions (loop/matrix_sum.h).
enum class LoopKind : uint8_t { Serial, Unroll, Vectorize, Parallel, Thread, Tensor };
std::string_view name_of(LoopKind k);

// ceil(a / div)
struct Bound {
  Aff a;
  int64_t div = 1;
  friend bool operator==(const Bound&, const Bound&) = default;
};

class Stmt;

struct ForStmt {  // for v in max(0, lower...) .. min(extent, upper...)
  VarId var;
  LoopKind kind = LoopKind::Serial;
  int64_t extent;
  std::vector<Bound> lower, upper;
  // Of a block's copies to its memory. Not -1: those of an iteration are a group, and a barrier among the loop's own statements
  // waits for all groups but the last so many, whose places nobody reads before another barrier. -1: barriers wait for all.
  int64_t in_flight = -1;
};

struct StmtNode;

class Stmt {
 public:
  Stmt() = default;
  explicit Stmt(std::shared_ptr<const StmtNode> n) : node_(std::move(n)) {}
  explicit operator bool() const { return node_ != nullptr; }
  bool same_as(const Stmt& o) const { return node_ == o.node_; }
  const StmtNode& operator*() const { return *node_; }
  const StmtNode* operator->() const { return node_.get(); }
  StmtKind kind() const;
  std::span<const Stmt> children() const;
  Stmt with_children(std::span<const Stmt> children) const;

 private:
  std::shared_ptr<const StmtNode> node_;
};

struct StmtNode {
  StmtKind kind = StmtKind::Seq;
  std::vector<Stmt>
      children;   // For, Let, Alloc, While: the body; Seq: all; If: then, otherwise (optional)
  ForStmt loop;   // For
  VarId var = 0;  // Let
  Index index;    // Let: the variable's value; Store: the flat position
  BufferId buffer = 0;     // Alloc, Store
  Expr value;              // Store: the value; If, While: the condition (Bool)
  std::string callee;      // Call: an intrinsic or a function of the program
  std::vector<Expr> args;  // Call
};

Stmt make_for(ForStmt loop, Stmt body);
Stmt make_let(VarId v, Index value, Stmt body);
Stmt make_alloc(BufferId b,
                Stmt body);  // the buffer lives during the body; its content is undefined at first
Stmt make_store(BufferId b, Index at, Expr value);
Stmt make_seq(std::vector<Stmt> stmts);  // flattens; the only statement itself where there is one
Stmt make_if(Expr condition, Stmt then, Stmt otherwise = {});
Stmt make_while(Expr condition, Stmt body);
// All threads of the run; inside a parallel loop, outside its thread loops, those of the block.
Stmt make_barrier();
Stmt make_call(std::string callee, std::vector<Expr> args);

bool equal(const Stmt& a, const Stmt& b);
// Bottom up; `f` returns a replacement or a null Stmt. An empty Seq (make_seq({})) deletes a
// statement of a Seq.
Stmt rewrite(const Stmt& s, const std::function<Stmt(const Stmt&)>& f);
// `f` meets every node of every expression, operands first, as in rewrite(Expr); including values
// inside indices.
Stmt rewrite_exprs(const Stmt& s, const std::function<Expr(const Expr&)>& f);
void visit(const Stmt& s, const std::function<void(const Stmt&)>& f);  // pre-order
bool has_loop(const Stmt& s, LoopKind kind);  // itself or inside

}  // namespace burnish
