// Private to c_like: one kernel's text. statements.cpp prints loops, values.cpp expressions.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <unordered_map>

#include "expr/interval.h"
#include "target/c_like/block_memory.h"
#include "target/c_like/kernel.h"
#include "target/c_like/matrix.h"

namespace burnish::c_like {

std::string sanitized(std::string_view name);
std::string binary_text(BinaryOp op, DType t, const std::string& a, const std::string& b);
std::string number(const Expr& constant);
std::string of_type(const char* function, DType half);  // values.cpp. Its name for f16 or bf16
std::string unsigned_text(std::string_view op, const std::string& a, int64_t b);  // values.cpp. A quotient or remainder
bool is_relu(const Expr& e);  // values.cpp. Of f32
bool is_zero(const Expr& e);  // copies.cpp. The constant +0 of f32, f16 or bf16: all bits are 0

Index simplified(const Index& i, const Ranges& ranges);  // matrix_tiles.cpp. Without quotients and remainders that ranges decide

// What the lanes of a vectorized loop hold, as expressions: one for all, or one each.
using Lanes = std::vector<std::string>;
inline constexpr std::string_view kAlways = "true", kNever = "false";  // conditions of a lane that are known

// registers.cpp. Of every `apart` elements the first `used` are; from the smallest, each in units of the one before.
struct Gap {
  int64_t apart, used;
};
std::vector<Gap> gaps_of(const Stmt& s, BufferId b);
Aff without_gaps(const Aff& place, std::span<const Gap> gaps);

class Printer {
 public:
  // Registers of buffers from `own_buffers` on, which are but held (early_loads), are not counted.
  Printer(const Function& f, const Dialect& d, size_t own_buffers);

  // The kernel will have this parallel loop: all of them are announced before the first is printed, since blocks have the threads of
  // the one that wants most.
  void expect(const Stmt& loop);
  // A parallel loop whose iterations are blocks, with `block` as the number of the iteration.
  void block_loop(const Stmt& loop, const std::string& block);
  // Two such loops one after the other, whose blocks, `cluster` neighbours, meet in between.
  void clustered(const Stmt& before, const Stmt& after, int cluster);
  // The kernel waits for those before it no sooner than before its first statement that does more than copy constants, of a block's: there
  // stands the mark.
  void wait_late() { waits_ = true; }
  static constexpr std::string_view wait_mark = "  // waits here\n";
  // Statements of no parallel loop: one thread's.
  void lone(const Stmt& s);
  int threads() const { return threads_; }
  int64_t block_bytes() const { return block_bytes_; }
  bool halves() const { return halves_; }
  bool bfloats() const { return bfloats_; }
  const std::set<std::string>& helpers() const { return helpers_; }
  int64_t registers() const { return registers_; }
  std::vector<BufferId> args() const;
  std::string buffer_name(BufferId b) const { return buffers_.at(b); }
  std::string take();

  void line(std::string_view text);
  void open(std::string_view text);  // a line that ends in "{"
  void close(std::string_view text = "}");
  void open_if(const std::string& condition);  // a branch: loads in it happen where it holds, wherever compilers put them
  void open_else();
  void close_if();

 private:
  // branches.cpp
  // A branch, in front of which a mark with its number stands in the text: for a variable of its condition, where that is used.
  static constexpr char branch_mark = '\x01';
  struct Branch {
    std::string declaration;
    bool used = false;
  };
  struct OpenBranch {
    size_t number;
    bool holds;  // or it is what is done otherwise
  };
  std::string and_branches(std::string condition);  // with those of all branches by open_if, of which compilers do not know that they hold

