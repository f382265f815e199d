// Schedules: a printable, replayable list of steps over named stages and loops, which change order,
// place and storage of a computation and never its result. An illegal step is refused by a returned
// reason.
//
// Names are the trace's addresses. split(D, y, 4) makes D.y.o and D.y.i; fuse(D, y, x) makes D.y@x;
// cache_write(C) makes the stage C.acc; cache_read(X) makes X.cached; rfactor(S, k, 64) makes S.rf
// (once more: S.rf2) with the axis ko. A name depends on earlier steps of the same stage only, so a trace replays
// after an unrelated step is added, and on other shapes.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "loop/program.h"
#include "te/stage.h"

namespace burnish {

enum class Tail : uint8_t { Guard, Exact, Tail, Balanced, Overlap, Whole };

namespace step {
struct Split {
  std::string stage, loop;
  int64_t factor;
  Tail tail = Tail::Guard;
};
struct SplitParts {
  std::string stage, loop;
  int64_t parts;
};
struct Fuse {
  std::string stage, outer, inner;
};
struct Reorder {
  std::string stage;
  std::vector<std::string> loops;
};
struct Unroll {
  std::string stage, loop;
};
struct Vectorize {
  std::string stage, loop;
  bool apart = false;  // what is stored is a vector; what each lane loads may lie apart, and under a guard of its own. Of threads
};
struct Parallel {
  std::string stage, loop;
};
struct Bind {  // the loop's iterations are the threads of a block, or the first of so many
  std::string stage, loop;
  int64_t threads = 0;
};
struct Tensorize {  // the reduction loop and those inside are matrix instructions (loop/matrix_sum.h)
  std::string stage, loop;
};
struct ComputeAt {
  std::string stage, at_stage, at_loop;
};
struct StoreAt {
  std::string stage, at_stage, at_loop;
};
struct StoreRoot {
  std::string stage;
};
struct Inline {
  std::string stage;
};
struct Flatten {  // the reduction is along one axis, of a multiple of `multiple`
  std::string stage;
  int64_t multiple;
  int64_t lanes = 1;  // above 1: the last reduce axis stays apart, of a multiple of `lanes`
  std::string inner = {};  // a reduce axis that alone is filled up, its neighbours being those of the axis; else all are, in order
};
struct Expand {  // the reduction becomes one expression of all its terms
  std::string stage;
};
struct Narrow {  // sums of up to `most` products of f16 are f16 themselves
  std::string stage;
  int64_t most;
};
struct CacheRead {
  std::string stage;
  std::string reader = {};  // the only stage that reads the copy; none: all do
  std::optional<DType> dtype = {};  // of the copy, if it is another: values are rounded once, not by each reader
};
struct CacheWrite {
  std::string stage;
};
struct MergeEpilogue {
  std::string stage;
};
struct AbsorbAddend {  // the sum starts from what its consumer adds to it
  std::string stage;
};
struct RFactor {
  std::string stage, axis;
  int64_t factor;
  bool lanes = false;  // keeps the inner part, `factor` neighbours that a vector may run along
  int64_t together = 1;  // of lanes: each is so many neighbours, of which it has the sum
  bool guard = false;  // of lanes: the last block is short, instead of a stage for what is left over
};
struct SetScope {
  std::string stage;
  Scope scope;
};
struct Pack {
  std::string stage;
  Layout layout;
};
struct FoldStorage {
  std::string stage, axis;
  int64_t factor = 0;
};  // 0: as many as are alive at once
struct StorageAlign {
  std::string stage;
  int64_t pad;
};
struct JoinAxes {  // two axes that are neighbours in memory: all is of the inner one, the outer has one point
  std::string stage, outer, inner;
};
struct Swizzle {  // rows of so many bytes of a block's memory, of which pieces of 16 change places
  std::string stage;
  int64_t bytes = 128;
};
struct MultiBuffer {  // computed slots - 1 iterations ahead, into the next of so many slots of memory
  std::string stage;
  int64_t slots = 2;
};
struct Prefetch {
  std::string stage;
  int64_t bytes;
};
struct Partition {
  std::string stage, loop;
  std::vector<int64_t> cuts;
};
struct GuardInit {
  std::string stage;
};
struct GuardHalo {  // computed over its whole region: inputs read as zeros, and points as their fill, outside their domain
  std::string stage;
};
}  // namespace step

using ScheduleStep =
    std::variant<step::Split, step::SplitParts, step::Fuse, step::Reorder, step::Unroll,
                 step::Vectorize, step::Parallel, step::Bind, step::Tensorize, step::ComputeAt, step::StoreAt, step::StoreRoot,
                 step::Inline, step::JoinAxes, step::Expand, step::Narrow, step::Flatten, step::CacheRead, step::CacheWrite, step::MergeEpilogue, step::AbsorbAddend,
                 step::RFactor, step::SetScope, step::Pack, step::FoldStorage, step::StorageAlign,
                 step::Swizzle, step::MultiBuffer, step::Prefetch, step::Partition, step::GuardInit, step::GuardHalo>;

std::string to_text(const ScheduleStep& s);      // split(O, y.i, 2, guard)
ScheduleStep parse_step(std::string_view line);  // UserError

struct Nest;  // schedule/nest.h: the declarations about one stage

class Schedule {
 public:
  explicit Schedule(StageGroup group);
  ~Schedule();
  Schedule(const Schedule&);
  Schedule(Schedule&&) noexcept;
  Schedule& operator=(Schedule) noexcept;

