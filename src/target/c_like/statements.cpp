// Loops, memory and stores.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "loop/loads.h"
#include "loop/thread_sum.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

int64_t threads_inside(const Stmt& s) {
  int64_t most = 1;
  if (s.kind() == StmtKind::For && s->loop.kind == LoopKind::Thread)
    return s->loop.extent * threads_inside(s.children()[0]);
  for (const Stmt& c : s.children()) most = std::max(most, threads_inside(c));
  return most;
}

std::string sanitized(std::string_view name) {
  std::string out;
  for (char c : name) out += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  if (out.empty() || std::isdigit(static_cast<unsigned char>(out[0]))) out.insert(0, "n");
  return out;
}

Printer::Printer(const Function& f, const Dialect& d, size_t own_buffers)
    : f_(f), d_(d), own_buffers_(own_buffers), is_thread_(f.vars.size()), register_gaps_(f.buffers.size()), register_size_(f.buffers.size()),
      block_offset_(f.buffers.size(), -1) {
  // Names of the language and of other things are avoided by a number at the end.
  for (size_t v = 0; v < f.vars.size(); ++v)
    vars_.push_back(fmt::format("{}_{}", sanitized(f.vars[v]), v));
  for (size_t b = 0; b < f.buffers.size(); ++b)
    buffers_.push_back(fmt::format("{}_b{}", sanitized(f.buffers[b].name), b));
}

void Printer::unsupported(std::string_view what) const {
  throw Unsupported(fmt::format("{}: {} on a GPU", f_.name, what));
}

void Printer::line(std::string_view text) {
  out_ += std::string(static_cast<size_t>(2 * indent_), ' ') + std::string(text) + "\n";
}
void Printer::open(std::string_view text) {
  line(text);
  ++indent_;
}
void Printer::close(std::string_view text) {
  --indent_;
  line(text);
}

std::vector<BufferId> Printer::args() const {
  std::vector<BufferId> out;
  for (BufferId b : f_.params)
    if (touched_.contains(b)) out.push_back(b);
  for (BufferId b : touched_)
    if (f_.buffers[b].scope == Scope::Shared && !pieces_.contains(b)) out.push_back(b);
  return out;
}

void Printer::enter(const ForStmt& loop) {
  ranges_.set(loop.var, 0, std::max<int64_t>(0, loop.extent - 1));
  is_thread_[loop.var] = loop.kind == LoopKind::Thread;
}

void Printer::block_loop(const Stmt& s, const std::string& block) {
  const ForStmt& l = s->loop;
  enter(l);
  has_threads_ = has_loop(s, LoopKind::Thread);
  memory_ = has_threads_ ? block_memory(f_, s.children()[0]) : BlockMemory();
  block_bytes_ = std::max(block_bytes_, kept_bytes_ + memory_.bytes);
  copies_ = false;
  visit(s, [&](const Stmt& x) {
    if (rounds_again(x)) rounded_again_.insert(x->buffer);
  });
  visit(s, [&](const Stmt& x) { copies_ |= may_copy(x); });
  open("{");
  line(fmt::format("const int {} = {};", vars_[l.var], block));
  for (const Bound& b : l.lower) line(fmt::format("if ({} < {}) return;", vars_[l.var], bound(b)));
  for (const Bound& b : l.upper) line(fmt::format("if ({} >= {}) return;", vars_[l.var], bound(b)));
  statement(s.children()[0]);
  close();
}

void Printer::expect(const Stmt& loop) { threads_ = static_cast<int>(std::max<int64_t>(threads_, threads_inside(loop.children()[0]))); }

void Printer::lone(const Stmt& s) {
  has_threads_ = false;
  statement(s);
}

void Printer::alone(const Stmt& s) {
  open(fmt::format("if ({} == 0) {{", d_.thread));
  in_threads_ = true;
  statement(s);
  in_threads_ = false;
  close();
}

