// The walk that turns stages and declarations into loops, outside in: bounds are inferred at the
// place of use, with loop variables that are already segments, so there is no second pass and no
// symbolic simplifier. Three facts keep it short: every index is affine (or covers a whole axis),
// every region is a clipped box, and the only prover is interval evaluation over the ranges of the
// open loops, sharpened by their clips (expr/interval.h). In the order of reading:
//
//   prepare.cpp    who reads what; checks of the whole schedule
//   attach.cpp     the root; allocations and producers of a loop; barriers
//   infer.cpp      regions at a loop
//   roll.cpp       rings: what earlier iterations left
//   walk.cpp       a stage's loops, segment by segment
//   segments.cpp   tails, partitions, fused loops
//   halo.cpp       fills outside the domain
//   statement.cpp  the innermost stores and their expressions
//   storage.cpp    buffers and addresses
//   block_barriers.cpp  barriers among the threads of a block
//   multi_buffer.cpp  copies some iterations ahead
#pragma once

#include <functional>
#include <map>
#include <unordered_map>

#include "schedule/nest.h"
#include "schedule/region.h"

namespace burnish::lowering {

inline constexpr int64_t kMaxLanes = 64;     // of one vector loop; code generation splits them
inline constexpr int64_t kMaxUnroll = 1024;  // iterations of one unrolled loop
inline constexpr int64_t kMaxElements = int64_t{1} << 40;  // of one buffer

using Stmts =
    std::vector<Stmt>;  // a null Stmt separates statements of which one may depend on the other

// Values of a loop: max(0, lower...) .. min(extent, upper...).
struct Domain {
  int64_t extent = 0;
  std::vector<Bound> lower, upper;
  bool varies() const { return !lower.empty() || !upper.empty(); }
};

// A stretch of an outer loop inside which the inner extent is one constant: loop = base + stride *
// outer + inner.
struct Segment {
  int64_t count, base, stride, inner;
  int64_t end = 0;                // not 0: guarded, stride * outer + inner also stays below it
  std::vector<Bound> upper = {};  // of the outer loop
};

struct Storage {
  struct Dim {
    uint32_t axis;
    int64_t div, mod, stride;
  };
  bool alive = false;
  BufferId buffer = 0;
  std::vector<Aff> lo;  // logical position of element 0, by axis
  std::vector<int64_t> ext;
  std::vector<int64_t> fold;  // 0: none
  std::vector<Dim> dims;
  int64_t size = 0;
  size_t level = 0;  // open loops where it was allocated
  std::optional<std::vector<std::pair<int64_t, int64_t>>> digits;  // registers of threads: whose element is whose
};

// A stage on its way through the loops. Loops are entered and left; the arrays are by LoopId.
struct Walk {
  StageId id;
  const Stage& stage;
  const Nest& nest;
  Box box;
  std::vector<Domain> dom;
  std::vector<std::vector<Segment>> segments;  // of split loops
  std::vector<std::pair<int64_t, int64_t>>
      chosen;                             // of split loops whose outer is entered: base, stride
  std::vector<std::optional<Aff>> value;  // of entered loops

  Walk(StageId id, const Stage& stage, const Nest& nest, Box box);
};

// The body of a function with thread loops, with barriers inside blocks where a phase (a thread loop, or what
// the first thread does alone) touches what another has touched since the last one.
Stmt with_block_barriers(const Function& f);
// In a body with such barriers: the buffers have so many slots each, which are filled ahead of what reads them.
void multi_buffers(Function& f, const std::map<BufferId, int64_t>& slots);

enum class Part : uint8_t { Main, Init, Update, Finish };

class Lowering {
 public:
  explicit Lowering(const Schedule& s);
  Function run();

 private:
  struct Limit {
    int64_t lo, hi;  // of a consumer's axis, [lo, hi): the load is reached only there
  };
  struct Reader {
    StageId consumer;
    Expr load;
    std::vector<Limit> limits;  // by axis and reduce axis
    bool narrowed;              // some limit is tighter than the domain
    bool apart;                 // read by the init or finish, which stand outside the reduce loops
  };
  struct Point {  // a loop of a stage, by its place in the order; stage kRoot: outside everything
    StageId stage;
    size_t position;
    friend bool operator==(const Point&, const Point&) = default;
  };
  static constexpr StageId kRoot = ~StageId{0};
  struct Info {
    bool live = false, output = false;
    Point compute{kRoot, 0}, store{kRoot, 0};
    std::vector<Reader> readers;
    std::vector<Expr> fills;  // of readers, distinct
  };
  struct Open {
    VarId var;
    LoopKind kind;
  };
  struct VarInfo {
    LoopKind kind = LoopKind::Serial;
    bool let = false;   // not a loop
    bool zero = false;  // a loop without lower bounds
    int64_t threads = 1;  // of a loop: iterations, and threads without one
  };
  struct Regions {
    std::vector<Box> full, need, fresh;  // by stage; see infer()
    std::vector<bool> known;             // stages without axes have empty boxes
  };
  struct Roll {
    StageId stage;
    uint32_t axis;
    VarId var;
    int64_t slope;
    std::vector<Aff> first;  // nothing below these is ever needed
  };
  struct Warm {
    std::vector<Roll> rolls;
    int64_t length = 0;
    std::vector<bool> runs;  // stages that run in the warm-up
  };
  struct Entry {  // one way to go through a loop
    int64_t count;
    const std::vector<Bound>* lower;
    const std::vector<Bound>* upper;
    std::function<void(const Aff&)> bind;
  };
  using EachEntry = std::function<void(const Entry&)>;

