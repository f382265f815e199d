#include "loop/machine.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "expr/half.h"
#include "loop/text.h"
#include "loop/thread_sum.h"

namespace burnish::loop {

namespace {

constexpr int64_t most_elements = int64_t{1} << 32;
constexpr uint32_t several = std::numeric_limits<uint32_t>::max();

double min_nan(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? a + b : std::min(a, b);
}
double max_nan(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? a + b : std::max(a, b);
}
double f32(double v) { return static_cast<float>(v); }

// Integers wrap, also the 64-bit ones.
int64_t wrap(uint64_t v) { return static_cast<int64_t>(v); }
uint64_t bits(int64_t v) { return static_cast<uint64_t>(v); }

Scalar scalar(DType t, Cell c) {
  Scalar s{t, 0, 0};
  if (is_float(t))
    s.f = c.f;
  else
    s.i = c.i;
  return s;
}

Cell cell(const Scalar& s) {
  Cell c;
  if (is_float(s.dtype))
    c.f = s.f;
  else
    c.i = s.i;
  return c;
}

}  // namespace

void Memory::resize(int64_t n, bool shared) {
  check(n >= 0 && n <= most_elements, "a buffer of {} elements is more than the interpreter holds",
        n);
  auto size = static_cast<size_t>(n);
  cells.resize(size);
  marks.resize(size);
  if (shared) touches.resize(size);
}

View Memory::view(uint32_t mark) {
  View v;
  v.cells = cells.data();
  v.marks = marks.data();
  v.mark = mark;
  v.size = static_cast<int64_t>(cells.size());
  return v;
}

Machine::Machine(const Code& code, const std::vector<Code>* callees, World& world,
                 std::vector<View> params, int depth)
    : code_(code), f_(*code.function), callees_(callees), world_(world), depth_(depth),
      views_(f_.buffers.size()), memory_(f_.buffers.size()), vars_(f_.vars.size()),
      bound_(f_.vars.size()), registers_(static_cast<size_t>(code.registers) + 1),
      done_(code.deferred.size()) {
  check(params.size() == f_.params.size(), "function {} is given {} arguments for {} parameters",
        f_.name, params.size(), f_.params.size());
  check(depth < 100, "function {}: calls nested deeper than 100", f_.name);
  for (size_t i = 0; i < params.size(); ++i) {
    check(f_.params[i] < views_.size(), "function {}: parameter {} is buffer {} of {}", f_.name, i,
          f_.params[i], views_.size());
    views_[f_.params[i]] = params[i];
  }
  std::copy(code.constants.begin(), code.constants.end(), registers_.begin() + code.constant_base);
}

void Machine::run() { exec(code_.root); }

void Machine::fail(const std::string& text) const {
  std::string where = at_ ? line_text(f_, *at_) : "";
  std::string values;
  for (size_t v = 0; v < bound_.size(); ++v) {
    if (!bound_[v]) continue;
    values += fmt::format("{}{} = {}", values.empty() ? " with " : ", ", f_.vars[v], vars_[v]);
  }
  throw_internal(fmt::format("function {}, {}{}: {}", f_.name, where, values, text),
                 std::source_location::current());
}

void Machine::bad_access(BufferId b, int64_t at, const char* what) const {
  const View& v = views_[b];
  if (!v.cells && f_.buffers[b].size > 0) {
    fail(fmt::format("{} {}, which is not allocated here", what, f_.buffers[b].name));
  }
  fail(fmt::format("{} {}[{}], which has {} elements", what, f_.buffers[b].name, at, v.size));
}

void Machine::race(BufferId b, int64_t at, const char* what) const {
  fail(fmt::format("race: {} {}[{}], which another iteration of a parallel loop, or another "
                   "statement before the next barrier, touches too",
                   what, f_.buffers[b].name, at));
}

void Machine::step() {
  if (++world_.steps > world_.options.max_steps) {
    fail(fmt::format("more than {} steps", world_.options.max_steps));
  }
}

int64_t Machine::value(uint32_t aff) const {
  const AffCode& a = code_.affs[aff];
  uint64_t sum = bits(a.c);
  for (uint32_t i = a.terms.begin; i < a.terms.end; ++i) {
    const Term& t = code_.terms[i];
    sum += bits(t.k) * bits(vars_[t.var]);
  }
  return wrap(sum);
}

uint32_t Machine::epoch(const View& v) const {
  switch (v.of) {
  case View::Of::Run: return world_.epoch;
  case View::Of::Block: return world_.block_epoch;
  case View::Of::Thread:
  case View::Of::Warp: return v.mark;
  }
  return 0;
}

// Each element is one thread's; others of its warp read it in phases in which it is not written. `epoch`: of the last write, or of
// the last read by another one.
void Machine::touch_warp(BufferId b, int64_t at, Touch& t, bool writes) {
  const uint32_t agent = thread_ + 1;
  const bool own = t.writer == 0 || t.writer == agent;
  const char* what = writes ? "stores to" : "reads";
  const auto warp = [](uint32_t x) { return (x - 1) / kWarp; };
  if (writes ? !own || (t.reader && t.epoch == world_.phase) : !own && (warp(t.writer) != warp(agent) || (!t.reader && t.epoch == world_.phase)))
    race(b, at, what);
  if (writes)
    t = {world_.phase, agent, 0};
  else if (!own)
    t = {world_.phase, t.writer, agent};
}

Cell Machine::read(BufferId b, int64_t at) {
  View& v = views_[b];
  if (bits(at) >= bits(v.size)) bad_access(b, at, "reads");
  at *= v.unit;
  if (v.marks) {
    for (int64_t u = 0; u < v.unit; ++u) {
      if (v.marks[at + u] != v.mark) {
        fail(fmt::format("reads {}[{}], which was not written", f_.buffers[b].name, at / v.unit));
      }
    }
  }
  if (v.touches) {
    for (int64_t u = 0; u < v.unit; ++u) {
      Touch& t = v.touches[at + u];
      if (v.of == View::Of::Warp) {
        touch_warp(b, at / v.unit, t, false);
        continue;
      }
      if (t.epoch != epoch(v)) t = {epoch(v), 0, 0};
      if (t.writer && t.writer != agent(v)) race(b, at / v.unit, "reads");
      t.reader = t.reader == 0 || t.reader == agent(v) ? agent(v) : several;
    }
  }
  return v.cells[at];
}

void Machine::write(BufferId b, int64_t at, Cell value) {
  View& v = views_[b];
  if (bits(at) >= bits(v.size)) bad_access(b, at, "stores to");
  if (!v.writable) fail(fmt::format("stores to {}, which is an input", f_.buffers[b].name));
  at *= v.unit;
  for (int64_t u = 0; u < v.unit; ++u) {
    if (v.marks) v.marks[at + u] = v.mark;
    if (!v.touches) continue;
    Touch& t = v.touches[at + u];
    if (v.of == View::Of::Warp) {
      touch_warp(b, at / v.unit, t, true);
      continue;
    }
    if (t.epoch != epoch(v)) t = {epoch(v), 0, 0};
    if ((t.writer && t.writer != agent(v)) || (t.reader && t.reader != agent(v))) {
      race(b, at / v.unit, "stores to");
    }
    t.writer = agent(v);
  }
  v.cells[at] = value;
}

void Machine::evaluate(Range code) {
  ++evaluation_;
  run_code(code);
}

void Machine::run_code(Range range) {
  Cell* r = registers_.data();
  for (uint32_t pc = range.begin; pc < range.end; ++pc) {
    const Instruction& in = code_.code[pc];
    Cell& out = r[in.out];
    switch (in.op) {
    case Op::Affine: out.i = value(in.aff); break;
    case Op::Atom: {
      const AtomRow& row = code_.atoms[in.target];
      int64_t x = r[in.a].i;
      if (row.has_value) x = wrap(bits(x) + bits(r[in.b].i));
      x = floor_div(x, row.div);
      if (row.mod) x = floor_mod(x, row.mod);
      out.i = wrap(bits(out.i) + bits(row.scale) * bits(x));
      break;
    }
    case Op::Load: out = read(in.target, r[in.a].i); break;
    case Op::LoadAffine: out = read(in.target, value(in.aff)); break;
    case Op::Add32: out.f = f32(r[in.a].f + r[in.b].f); break;
    case Op::Sub32: out.f = f32(r[in.a].f - r[in.b].f); break;
    case Op::Mul32: out.f = f32(r[in.a].f * r[in.b].f); break;
    case Op::Div32: out.f = f32(r[in.a].f / r[in.b].f); break;
    case Op::Add64: out.f = r[in.a].f + r[in.b].f; break;
    case Op::Sub64: out.f = r[in.a].f - r[in.b].f; break;
    case Op::Mul64: out.f = r[in.a].f * r[in.b].f; break;
    case Op::Div64: out.f = r[in.a].f / r[in.b].f; break;
    case Op::Min32:
    case Op::Min64: out.f = min_nan(r[in.a].f, r[in.b].f); break;
    case Op::Max32:
    case Op::Max64: out.f = max_nan(r[in.a].f, r[in.b].f); break;
    case Op::AddInt: out.i = wrap(bits(r[in.a].i) + bits(r[in.b].i)); break;
    case Op::SubInt: out.i = wrap(bits(r[in.a].i) - bits(r[in.b].i)); break;
    case Op::MulInt: out.i = wrap(bits(r[in.a].i) * bits(r[in.b].i)); break;
    case Op::GeInt: out.i = r[in.a].i >= r[in.b].i; break;
    case Op::LtInt: out.i = r[in.a].i < r[in.b].i; break;
    case Op::EqInt: out.i = r[in.a].i == r[in.b].i; break;
    case Op::AndBool: out.i = r[in.a].i & r[in.b].i; break;
    case Op::Binary:
      out = cell(burnish::evaluate(static_cast<BinaryOp>(in.which), scalar(in.from, r[in.a]),
                                   scalar(in.from, r[in.b])));
      break;
    case Op::Unary:
      out = cell(burnish::evaluate(static_cast<UnaryOp>(in.which), scalar(in.from, r[in.a])));
      break;
    case Op::Cast: out = cell(evaluate_cast(in.to, scalar(in.from, r[in.a]))); break;
    case Op::Move: out = r[in.a]; break;
    case Op::Jump: pc = in.target - 1; break;
    case Op::JumpIfNot:
      if (!r[in.a].i) pc = in.target - 1;
      break;
    case Op::Need:
      if (done_[in.target] != evaluation_) {
        done_[in.target] = evaluation_;
        run_code(code_.deferred[in.target].code);
      }
      break;
    case Op::CallMath:
      out =
          cell(evaluate_cast(in.from, {DType::F64, std::fma(r[in.a].f, r[in.b].f, r[in.c].f), 0}));
      break;
    }
  }
}

std::pair<int64_t, int64_t> Machine::bounds(const Node& n) const {
  int64_t lo = 0, hi = n.source->loop.extent;
  for (const BoundCode& b : n.lower) lo = std::max(lo, ceil_div(value(b.aff), b.div));
  for (const BoundCode& b : n.upper) hi = std::min(hi, ceil_div(value(b.aff), b.div));
  return {lo, hi};
}

int64_t Machine::store_position(const Node& n) const {
  return n.affine ? value(n.aff) : registers_[static_cast<size_t>(n.a)].i;
}

void Machine::exec(uint32_t index) {
  const Node& n = code_.nodes[index];
  at_ = n.source;
  step();
  switch (n.source->kind) {
  case StmtKind::For: exec_for(n); break;
  case StmtKind::Let: {
    evaluate(n.code);
    VarId v = n.source->var;
    vars_[v] = registers_[static_cast<size_t>(n.a)].i;
    bound_[v] = true;
    exec(n.children[0]);
    bound_[v] = false;
    break;
  }
  case StmtKind::Alloc: exec_alloc(n); break;
  case StmtKind::Store: exec_store(n); break;
  case StmtKind::Seq:
    for (uint32_t c : n.children) exec(c);
    break;
  case StmtKind::If:
    evaluate(n.code);
    if (registers_[static_cast<size_t>(n.a)].i)
      exec(n.children[0]);
    else if (n.children.size() > 1)
      exec(n.children[1]);
    break;
  case StmtKind::While:
    for (;;) {
      at_ = n.source;
      evaluate(n.code);
      if (!registers_[static_cast<size_t>(n.a)].i) break;
      exec(n.children[0]);
    }
    break;
  case StmtKind::Barrier:
    if (in_parallel_ && !code_.has_threads) fail("a barrier inside a parallel loop");
    if (in_thread_) fail("a barrier inside a thread loop");
    ++(in_parallel_ ? world_.block_epoch : world_.epoch);
    break;
  case StmtKind::Call: exec_call(n); break;
  }
}

void Machine::exec_store(const Node& n) {
  evaluate(n.code);
  write(n.source->buffer, store_position(n), registers_[static_cast<size_t>(n.b)]);
}

void Machine::exec_for(const Node& n) {
  auto [lo, hi] = bounds(n);
  VarId v = n.source->loop.var;
  switch (n.source->loop.kind) {
  case LoopKind::Serial:
  case LoopKind::Unroll:
  case LoopKind::Tensor:
    bound_[v] = true;
    for (int64_t i = lo; i < hi; ++i) {
      vars_[v] = i;
      exec(n.children[0]);
    }
    break;
  case LoopKind::Vectorize: exec_vector(n, lo, hi); break;
  case LoopKind::Parallel: exec_parallel(n, lo, hi); break;
  case LoopKind::Thread: exec_thread(n, lo, hi); break;
  }
  bound_[v] = false;
}

// Every iteration is an agent of its own: one that no thread count merges with its neighbours.
// Loops over as many iterations are shared out alike: the same iteration of each is the same agent.
void Machine::exec_parallel(const Node& n, int64_t lo, int64_t hi) {
  if (in_parallel_) fail("a parallel loop inside a parallel loop");
  VarId v = n.source->loop.var;
  bound_[v] = true;
  in_parallel_ = true;
  const auto [agents, fresh] = world_.shared_out.try_emplace(hi - lo, world_.agents);
  if (fresh) world_.agents += static_cast<uint32_t>(std::max<int64_t>(0, hi - lo));
  for (int64_t i = lo; i < hi; ++i) {
    vars_[v] = i;
    agent_ = agents->second + static_cast<uint32_t>(i - lo) + 1;
    ++world_.block_epoch;
    exec(n.children[0]);
  }
  agent_ = 1;
  in_parallel_ = false;
}

// One thread after the other up to the end of the loop. That this is no different from all at once is what touches
// show: of the block's memory since the last barrier, of registers always.
void Machine::exec_thread(const Node& n, int64_t lo, int64_t hi) {
  if (!in_parallel_) fail("a thread loop outside parallel loops");
  const VarId v = n.source->loop.var;
  const uint32_t outer = thread_;
  const bool inside = in_thread_;
  if (!inside) ++world_.phase;
  bound_[v] = in_thread_ = true;
  for (int64_t i = lo; i < hi; ++i) {
    vars_[v] = i;
    thread_ = outer * static_cast<uint32_t>(n.source->loop.extent) + static_cast<uint32_t>(i);
    exec(n.children[0]);
  }
  thread_ = outer;
  in_thread_ = inside;
}

void Machine::exec_alloc(const Node& n) {
  BufferId b = n.source->buffer;
  const Buffer& buffer = f_.buffers[b];
  if (buffer.scope == Scope::Param) fail(fmt::format("allocates {}, a parameter", buffer.name));
  if (views_[b].cells) fail(fmt::format("allocates {} again inside its own life", buffer.name));
  const bool of_block = in_parallel_ && code_.has_threads && !in_thread_;
  bool shared = (of_block || (!in_parallel_ && code_.has_parallel)) && world_.options.check_races;
  memory_[b].resize(buffer.size, shared);
  views_[b] = memory_[b].view(world_.next_mark++);
  if (shared) views_[b].touches = memory_[b].touches.data();
  if (of_block)
    views_[b].of = buffer.scope == Scope::Register ? View::Of::Thread : buffer.scope == Scope::Warp ? View::Of::Warp : View::Of::Block;
  if (shared && views_[b].of == View::Of::Warp) std::ranges::fill(memory_[b].touches, Touch());
  exec(n.children[0]);
  views_[b] = {};
}

void Machine::exec_call(const Node& n) {
  const Code& callee = (*callees_)[n.callee];
  std::vector<View> params;
  for (size_t i = 0; i < n.args.size(); ++i) {
    const Buffer& wanted = callee.function->buffers[callee.function->params[i]];
    View v = views_[n.args[i].buffer];
    int64_t at = value(n.args[i].aff);
    if (at < 0 || at > v.size || wanted.size > v.size - at) {
      fail(fmt::format("passes {}[{}..], of which {} elements are wanted and {} are there",
                       f_.buffers[n.args[i].buffer].name, at, wanted.size, v.size - at));
    }
    if (wanted.dtype != f_.buffers[n.args[i].buffer].dtype) {
      fail(fmt::format("passes {} of {} as {}", f_.buffers[n.args[i].buffer].name,
                       name_of(f_.buffers[n.args[i].buffer].dtype), name_of(wanted.dtype)));
    }
    v.cells += at * v.unit;
    if (v.marks) v.marks += at * v.unit;
    if (v.touches) v.touches += at * v.unit;
    v.size = wanted.size;
    v.writable = v.writable && wanted.written;
    params.push_back(v);
  }
  Machine inner(callee, callees_, world_, std::move(params), depth_ + 1);
  inner.agent_ = agent_;
  inner.in_parallel_ = in_parallel_;
  inner.thread_ = thread_;
  inner.in_thread_ = in_thread_;
  inner.run();
}

Cell cell_from(const std::byte* p, DType t) {
  auto as = [&]<class T>(T) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  Cell c{.i = 0};
  switch (t) {
  case DType::Bool: c.i = as(uint8_t{}) != 0; break;
  case DType::I8: c.i = as(int8_t{}); break;
  case DType::U8: c.i = as(uint8_t{}); break;
  case DType::I16: c.i = as(int16_t{}); break;
  case DType::U16: c.i = as(uint16_t{}); break;
  case DType::I32: c.i = as(int32_t{}); break;
  case DType::U32: c.i = as(uint32_t{}); break;
  case DType::I64:
  case DType::U64: c.i = as(int64_t{}); break;
  case DType::F16: c.f = float_of_half(as(uint16_t{})); break;
  case DType::BF16: c.f = float_of_bfloat(as(uint16_t{})); break;
  case DType::TF32:
  case DType::F32: c.f = as(float{}); break;
  case DType::F64: c.f = as(double{}); break;
  }
  return c;
}

void cell_to(std::byte* p, DType t, Cell c) {
  auto put = [&](auto v) { std::memcpy(p, &v, sizeof v); };
  switch (t) {
  case DType::Bool:
  case DType::I8:
  case DType::U8: put(static_cast<uint8_t>(c.i)); break;
  case DType::I16:
  case DType::U16: put(static_cast<uint16_t>(c.i)); break;
  case DType::I32:
  case DType::U32: put(static_cast<uint32_t>(c.i)); break;
  case DType::I64:
  case DType::U64: put(c.i); break;
  case DType::F16: put(half_of_float(static_cast<float>(c.f))); break;
  case DType::BF16: put(bfloat_of_float(static_cast<float>(c.f))); break;
  case DType::TF32: put(tf32_of_float(static_cast<float>(c.f))); break;
  case DType::F32: put(static_cast<float>(c.f)); break;
  case DType::F64: put(c.f); break;
  }
}

}  // namespace burnish::loop