  // Applies and records one step. A refused step changes nothing.
  Result<> apply(const ScheduleStep& s);
  Result<> replay(std::string_view trace);  // one step a line, '#' comments

  // The same, for schedules written in C++; the first refusal sticks, is kept in `failure()`, and
  // makes the rest no-ops.
  std::pair<std::string, std::string> split(std::string_view stage, std::string_view loop,
                                            int64_t factor,
                                            Tail tail = Tail::Guard);  // names of outer and inner
  std::pair<std::string, std::string> split_parts(std::string_view stage, std::string_view loop,
                                                  int64_t parts);
  std::string fuse(std::string_view stage, std::string_view outer, std::string_view inner);
  void reorder(std::string_view stage, std::vector<std::string> loops);
  void unroll(std::string_view stage, std::string_view loop);
  void vectorize(std::string_view stage, std::string_view loop, bool apart = false);
  void parallel(std::string_view stage, std::string_view loop);
  void bind(std::string_view stage, std::string_view loop, int64_t threads = 0);
  void tensorize(std::string_view stage, std::string_view loop);
  void compute_at(std::string_view stage, std::string_view at_stage, std::string_view at_loop);
  void store_at(std::string_view stage, std::string_view at_stage, std::string_view at_loop);
  void store_root(std::string_view stage);
  void inline_stage(std::string_view stage);
  void join_axes(std::string_view stage, std::string_view outer, std::string_view inner);
  void flatten(std::string_view stage, int64_t multiple = 1, int64_t lanes = 1, std::string_view inner = {});
  void expand(std::string_view stage);
  void narrow(std::string_view stage, int64_t most);
  std::string cache_read(std::string_view stage, std::string_view reader = {}, std::optional<DType> dtype = {});
  std::string cache_write(std::string_view stage);
  void merge_epilogue(std::string_view stage);
  void absorb_addend(std::string_view stage);
  std::string rfactor(std::string_view stage, std::string_view axis, int64_t factor,
                      bool lanes = false, int64_t together = 1, bool guard = false);
  void set_scope(std::string_view stage, Scope scope);
  void pack(std::string_view stage, Layout layout);
  void fold_storage(std::string_view stage, std::string_view axis, int64_t factor = 0);
  void storage_align(std::string_view stage, int64_t pad);
  void swizzle(std::string_view stage, int64_t bytes);
  void multi_buffer(std::string_view stage, int64_t slots = 2);
  void prefetch(std::string_view stage, int64_t bytes);
  void partition(std::string_view stage, std::string_view loop, std::vector<int64_t> cuts);
  void guard_init(std::string_view stage);
  void guard_halo(std::string_view stage);
  const std::optional<Reason>& failure() const { return failure_; }

  const StageGroup& group() const { return group_; }
  const StageGroup& given() const { return *given_; }  // as it was before the first step: sizes of parameters are of these axes
  const std::vector<ScheduleStep>& trace() const { return trace_; }
  std::string to_text() const;
  const std::vector<std::string> loops(std::string_view stage) const;  // leaves, outermost first
  const Nest& nest(StageId s) const;

 private:
  StageGroup group_;
  std::shared_ptr<const StageGroup> given_;
  std::vector<Nest> nests_;
  std::vector<ScheduleStep> trace_;
  std::optional<Reason> failure_;
};

// The schedule of a trace, or why these stages do not take it; a trace that does not read is refused, too.
Result<Schedule> replayed(const StageGroup& g, std::string_view trace);

// Stages and declarations -> one loop nest. The function's parameters are the group's inputs, then
// its outputs. A refusal is the schedule's fault and says which declaration does not fit.
Result<Function> lower(const Schedule& s);

// The parameters' physical layouts after `pack` steps: constants have to be packed so before they
// are passed.
Layout packed_layout(const Schedule& s, StageId parameter);

}  // namespace burnish