  // prepare.cpp
  void find_live();
  void find_readers();
  void resolve_places();
  void check_places() const;
  void check_loops() const;
  void check_scan(StageId s) const;
  bool inside(StageId s, const Point& p) const;
  const Stage& stage(StageId s) const { return group_[s]; }
  const std::string& loop_name(const Point& p) const;

  // attach.cpp
  void attach_point(const Point& p, const Regions& r, std::vector<StageId>& allocated, Stmts& out);
  Stmt sequence(Stmts list) const;
  Stmt wrap_allocs(const std::vector<StageId>& allocated, Stmts list);
  bool runs(StageId s) const { return !warm_ || warm_->runs[s]; }
  void find_warm_stages(Warm& w, const std::vector<StageId>& owners) const;

  // infer.cpp, roll.cpp
  Regions infer(const Point& p, const Box* owner_box);
  Box in_domain(StageId s, const Box& box, const Reader* reader) const;
  Box roll(StageId s, const Box& full, const Box& need);
  void scan_extent(StageId s, Span& span) const;
  void compute_whole(Span& span, int64_t extent) const;

  // walk.cpp, segments.cpp
  void emit_stage(StageId s, const Box& box, Stmts& out);
  void walk(Walk& w, size_t i, Part part, Stmts& out);
  void beside(Stmts& out, size_t begin, size_t end, const std::string& name);
  void walk_entry(Walk& w, size_t i, Part part, const Entry& e, Stmts& out);
  bool reads_registers(StageId s) const;
  void warm_up(Walk& w, size_t i, Part part, const Entry& e, VarId v, Stmts& out);
  void at_loop(Walk& w, size_t i, Part part, Stmts& out);
  void each_entry(Walk& w, LoopId l, const EachEntry& f);
  void set_domain(Walk& w, LoopId l, Domain d);
  std::vector<int64_t> cuts_inside(const Walk& w, LoopId l, int64_t extent) const;
  void leave(Walk& w, LoopId l) const;
  Domain prune(Domain d) const;
  Span loop_span(const Walk& w, LoopId l) const;
  Aff loop_value(const Walk& w, LoopId l) const;
  Box current_box(const Walk& w) const;
  void know(VarId v, const std::vector<Bound>& lower, const std::vector<Bound>& upper);
  VarId fresh(const std::string& loop, int64_t count, LoopKind kind, bool let = false);

  // halo.cpp
  void emit_halo(StageId s, const Box& box, const std::vector<Domain>& full, Stmts& out);
  void fill_box(StageId s, const Box& box, std::vector<Domain> part, const Expr& fill, Stmts& out);

  // storage.cpp
  void allocate(StageId s, const Box& need);
  void lay_out(StageId s);
  Index address(StageId s, const std::vector<Index>& position);
  Index divide(const Aff& a, int64_t div, int64_t mod) const;
  Index divide_lanes(const Aff& a, int64_t div, int64_t mod) const;
  std::optional<Index> divide_unrolled(const Aff& a, int64_t div, int64_t mod) const;
  void check_access(StageId s, const Index& flat);
  std::vector<std::pair<int64_t, int64_t>> thread_digits(const Aff& a) const;

  // statement.cpp
  Stmt statement(Walk& w, Part part);
  const Expr& the_fill(StageId s) const;
  Expr translate(const Expr& e);
  Expr translate_load(const Expr& e);
  Expr translate_select(const Expr& e);
  Expr guarded(std::vector<Index> conditions, const std::function<Expr()>& then,
               const std::function<Expr()>& otherwise);
  Aff value_of(const Aff& a) const;
  Index position(const Index& i);
  bool has_lane(const Index& i) const;
  bool without_lane(Index& c) const;

  const StageGroup& group_;
  const Schedule& schedule_;
  Function fn_;
  std::vector<Info> info_;
  Ranges ranges_;
  std::vector<VarInfo> vars_;
  std::vector<Open> open_;
  std::vector<std::pair<VarId, Index>> lets_;  // of the fused loop being entered
  std::vector<Storage> storage_;
  std::vector<std::optional<BufferId>> buffers_;
  // Rings found while a loop's body was walked, by the loop's variable.
  std::vector<std::pair<VarId, Warm>> rolls_;
  const Warm* warm_ = nullptr;
  std::vector<StageId> owners_;  // stages whose loop is being warmed up
  std::optional<VarId> lane_;    // the open vector loop
  bool lanes_apart_ = false;     // Loop::apart
  std::string lane_name_;
  std::vector<const Aff*> env_;  // axis variables of the statement being translated
  Expr acc_;
  bool whole_ = false;  // the statement's stage is computed over its whole region (guard_halo)
  bool has_threads_ = false;  // some loop is bound to threads of a block
  int guards_ = 0;  // undecided guards around the expression being translated
  std::unordered_map<const ExprNode*, Expr> done_;
};

}  // namespace burnish::lowering