  // statements.cpp
  void statement(const Stmt& s);
  void loop(const Stmt& s);
  void thread_loop(const Stmt& s);
  void vector_loop(const Stmt& s);
  void plain_loop(const Stmt& s);
  void sum_of_threads(const Stmt& s);
  void alloc(const Stmt& s);
  void store(const Stmt& s);
  static bool rounds_again(const Stmt& s);  // copies.cpp
  static bool only_rounds_again(const Stmt& s);
  bool may_copy(const Stmt& s) const;
  bool copied(const Stmt& s);
  void barrier();
  void wait_for_copies();
  void group_copies();
  void alone(const Stmt& s);  // by the block's first thread
  std::string limit(const char* function, int64_t constant, const std::vector<Bound>& bounds);
  std::string bound(const Bound& b) const;
  std::string within_bounds(const ForStmt& l, std::string condition = "") const;  // and what else has to hold
  bool accesses_registers(const Stmt& s) const;
  bool computable(const Stmt& body);  // whatever bounds its loop has
  std::string also_where(const std::string& condition);  // stores happen where that holds, too; what was there before
  bool harmless(const Stmt& loop);
  void open_unrolled(const ForStmt& l);
  void enter(const ForStmt& loop);

  // matrix.cpp
  void tensor_loop(const Stmt& s);
  bool tensor_pipeline(const Stmt& loop);  // prints it where operands are to be fetched ahead
  void enter_tensor(TensorLoop& t);
  void tensor_sums(const TensorLoop& t);
  size_t registers_of(const TensorLoop& t) const;
  Lanes tensor_operand(const TensorLoop& t, const Expr& e, std::optional<int64_t> row);
  Ahead loaded_apart(const Expr& operand, bool rows, std::span<const ForStmt> loops);  // of which it moves with some
  void load_ahead(const TensorLoop& t, const Ahead& x, const std::string& name);
  void open_tiles(std::span<const ForStmt> loops);
  void close_tiles(size_t loops);

  // warpgroup.cpp
  const Expr* swizzled_operand(const MatrixSum& m, const Expr& e, VarId warp) const;
  std::optional<WarpgroupSum> warpgroup_sum(const Stmt& tensor_loop) const;
  bool only_warpgroup_sums(const Stmt& s) const;
  bool warpgroup_sums(const Stmt& s);
  void finish_warpgroup_sums();
  void warpgroup_loop(const WarpgroupSum& w);

  // exchange.cpp
  struct Held {
    int64_t after = 0;  // whose it is: of the thread so many behind the running one
    Index own;          // in registers of that
  };
  Held held(BufferId b, const Index& i) const;
  void exchange(const TensorLoop& t);
  Expr own_columns(const TensorLoop& t, const Expr& b) const;
  Lanes exchanged(BufferId b, const Index& i);
  int64_t in_a_register(BufferId b) const;  // elements
  std::string register_type(BufferId b) const;
  Lanes registers_of_pairs(const Index& own);
  Lanes halves_of(BufferId b, const std::string& registers, const Index& own);

  // matrix_tiles.cpp
  void find_tiles(TensorLoop& t);
  const Expr* rows_of_pieces(const MatrixSum& m, const Expr& e) const;
  bool columns_apart(const TensorLoop& t, const Expr& load) const;
  Lanes tiles_at(const Expr& load, int tiles, const std::function<const Aff*(VarId)>& at);
  std::pair<Lanes, Lanes> loaded_tiles(const TensorLoop& t);
  Lanes loaded_tiles_b(const TensorLoop& t);
  Lanes operand_in_eights(const TensorLoop& t, const Expr& e, std::optional<int64_t> row);

  // cluster_memory.cpp
  void keep(BufferId b, int64_t elements);
  void keep_pieces(const Stmt& before, const Stmt& after);
  void copy_early(const Stmt& before, const Stmt& after);
  Lanes places_of_cluster(BufferId b, const Index& i);  // in the piece of the block that writes it, or in a neighbour's