void Printer::statement(const Stmt& s) {
  const bool holds_others = s.kind() == StmtKind::Seq || s.kind() == StmtKind::Alloc || s.kind() == StmtKind::Let;
  if (waits_ && !in_threads_ && !holds_others && !copies_constants(f_, s)) {
    out_ += wait_mark;
    waits_ = false;
  }
  if (warpgroup_sums(s)) return;
  if (!unfinished_sums_.empty() && !only_rounds_again(s)) finish_warpgroup_sums();
  if (!in_threads_ && copies_ && !rounding_ && !rounded_again_.empty() && only_rounds_again(s)) {
    if (started_) group_copies();
    wait_for_copies();
    rounding_ = true;
    statement(s);
    rounding_ = false;
    return;
  }
  if (!in_threads_ && std::ranges::any_of(early_, [&](const Stmt& x) { return x.same_as(s); })) return;
  if (!in_threads_ && std::ranges::any_of(memory_.met, [&](const Stmt& x) { return x.same_as(s); })) barrier();
  // Outside thread loops: what holds none is the first thread's, the rest is common to all.
  if (!in_threads_ && s.kind() != StmtKind::Seq && s.kind() != StmtKind::Barrier &&
      s.kind() != StmtKind::Alloc && !has_loop(s, LoopKind::Thread))
    return alone(s);
  switch (s.kind()) {
  case StmtKind::For: return loop(s);
  case StmtKind::Let: {
    done_.assign(1, {});
    uses_.clear();
    open("{");
    const std::string x = index(s->index)[0];
    line(fmt::format("const int {} = {};", vars_[s->var], x));
    const Interval range = ranges_.bounds(s->index);
    ranges_.set(s->var, range.lo, range.hi);
    statement(s.children()[0]);
    return close();
  }
  case StmtKind::Alloc: return alloc(s);
  case StmtKind::Store: return store(s);
  case StmtKind::Seq:
    for (const Stmt& c : s.children()) statement(c);
    return;
  case StmtKind::If:
  case StmtKind::While: {
    open("{");
    done_.assign(1, {});
    count_uses(s->value);
    if (s.kind() == StmtKind::While) {
      open("for (;;) {");
      line(fmt::format("if (!({})) break;", value(s->value)[0]));
    } else {
      open_if(value(s->value)[0]);
    }
    statement(s.children()[0]);
    if (s.kind() == StmtKind::If && s.children().size() > 1) {
      open_else();
      statement(s.children()[1]);
    }
    s.kind() == StmtKind::If ? close_if() : close();
    return close();
  }
  case StmtKind::Barrier: return barrier();
  case StmtKind::Call: unsupported("calls between kernels are not written");
  }
}

void Printer::wait_for_copies() {
  line(in_flight_ < 0 ? fmt::format("{}();", d_.wait) : fmt::format("{}<{}>();", d_.wait, in_flight_));
}

void Printer::group_copies() {
  if (!std::exchange(grouped_, true)) line(fmt::format("{}();", d_.group));
}

void Printer::barrier() {
  finish_warpgroup_sums();
  if (copies_) wait_for_copies();
  if (d_.warpgroup_sum && std::ranges::any_of(memory_.offset, [&](const auto& b) { return f_.buffers[b.first].swizzle > 0; }))
    line(d_.let_warpgroups_read);
  line(d_.barrier);
}

std::string Printer::limit(const char* function, int64_t constant,
                           const std::vector<Bound>& bounds) {
  std::string out = std::to_string(constant);
  for (const Bound& b : bounds) out = fmt::format("{}({}, {})", function, out, bound(b));
  return out;
}

std::string Printer::bound(const Bound& b) const {
  return b.div == 1 ? aff(b.a) : fmt::format("ceil_div({}, {})", aff(b.a), b.div);
}

std::string Printer::within_bounds(const ForStmt& l, std::string condition) const {
  for (const Bound& b : l.lower)
    condition += fmt::format("{}{} >= {}", condition.empty() ? "" : " && ", vars_[l.var], bound(b));
  for (const Bound& b : l.upper)
    condition += fmt::format("{}{} < {}", condition.empty() ? "" : " && ", vars_[l.var], bound(b));
  return condition;
}

std::string Printer::also_where(const std::string& condition) {
  const std::string both = where_.empty() || condition.empty() ? where_ + condition : fmt::format("{} && {}", where_, condition);
  return std::exchange(where_, both);
}

void Printer::open_unrolled(const ForStmt& l) {
  unrolled_.insert(l.var);
  out_ += "#pragma unroll\n";
  open(fmt::format("for (int {0} = 0; {0} < {1}; ++{0}) {{", vars_[l.var], l.extent));
}

void Printer::loop(const Stmt& s) {
  enter(s->loop);
  switch (s->loop.kind) {
  case LoopKind::Thread: return thread_loop(s);
  case LoopKind::Vectorize: return vector_loop(s);
  case LoopKind::Tensor: return tensor_loop(s);
  case LoopKind::Serial:
  case LoopKind::Unroll: return plain_loop(s);
  case LoopKind::Parallel: unsupported("a parallel loop inside another is not written");
  }
}

