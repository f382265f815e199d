// The interpreter's memory and its machine. Private to src/loop.
//
// Every element of every buffer is a Cell of eight bytes, whatever its dtype; arguments are
// converted on the way in and out. Beside the cells stand marks (what was written, by which life of
// the buffer) and touches (who read and wrote since the last barrier).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loop/bytecode.h"
#include "loop/interpreter.h"

namespace burnish::loop {

struct Touch {
  uint32_t epoch = 0;               // of the last barrier; older touches count as none
  uint32_t writer = 0, reader = 0;  // agents; 0: none
};

// A buffer as a function sees it. An element takes `unit` cells, of which the first holds the value
// and all are marked.
struct View {
  Cell* cells = nullptr;
  uint32_t* marks = nullptr;  // null: all is written
  uint32_t mark = 0;          // an element is written when its marks are this
  Touch* touches = nullptr;   // null: private
  // Between whom touches count: registers, of threads or warps, for ever.
  enum class Of : uint8_t { Run, Block, Thread, Warp } of = Of::Run;
  int64_t size = 0;
  int64_t unit = 1;
  bool writable = true;
};

// What lasts over the functions of a program.
struct World {
  InterpretOptions options;
  uint32_t next_mark = 1;
  uint32_t epoch = 1;                           // counts barriers
  uint32_t block_epoch = 1;                     // those inside blocks, and blocks
  uint32_t phase = 1;                           // counts outermost thread loops
  uint32_t agents = 1;                          // handed out so far; 1: top-level statements
  std::map<int64_t, uint32_t> shared_out = {};  // by extent: before the agent of iteration 0
  int64_t steps = 0;
};

struct Memory {  // of one buffer
  std::vector<Cell> cells;
  std::vector<uint32_t> marks;
  std::vector<Touch> touches;
  void resize(int64_t n, bool shared);
  View view(uint32_t mark);
};

class Machine {
 public:
  Machine(const Code& code, const std::vector<Code>* callees, World& world,
          std::vector<View> params, int depth = 0);
  void run();

 private:
  void exec(uint32_t node);
  void exec_for(const Node& n);
  void exec_parallel(const Node& n, int64_t lo, int64_t hi);
  void exec_thread(const Node& n, int64_t lo, int64_t hi);
  void exec_alloc(const Node& n);
  void exec_store(const Node& n);
  void exec_call(const Node& n);
  // Lanes of a vectorized loop: each statement by all of them before the next.
  struct Lanes;
  void exec_vector(const Node& n, int64_t lo, int64_t hi);
  void lanes(uint32_t node, const Lanes& active);
  void lanes_store(const Node& n, const Lanes& active);
  void lanes_for(const Node& n, const Lanes& active);
  std::vector<uint32_t> lanes_where(const Node& n, const Lanes& active, bool wanted);
  std::pair<int64_t, int64_t> bounds(const Node& n) const;

  void evaluate(Range code);
  void run_code(Range code);
  int64_t value(uint32_t aff) const;
  Cell read(BufferId b, int64_t at);
  void write(BufferId b, int64_t at, Cell value);
  int64_t store_position(const Node& n) const;
  void step();
  [[noreturn]] void fail(const std::string& text) const;
  [[noreturn]] void bad_access(BufferId b, int64_t at, const char* what) const;
  [[noreturn]] void race(BufferId b, int64_t at, const char* what) const;
  void touch_warp(BufferId b, int64_t at, Touch& t, bool writes);

  const Code& code_;
  const Function& f_;
  const std::vector<Code>* callees_;
  World& world_;
  int depth_;
  std::vector<View> views_;
  std::vector<Memory> memory_;
  std::vector<int64_t> vars_;
  std::vector<bool> bound_;
  std::vector<Cell> registers_;
  std::vector<uint64_t> done_;  // by deferred row: the evaluation that it ran for
  uint64_t evaluation_ = 0;
  uint32_t epoch(const View& v) const;
  uint32_t agent(const View& v) const { return v.of == View::Of::Run ? agent_ : thread_ + 1; }
  uint32_t agent_ = 1;
  uint32_t thread_ = 0;  // number of the running thread within its block
  bool in_parallel_ = false, in_thread_ = false;
  const StmtNode* at_ = nullptr;
};

// An element of an argument of dtype `t` (F64 for float types when in_double) at `p`, to and from a
// Cell.
Cell cell_from(const std::byte* p, DType t);
void cell_to(std::byte* p, DType t, Cell c);

}  // namespace burnish::loop
