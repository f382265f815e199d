// One loop Function -> one LLVM function. Loops that stay loops are `levels`; unrolled loops are expanded, vectorized
// loops become straight code over lanes, register buffers become SSA values.
//
// Everything that costs instructions is placed once, as far out as its variables allow: an index is cut by the level of
// its variables, and the pointer of each prefix stands in the preheader of the loop inside which it does not change
// (address.cpp). So a k loop holds loads with displacements, FMAs and its counter. LLVM runs no passes that could help.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "expr/interval.h"
#include "loop/program.h"
#include "target/llvm/frame_memory.h"
#include "target/llvm/isa.h"
#include "target/llvm/math.h"

namespace burnish::llvm_target {

// void kernel(ptr params..., ptr scratch, ptr shared, ptr host, i32 thread, i32 threads)
llvm::FunctionType* kernel_type(llvm::LLVMContext& c, size_t params);
std::string kernel_symbol(const Function& f, size_t position);
llvm::Function* generate(const Function& f, llvm::Module& m, const std::string& symbol, const Isa& isa,
                         const std::vector<Function>* program = nullptr);
void set_attributes(llvm::Function& f, const Isa& isa);

// A value of an expression: one for all lanes, or one a lane.
struct Val {
  llvm::Value* v = nullptr;
  bool lanes = false;
};

// The condition under which an expression is evaluated: loads must not leave their buffers where it does not hold.
struct Guard {
  llvm::Value* uniform = nullptr;  // i1
  int depth = 0;                   // of `uniform`
  llvm::Value* mask = nullptr;     // i1 a lane
};

// A scalar i64 or i1 and the number of levels that it depends on.
struct Placed {
  llvm::Value* v = nullptr;
  int depth = 0;
};

// k * v, v being a loop variable, a let or an atom.
struct Part {
  llvm::Value* v;
  int64_t k;
  int depth;
  Interval range;
};

// A position: sum of parts (by depth) + c + lane * (number of the lane). `scattered`: an atom differs between lanes.
struct Position {
  std::vector<Part> parts;
  int64_t c = 0, lane = 0;
  int depth = 0;
  bool scattered = false;
  Interval range{0, 0}, plain{0, 0};  // over all lanes; plain: without facts of conditions
};

class Codegen {
 public:
  Codegen(const Function& f, llvm::Module& m, const std::string& symbol, const Isa& isa,
          const std::vector<Function>* program, const std::set<BufferId>& demoted);
  llvm::Function* run();

  // A register buffer that is accessed by different widths at one place, or at a place that is no constant.
  struct NotPromotable {
    BufferId buffer;
  };

 private:
  using Key = std::vector<uint64_t>;
  struct Scope_ {
    std::vector<Key> values;  // memo entries that die with it
  };
  struct Binding {
    enum Kind { Unbound, Constant, Form, Value, Lane } kind = Unbound;
    int64_t constant = 0;        // Constant; Lane: the first lane's value
    Aff form;                    // Form: over outer variables
    llvm::Value* v = nullptr;    // Value
    int depth = 0;
  };
  struct Level {
    llvm::Instruction* preheader = nullptr;  // its terminator
    size_t scope = 0;                        // the innermost scope that the preheader is in
    size_t branches = 0;                     // conditions open at the preheader
    std::vector<bool> written;               // buffers stored to inside
    int hoisted = 0;
    bool leaf = false;
    llvm::BasicBlock *header = nullptr;
    llvm::PHINode* counter = nullptr;
    llvm::Value* start = nullptr;
    std::vector<std::pair<llvm::PHINode*, int64_t>> pointers;  // advanced by bytes each iteration
  };
  // An unrolled loop of as many iterations as a vector may have lanes.
  struct Unrolled {
    VarId var;
    int64_t extent;
    int levels;
    size_t branches;
    std::vector<bool> written;  // buffers stored to inside
    // Squares of elements, by buffer and position of the first: a vector of lanes for each iteration.
    std::map<Key, std::vector<llvm::Value*>> squares;
  };
  struct Memo {
    llvm::Value* v;
    BufferId buffer;
    bool is_load;
    size_t scope = 0;
    int64_t fences = 0;  // stood before it
  };