void Printer::thread_loop(const Stmt& s) {
  const ForStmt& l = s->loop;
  const int64_t inside = threads_inside(s.children()[0]);
  const bool first = !in_threads_;
  if (first) {
    number_ = std::string(d_.thread);
    phase_ = s;
  }
  const std::string outer = number_, v = vars_[l.var];
  open("{");
  line(fmt::format("const int {} = {};", v,
                   inside > 1 ? fmt::format("({}) / {}", outer, inside) : outer));
  number_ = inside > 1 ? fmt::format("({}) % {}", outer, inside) : "0";
  const std::string there = first && l.extent * inside < threads_ ? fmt::format("{} < {}", v, l.extent) : "";
  // Matrix instructions are whole warps': groups that have no iterations sum what nobody reads.
  const bool by_all = inside < kWarp && has_loop(s, LoopKind::Tensor) && (!l.lower.empty() || !l.upper.empty());
  if (by_all && !harmless(s)) unsupported("matrix instructions of some threads alone are not written");
  // Threads of a warp that have no iteration compute what they do not store, which is no branch.
  const std::string bounds = within_bounds(l);
  const bool in_stores = !by_all && !bounds.empty() && inside < kWarp && !sums_threads(f_, s) && computable(s.children()[0]);
  const std::string condition = by_all || in_stores ? there : within_bounds(l, there);
  if (!condition.empty()) open_if(condition);
  const std::string around = in_stores ? also_where(bounds) : where_;
  in_threads_ = true;
  thread_loops_.push_back(l);
  if (sums_threads(f_, s))
    sum_of_threads(s);
  else
    statement(s.children()[0]);
  where_ = around;
  thread_loops_.pop_back();
  in_threads_ = !first;
  number_ = outer;
  if (!condition.empty()) close_if();
  close();
}

// The threads' values combined in pairs of growing distance: all have the same at the end.
void Printer::sum_of_threads(const Stmt& s) {
  const ThreadSum sum = thread_sum(f_, s).expect("thread loop that sums");
  if (d_.exchanged.empty()) unsupported("sums over threads are not there");
  for (const ForStmt& l : sum.unrolled) {
    enter(l);
    open_unrolled(l);
    const std::string condition = within_bounds(l);
    open(condition.empty() ? "{" : fmt::format("if ({}) {{", condition));
  }
  open("{");
  done_.assign(1, {});
  count_uses(sum.value);
  const DType t = f_.buffers[sum.sum].dtype;
  const std::string own = value(sum.value)[0], x = temporary(t, "");
  line(fmt::format("{} = {};", x, own));
  for (int64_t d = s->loop.extent / 2; d > 0; d /= 2)
    line(fmt::format(
        "{} = {};", x,
        binary_text(sum.op, t, x,
                    fmt::format("{}({}, {}, {})", d_.exchanged, x, d, s->loop.extent))));
  const std::string at = place(sum.sum, own_part(sum.sum, sum.place));
  line(fmt::format("{} = {};", at, binary_text(sum.op, t, at, x)));
  close();
  for (size_t i = 0; i < sum.unrolled.size(); ++i) {
    close();
    close();
  }
}

bool Printer::accesses_registers(const Stmt& s) const {
  bool found = false;
  const auto is_register = [&](BufferId b) { return in_registers(f_.buffers[b].scope); };
  visit(s, [&](const Stmt& x) {
    found |= x.kind() == StmtKind::Store && is_register(x->buffer);
    visit_loads(x, [&](const Expr& e) { found |= is_register(e.from()); });
  });
  return found;
}

// Stores alone, of what lies inside of buffers wherever the loops' variables are.
bool Printer::computable(const Stmt& body) {
  bool all = true;
  visit(body, [&](const Stmt& x) {
    if (x.kind() == StmtKind::For) enter(x->loop);
    all &= !may_copy(x);  // a copy has no value to be held back
    all &= x.kind() != StmtKind::For || x->loop.kind != LoopKind::Thread || !sums_threads(f_, x);  // a sum is stored at once
    all &= x.kind() == StmtKind::Store || x.kind() == StmtKind::Seq ||
           (x.kind() == StmtKind::For && (x->loop.kind == LoopKind::Vectorize || x->loop.kind == LoopKind::Unroll || x->loop.kind == LoopKind::Thread));
    visit_loads(x, [&](const Expr& e) { all &= always_inside(e.from(), e.indices()[0]); });
  });
  return all;
}

// May threads that have no iteration of the loop run it? It touches their registers alone, and reads what there is for all.
bool Printer::harmless(const Stmt& loop) {
  bool all = true;
  visit(loop, [&](const Stmt& x) {
    if (x.kind() == StmtKind::For) enter(x->loop);
    all &= x.kind() != StmtKind::Store || in_registers(f_.buffers[x->buffer].scope);
    visit_loads(x, [&](const Expr& e) {
      all &= in_registers(f_.buffers[e.from()].scope) || !depends_on(e, loop->loop.var) || always_inside(e.from(), e.indices()[0]);
    });
  });
  return all;
}