  // values.cpp
  Lanes value(const Expr& e);
  Lanes computed(const Expr& e);
  Lanes half_pairs(const Expr& e, DType type);
  void note(DType t);  // that the kernel has numbers of that type
  Lanes all_within(std::span<const Index> conditions);
  Lanes selected(const Expr& e);
  Lanes each(const Lanes& a, const Lanes& b, const std::function<std::string(const std::string&, const std::string&)>& f);
  std::string temporary(DType t, const std::string& init);
  std::string aff(const Aff& a) const;
  Lanes index(const Index& i);  // by lane
  void count_uses(const Expr& root);
  [[noreturn]] void unsupported(std::string_view what) const;

  // loads.cpp
  Lanes places(BufferId b, const Index& i);
  std::string place(BufferId b, const Index& i);  // of one lane
  int vector_width(BufferId b, const Index& i) const;
  Index own_part(BufferId b, const Index& i);  // of registers: without what selects the thread
  bool constant_memory(BufferId b) const;
  bool always_inside(BufferId b, const Index& i) const;
  bool loads_where(const Expr& select) const;
  Lanes loaded_where(Lanes inside, const Expr& load, const Expr& other);
  Lanes loaded_at(const Expr& e, const Lanes& inside);
  void load_before(const Expr& arm);
  bool loads_nothing(const Expr& arm) const;

  const Function& f_;
  const Dialect& d_;
  size_t own_buffers_;
  std::vector<std::string> vars_, buffers_;
  Ranges ranges_;
  std::vector<bool> is_thread_;             // variables of thread loops
  std::set<VarId> unrolled_;                // of loops that compilers expand: constants to them
  std::set<BufferId> touched_;
  std::set<BufferId> rounded_again_;        // after they were copied
  bool rounding_ = false;                   // these
  std::vector<std::vector<Gap>> register_gaps_;
  std::vector<int64_t> register_size_;      // elements of each buffer in registers that are used
  std::map<std::pair<BufferId, int64_t>, std::string> exchanged_;  // Held::after: an array of what that thread has
  std::vector<int64_t> block_offset_;       // in the block's memory; -1: not there
  std::string out_;
  std::string where_;                       // stores happen; empty: everywhere
  int indent_ = 1, temporaries_ = 0;
  std::vector<Branch> branches_;
  std::vector<OpenBranch> open_branches_;
  int threads_ = 1;
  int64_t block_bytes_ = 0;                 // of the kernel
  BlockMemory memory_;                      // of the parallel loop at hand
  std::map<BufferId, int64_t> kept_;        // what lies in the block's memory over several of them, from its beginning on; by offset
  int64_t kept_bytes_ = 0;
  struct Piece {
    int64_t elements;
    int64_t cluster;              // of blocks that read it; 0: it is being written
    VarId block;                  // the loop that writes it
  };
  std::map<BufferId, Piece> pieces_;        // what a cluster's blocks hand on in their memory
  std::vector<Stmt> early_;                 // printed already
  int64_t registers_ = 0;  // of a thread, for arrays at once
  bool waits_ = false;                      // for kernels before, when it comes to what needs that
  bool has_threads_ = false, in_threads_ = false, copies_ = false, halves_ = false, bfloats_ = false;
  int64_t in_flight_ = -1;                  // of the loop of the block's statements at hand
  bool started_ = false, grouped_ = true;   // that has started to copy, and what it has started is a group
  Stmt phase_;                              // the outermost thread loop around
  std::string number_;                      // the thread's number, within the thread loops around
  std::vector<ForStmt> thread_loops_;       // around
  std::optional<VarId> lane_;
  bool in_operand_ = false;                 // of a matrix instruction
  WarpgroupLoops* warpgroups_ = nullptr;    // around
  std::set<std::string> unfinished_sums_;   // that are on their way, as arguments
  std::set<std::string> helpers_;           // definitions of functions that the kernel needs besides the prelude
  int lanes_ = 1;
  std::unordered_map<const ExprNode*, int> uses_;
  std::vector<std::unordered_map<const ExprNode*, Lanes>> done_;  // by nesting of conditions
};

}  // namespace burnish::c_like