  // statements.cpp
  void emit(const Stmt& s);
  void emit_store(const Stmt& s);
  void emit_if(const Stmt& s);
  void emit_while(const Stmt& s);
  void emit_let(const Stmt& s);
  void emit_alloc(const Stmt& s);
  void emit_call(const Stmt& s);
  void emit_barrier();
  void on_thread_0(const std::function<void()>& body);
  void branch(llvm::Value* condition, const std::function<void()>& then,
              const std::function<void()>& otherwise = {});
  std::vector<bool> stored_buffers(const Stmt& s);

  // loops.cpp
  void emit_for(const Stmt& s);
  void emit_rolled(const Stmt& s);
  void emit_unrolled(const Stmt& s);
  void emit_vectorized(const Stmt& s);
  // Runs `make` for that many values of the variable at once.
  llvm::Value* in_lanes(VarId v, int64_t first, int lanes, const std::function<llvm::Value*()>& make);
  bool emit_lane_reduction(const Stmt& s);
  void emit_iteration(const Stmt& s, int64_t value);
  struct Limits {
    Placed lo, hi;           // hi exclusive
    Interval range;          // of the variable
    bool nonempty = false;   // always at least one iteration
  };
  Limits limits_of(const ForStmt& loop);
  Placed ceil_of(const Bound& b);
  bool vectorizable(const Stmt& body, std::vector<VarId> moving);
  bool touches_registers(const Stmt& s);

  // placement.cpp
  void push_scope() {
    scopes_.emplace_back();
    fresh_.clear();
  }
  void pop_scope();
  llvm::Value* recall(const Key& k) const;
  void remember(Key k, llvm::Value* v, size_t scope, BufferId b = ~0u, bool is_load = false);
  void forget_loads(BufferId b);
  int level_count() const { return int(levels_.size()); }
  // Runs `make` with the builder where a value of that depth belongs; memoised under `key`.
  Placed place(int depth, Key key, const std::function<llvm::Value*()>& make);
  size_t scope_of(int depth) const;

  // address.cpp
  Aff normal(const Aff& a) const;
  Index simplified(const Index& i);
  void add_atom(Index& to, const Atom& atom);
  Position position(const Index& i, const Guard& g);
  Placed value_of(const Position& p);            // without the lane part
  Placed value_of(const Index& i);
  Val lanes_of(const Index& i, const Guard& g);  // as i64, with lanes
  Placed divided(const Atom& a, Placed x, Interval range);
  struct Address {
    llvm::Value* base;
    int64_t displacement;  // bytes
    int depth;
  };
  Address address(BufferId b, const Position& p, const Guard& g, int64_t bytes, const Expr* fill);
  Address advance(Address from, BufferId b, const Position& p, int from_depth, int to_depth);
  llvm::Value* pointer(const Address& a);
  llvm::Value* fill_memory(DType t, const Expr* fill, int64_t bytes);

  // memory.cpp
  Val gen_load(BufferId b, const Index& flat, const Guard& g, const Expr* fill = nullptr);
  std::optional<Val> load_transposed(BufferId b, const Index& flat, const Position& p);
  Val load_lanes_singly(BufferId b, const Index& flat, const Guard& g, const Expr* fill);
  void fence();
  llvm::Value* still_held(const Key& k);
  void hold(const Key& k);
  llvm::Value* load_at(BufferId b, const Address& a, bool lanes, const Guard& g, const Expr* fill);
  void store(BufferId b, const Index& flat, Val value);
  llvm::AllocaInst* slot(BufferId b, const Index& flat, bool* lanes);
  bool in_registers(BufferId b) const;
  llvm::Value* base_of(BufferId b);
  void annotate(llvm::Instruction* i, BufferId b);
  llvm::Type* memory_type(DType t, bool lanes);
  llvm::Type* value_type(DType t, bool lanes);
  llvm::Value* from_memory(DType t, llvm::Value* v);
  llvm::Value* to_memory(DType t, llvm::Value* v);