void Printer::plain_loop(const Stmt& s) {
  const ForStmt& l = s->loop;
  if (tensor_pipeline(s)) return;
  const std::string v = vars_[l.var];
  if (l.kind == LoopKind::Unroll) {
    const std::string condition = within_bounds(l);
    // Iterations share what they read where none of them is left out: what is stored is.
    if (condition.empty() || computable(s.children()[0])) {
      open_unrolled(l);
      const std::string around = also_where(condition);
      statement(s.children()[0]);
      where_ = around;
      return close();
    }
    if (accesses_registers(s)) {
      open_unrolled(l);
      open_if(condition);
      statement(s.children()[0]);
      close_if();
      return close();
    }
  }
  open(fmt::format("for (int {0} = {1}, {0}_end = {2}; {0} < {0}_end; ++{0}) {{", v,
                   limit("larger", 0, l.lower), limit("smaller", l.extent, l.upper)));
  const int64_t around = std::exchange(in_flight_, l.in_flight);
  const bool groups = copies_ && l.in_flight >= 0;
  const bool started = started_, grouped = grouped_;
  if (groups) started_ = grouped_ = false;
  statement(s.children()[0]);
  finish_warpgroup_sums();
  if (groups) {
    group_copies();
    started_ = started, grouped_ = grouped;
  }
  in_flight_ = around;
  close();
}

// The statements inside one after the other, each by all lanes.
void Printer::vector_loop(const Stmt& s) {
  lane_ = s->loop.var;
  lanes_ = static_cast<int>(s->loop.extent);
  statement(s.children()[0]);
  lane_.reset();
  lanes_ = 1;
}

void Printer::alloc(const Stmt& s) {
  const BufferId b = s->buffer;
  const Buffer& buffer = f_.buffers[b];
  if (buffer.scope == Scope::Shared)
    unsupported("memory of all blocks that is allocated inside a loop is not written");
  const bool of_threads = in_registers(buffer.scope);
  const bool local = of_threads || in_threads_ || !has_threads_;
  if (!local) {
    block_offset_[b] = kept_.contains(b) ? kept_.at(b) : kept_bytes_ + memory_.offset.at(b);
    open("{");
    line(fmt::format("{0}* const {1} = ({0}*)(memory + {2});", type_name(buffer.dtype), buffers_[b],
                     block_offset_[b]));
    statement(s.children()[0]);
    return close();
  }
  std::string before;
  std::swap(before, out_);
  if (of_threads) register_gaps_[b] = gaps_of(s.children()[0], b);
  register_size_[b] = 1;
  const int64_t beside = std::exchange(registers_, 0);
  ++indent_;
  statement(s.children()[0]);
  --indent_;
  registers_ = std::max(beside, registers_ + (b < own_buffers_ ? register_size_[b] * size_of(buffer.dtype) / 4 : 0));
  std::swap(before, out_);
  open("{");
  line(fmt::format("{} {}[{}];", register_type(b), buffers_[b], ceil_div(register_size_[b], in_a_register(b))));
  out_ += before;
  close();
}

void Printer::store(const Stmt& s) {
  open("{");
  done_.assign(1, {});
  count_uses(s->value);
  if (in_threads_ && copied(s)) return close();
  const Buffer& buffer = f_.buffers[s->buffer];
  if (buffer.scope == Scope::Param || buffer.scope == Scope::Shared) touched_.insert(s->buffer);
  const Index at = own_part(s->buffer, s->index);
  const int width =
      lane_ && lanes_ > 1 && at.a.slope(*lane_) != 0 ? vector_width(s->buffer, at) : 0;
  const bool in_pairs = in_a_register(s->buffer) > 1, pairs = in_pairs || (width > 1 && is_half(buffer.dtype));
  if (in_pairs && lanes_ < 2) unsupported("halves in registers that are stored one by one are not written");
  const Lanes x = pairs ? half_pairs(s->value, buffer.dtype) : value(s->value);
  if (!where_.empty()) open(fmt::format("if ({}) {{", where_));
  if (width > 0) {
    Index base = at;
    base.a.add(*lane_, -base.a.slope(*lane_));
    for (int first = 0; first < lanes_; first += width) {
      std::string parts;
      for (int i = 0; i < width; i += pairs ? 2 : 1)
        parts += fmt::format(
            "{}{}", i ? ", " : "",
            x[x.size() == 1 ? 0 : static_cast<size_t>(pairs ? (first + i) / 2 : first + i)]);
      line(fmt::format("store{}({}, {});", width, "&" + place(s->buffer, base), parts));
      base.a.c += width;
    }
  } else {
    Lanes to = in_pairs ? registers_of_pairs(at) : places(s->buffer, at);
    if (in_pairs)
      for (std::string& x : to) x = fmt::format("{}[{}]", buffers_[s->buffer], x);
    const size_t n = std::max(to.size(), x.size());
    for (size_t k = 0; k < n; ++k)
      line(fmt::format("{} = {};", to[to.size() == 1 ? 0 : k], x[x.size() == 1 ? 0 : k]));
  }
  if (!where_.empty()) close();
  close();
}

}  // namespace burnish::c_like