  // expressions.cpp
  Val gen(const Expr& e, const Guard& g = {});
  Val gen_node(const Expr& e, const Guard& g);
  Val gen_binary(const Expr& e, const Guard& g);
  std::optional<Val> gen_silu(const Expr& e, const Guard& g);
  Val gen_add(const Expr& e, const Guard& g);
  Val gen_unary(const Expr& e, const Guard& g);
  llvm::Value* combine(BinaryOp op, llvm::Value* x, llvm::Value* y);  // floats, by an operation that reductions have
  Val gen_select(const Expr& e, const Guard& g);
  Val gen_cast(const Expr& e, const Guard& g);
  Val gen_call(const Expr& e, const Guard& g);
  Val gen_const(const Expr& e);
  bool needs_guard(const Expr& e);
  bool used_once(const Expr& e) const;
  void count_uses(const Expr& e);
  // Runs `f` for each lane of the piece as if it were the only one.
  void each_lane(const std::function<void(int)>& f);
  llvm::Value* with_lanes(const Val& v);
  llvm::Value* splat(llvm::Value* v);
  // Both with lanes if one has; true when they have.
  bool match(Val& a, Val& b);

  // conditions.cpp
  struct Condition {
    std::optional<bool> known;
    Val v;
    int depth = 0;
  };
  Condition condition(const Expr& e, const Guard& g);
  std::optional<Condition> compare_indices(const Expr& e);
  Guard both(const Guard& g, const Condition& c, bool negated);
  // Facts that hold where `e` does; returns how many there were before.
  size_t assume(const Expr& e);

  llvm::IRBuilder<>& b() { return builder_; }
  std::string where() const;

  const Function& f_;
  const std::vector<Function>* program_;
  const std::set<BufferId>& demoted_;
  Isa isa_;
  llvm::Module& module_;
  llvm::LLVMContext& context_;
  llvm::IRBuilder<> builder_;
  llvm::Function* fn_ = nullptr;
  MathGen math_;
  llvm::Value *scratch_ = nullptr, *shared_ = nullptr, *host_ = nullptr, *thread_ = nullptr, *threads_ = nullptr;
  llvm::Instruction* entry_end_ = nullptr;  // allocas go before it

  Ranges ranges_;
  std::vector<Binding> bindings_;
  std::vector<Level> levels_;
  std::vector<Unrolled> unrolled_;
  std::vector<Scope_> scopes_;
  std::map<Key, Memo> memo_;
  int64_t statements_ = 0;    // emitted so far
  size_t branches_ = 0;       // conditions open: code here may not run
  bool in_parallel_ = false;  // or on thread 0 alone
  int natural_lanes_ = 4;     // of a vector of the function's widest float
  int lanes_ = 1;             // of the piece of a vector loop that is being emitted
  bool vector_ = false;       // inside a vector loop
  VarId lane_var_ = 0;

  std::vector<llvm::Value*> bases_;  // by BufferId
  std::vector<int64_t> offsets_;     // bytes from the base
  FrameAllocator memory_;
  struct Slot {
    llvm::AllocaInst* alloca;
    int lanes;  // 0: one element
  };
  std::map<std::pair<BufferId, int64_t>, Slot> slots_;  // of the buffers that are allocated
  std::vector<llvm::AllocaInst*> promoted_;             // of all that were
  std::map<std::pair<BufferId, int64_t>, int64_t> slot_of_element_;  // -> first element of its slot
  int64_t live_registers_ = 0;  // vectors
  std::vector<Key> fresh_;       // loads of this scope that registers still hold, the last used at the end
  int64_t fences_ = 0;
  std::map<std::pair<uint64_t, int64_t>, llvm::Value*> fills_;
  std::map<std::pair<llvm::Value*, int>, llvm::Value*> splats_;
  std::unordered_map<const ExprNode*, int> uses_;
  std::unordered_map<const ExprNode*, bool> needs_guard_;
  struct Done {
    Expr e;  // keeps the node alive: the address is the key
    Val v;
  };
  std::map<std::pair<const ExprNode*, std::pair<llvm::Value*, llvm::Value*>>, Done> done_;
  std::vector<llvm::MDNode*> scope_lists_, noalias_lists_;
};

}  // namespace burnish::llvm_target
