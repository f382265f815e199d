// What the learned model sees of a candidate. Everything is read from the lowered loops, so
// features mean the same for every operator, schedule and target, and records of one task teach
// about others. Three groups, in this order:
//
//   whole function   work by kind of operation, instructions, parallelism, code size, bytes that
//   pass every cache level
//                    (the miss curve), and cycles by an analytic model of each limit; the draft
//   statements       the few with most work (stages, in effect): loops by kind, register tile,
//   loads of a tile, bytes
//                    touched at the loops around it
//   buffers          the few that move most bytes: where they live, how they are walked, how soon
//   they are used again
//
// Sizes are logarithms, log2(1 + x): trees split them where magnitudes change. A missing statement
// or buffer is zeros.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/cost_model.h"
#include "search/model/loop_tree.h"
#include "search/model/reuse.h"

namespace burnish::search {

namespace {

constexpr size_t statements_shown = 4, buffers_shown = 4;
constexpr std::string_view op_names[op_classes] = {"fma",    "add",    "mul", "div",    "math",
                                                   "minmax", "select", "int", "address"};

// Takes values, or the names under which they come: one list of features serves both.
class Sink {
 public:
  Sink(std::vector<float>* values, std::vector<std::string>* names)
      : values_(values), names_(names) {}

  void group(std::string_view name, size_t n) {
    if (names_) prefix_ = fmt::format("{}{}.", name, n);
  }
  void group(std::string_view name) {
    if (names_) prefix_ = fmt::format("{}.", name);
  }
  // As it is: shares, ratios, small counts.
  void put(std::string_view name, double v) {
    if (names_) names_->push_back(fmt::format("{}{}", prefix_, name));
    if (values_)
      values_->push_back(std::isfinite(v) ? static_cast<float>(std::clamp(v, -1e6, 1e6)) : 0.0f);
  }
  // log2(a / b): what a tree cannot divide for itself, and what is alike for large tasks and small
  // ones.
  void ratio(std::string_view name, double a, double b) {
    put(name, values_ && a > 0 && b > 0 ? std::clamp(std::log2(a / b), -40.0, 40.0) : -40.0);
  }
  void log(std::string_view name, double v) {
    put(name, values_ && v > 0 ? std::log2(1 + std::min(v, 1e30)) : 0.0);
  }

 private:
  std::vector<float>* values_;
  std::vector<std::string>* names_;
  std::string prefix_;
};

// The copies of one statement: tails, borders and partitions repeat it under other loops.
struct Statement {
  std::vector<size_t> sites;  // the one with most work first
  double work = 0;            // scalar operations and memory accesses of the busiest thread
};

double ops_of(const Site& s) { return std::accumulate(s.ops.begin(), s.ops.end(), 0.0); }

struct Analysis {
  const Machine& machine;
  LoopTree tree;
  Reuse reuse;
  std::vector<Statement> statements;  // most work first
  std::vector<BufferId> buffers;      // most bytes first

  Analysis(const Function& f, const Machine& m) : machine(m), tree(loop_tree(f)), reuse(tree, m) {
    find_statements(f);
    find_buffers(f);
  }

  double work(size_t site) const {
    const Site& s = tree.sites[site];
    return reuse.sites()[site].executions * (ops_of(s) + s.accesses);
  }

 private:
  void find_statements(const Function& f) {
    for (size_t i = 0; i < tree.sites.size(); ++i) {
      const Site& s = tree.sites[i];
      auto same = [&](const Statement& x) {
        const Site& o = tree.sites[x.sites[0]];
        return o.update == s.update &&
               (o.buffer == s.buffer || f.buffers[o.buffer].name == f.buffers[s.buffer].name) &&
               o.ops == s.ops;
      };
      auto it = std::find_if(statements.begin(), statements.end(), same);
      if (it == statements.end()) it = statements.insert(it, Statement{});
      it->sites.push_back(i);
      it->work += work(i);
    }
    for (Statement& s : statements) {
      std::stable_sort(s.sites.begin(), s.sites.end(),
                       [&](size_t a, size_t b) { return work(a) > work(b); });
    }
    // By what the statement computes, which hardly depends on the schedule: its place in the list
    // stays.
    std::stable_sort(statements.begin(), statements.end(),
                     [](const Statement& a, const Statement& b) { return a.work > b.work; });
  }

  void find_buffers(const Function& f) {
    for (BufferId b = 0; b < f.buffers.size(); ++b) {
      if (!in_registers(f.buffers[b].scope) && reuse.loop_bytes(0, b) > 0) buffers.push_back(b);
    }
    std::vector<double> moved(f.buffers.size(), 0);
    for (size_t a = 0; a < tree.accesses.size(); ++a)
      moved[tree.accesses[a].buffer] += reuse.accesses()[a].instructions;
    std::stable_sort(buffers.begin(), buffers.end(),
                     [&](BufferId a, BufferId b) { return moved[a] > moved[b]; });
  }
};

// Cycles of the busiest thread by each limit alone: two vector units, two load ports, one store
// port, and so many bytes a cycle from each level. Orders of magnitude that hold for CPUs of the
// last ten years; the trees find the rest.
struct Cycles {
  double arithmetic = 0, loads = 0, stores = 0, loops = 0, l2 = 0, l3 = 0, memory = 0;
  double limit() const { return std::max({arithmetic, loads, stores, l2, l3, memory}); }
  double sum() const { return std::max({arithmetic, loads, stores}) + loops + l2 + l3 + memory; }
};

struct Totals {
  OpCounts scalar{};        // of the busiest thread
  double vector_ops = 0;    // instructions of the busiest thread
  double scalar_sites = 0;  // share of work outside vector loops
  double loads[4] = {};     // instructions by Lanes
  double stores = 0;
  double unaligned = 0;
  double code = 0;         // instructions after unrolling, without addresses
  double serial_work = 0;  // work outside parallel loops
  double work = 0;
};

Totals totals_of(const Analysis& a) {
  Totals t;
  const Function& f = *a.tree.function;
  for (size_t i = 0; i < a.tree.sites.size(); ++i) {
    const Site& s = a.tree.sites[i];
    const SiteUse& u = a.reuse.sites()[i];
    const double work = a.work(i);
    t.work += work;
    if (a.reuse.share(s.loop) == 1) t.serial_work += work;
    if (u.lanes <= 1) t.scalar_sites += work;
    double cost = 0;
    for (size_t c = 0; c < op_classes; ++c) {
      t.scalar[c] += static_cast<float>(u.executions * s.ops[c]);
      const auto kind = static_cast<OpClass>(c);
      if (kind == OpClass::Address) continue;
      cost += s.ops[c] * (kind == OpClass::Math ? 20 : kind == OpClass::Div ? 8 : 1);
    }
    t.vector_ops += u.executions * u.instructions * cost;
    t.code += u.unrolled * u.lanes * u.instructions * (ops_of(s) + s.accesses);
  }
  for (size_t i = 0; i < a.tree.accesses.size(); ++i) {
    const Access& x = a.tree.accesses[i];
    const AccessUse& u = a.reuse.accesses()[i];
    if (in_registers(f.buffers[x.buffer].scope)) continue;
    if (x.store) {
      t.stores += u.instructions;
    } else {
      t.loads[static_cast<size_t>(u.lanes)] += u.instructions;
    }
    if (!u.aligned) t.unaligned += u.instructions;
  }
  return t;
}

void put_function(Sink& out, const Analysis* a, double draft_us) {
  static const Totals none;
  const Totals t = a ? totals_of(*a) : none;
  Cycles c;
  double iterations = 0, loops = 0, bounded = 0, parallel = 0, parallel_loops = 0, quantised = 1,
         rounds = 0;
  double scope_bytes[6] = {}, read = 0, written = 0, accumulators = 0, registers = 16,
         lane_bytes = 16;
  double vector_loads = 0;
  double threads = 1, instructions = 0;  // of a GPU: a block's, and loops that are matrix instructions
  for (double x : t.loads) vector_loads += x;
  if (a) {
    registers = std::max(1, a->machine.vector_registers);
    lane_bytes = std::max(1, a->machine.vector_bytes);
    for (size_t l = 1; l < a->tree.loops.size(); ++l) {
      const LoopNode& n = a->tree.loops[l];
      ++loops;
      if (!n.constant) ++bounded;
      if (n.kind == LoopKind::Tensor) instructions = std::max(instructions, n.entries * n.trip);
      double bound = 1;  // digits of a thread's number
      for (size_t up = l; up > 0; up = static_cast<size_t>(a->tree.loops[up].parent))
        if (a->tree.loops[up].kind == LoopKind::Thread) bound *= a->tree.loops[up].trip;
      threads = std::max(threads, bound);
      if (n.kind == LoopKind::Serial)
        iterations += n.entries * n.trip * a->reuse.share(static_cast<int>(l));
      if (n.kind == LoopKind::Parallel && n.trip >= 1) {
        ++parallel_loops;
        parallel = std::max(parallel, n.trip);
        quantised = std::min(quantised, n.trip / std::max(1, a->machine.threads) /
                                            a->reuse.trip(static_cast<int>(l)));
        rounds = std::max(rounds, a->reuse.trip(static_cast<int>(l)));
      }
    }
    const Function& f = *a->tree.function;
    for (BufferId b = 0; b < f.buffers.size(); ++b) {
      const Buffer& x = f.buffers[b];
      const double bytes = static_cast<double>(x.size) * size_of(x.dtype);
      scope_bytes[static_cast<size_t>(x.scope)] += bytes;
      if (x.scope == Scope::Param) (x.written ? written : read) += a->reuse.loop_bytes(0, b);
      if (in_registers(x.scope)) accumulators = std::max(accumulators, bytes / lane_bytes);
    }
    c.arithmetic = t.vector_ops / 2;
    c.loads = (vector_loads + t.loads[static_cast<size_t>(Lanes::Strided)]) / 2 + t.unaligned / 4;
    c.stores = t.stores;
    c.loops = iterations;
    c.l2 = a->reuse.traffic(static_cast<double>(a->machine.l1_bytes)) / 32;
    c.l3 = a->reuse.traffic(static_cast<double>(a->machine.l2_bytes)) / 16;
    c.memory = a->reuse.traffic(static_cast<double>(a->machine.l3_bytes) /
                                std::max(1, a->machine.threads)) /
               8;
  }

  out.group("all");
  const double draft = std::isfinite(draft_us) ? draft_us * 1000 : 0;
  out.log("draft", draft);
  out.ratio("draft_per_op", draft, t.vector_ops);
  for (size_t k = 0; k < op_classes; ++k) out.log(op_names[k], t.scalar[k]);
  out.log("vector_ops", t.vector_ops);
  out.ratio("loads_per_op", vector_loads, t.vector_ops);
  out.ratio("stores_per_op", t.stores, t.vector_ops);
  out.ratio("iterations_per_op", iterations, t.vector_ops);
  const double loads = std::max(1.0, vector_loads);
  out.put("loads.scalar", t.loads[static_cast<size_t>(Lanes::Scalar)] / loads);
  out.put("loads.broadcast", t.loads[static_cast<size_t>(Lanes::Broadcast)] / loads);
  out.put("loads.strided", t.loads[static_cast<size_t>(Lanes::Strided)] / loads);
  out.put("unaligned", t.unaligned / (loads + t.stores));
  out.put("scalar_share", t.work > 0 ? t.scalar_sites / t.work : 0);
  out.put("serial_share", t.work > 0 ? t.serial_work / t.work : 0);
  out.log("parallel", parallel);
  out.put("parallel_loops", parallel_loops);
  out.put("quantised", quantised);
  out.log("rounds", rounds);
  out.log("threads", threads);
  out.log("threads_in_all", threads * parallel);
  out.log("instructions", instructions);
  out.log("loops", loops);
  out.log("bounded_loops", bounded);
  out.log("statements", a ? static_cast<double>(a->tree.sites.size()) : 0);
  out.log("guards", a ? a->tree.guards : 0);
  out.log("barriers", a ? a->tree.barriers : 0);
  out.log("code", t.code);
  out.log("bytes.thread", scope_bytes[static_cast<size_t>(Scope::Thread)]);
  out.log("bytes.stack", scope_bytes[static_cast<size_t>(Scope::Stack)]);
  out.log("bytes.shared", scope_bytes[static_cast<size_t>(Scope::Shared)]);
  out.put("register_share", accumulators / registers);
  out.log("bytes.read", read);
  out.log("bytes.written", written);
  // The miss curve, at sizes that mean something on this machine, over what has to come at least.
  const Machine plain;
  const Machine& m = a ? a->machine : plain;
  const auto l1 = static_cast<double>(m.l1_bytes), l2 = static_cast<double>(m.l2_bytes),
             l3 = static_cast<double>(m.l3_bytes) / std::max(1, m.threads);
  const double least = a ? a->reuse.loop_bytes(0) : 0;
  const auto curve = [&](std::string_view name, double bytes) {
    out.ratio(name, a ? a->reuse.traffic(bytes) : 0, least);
  };
  out.log("touched", least);
  curve("miss.l1/8", l1 / 8);
  curve("miss.l1/2", l1 / 2);
  curve("miss.l1", l1);
  curve("miss.l2/4", l2 / 4);
  curve("miss.l2/2", l2 / 2);
  curve("miss.l2", l2);
  curve("miss.l3", l3);
  out.ratio("cycles.loads", c.loads, c.arithmetic);
  out.ratio("cycles.l2", c.l2, c.arithmetic);
  out.ratio("cycles.l3", c.l3, c.arithmetic);
  out.ratio("cycles.memory", c.memory, c.arithmetic);
  out.ratio("cycles.limit", c.limit(), c.arithmetic);
  out.ratio("cycles.sum", c.sum(), c.arithmetic);
  out.log("cycles", c.sum());
}

void put_statement(Sink& out, const Analysis* a, const Statement* s, size_t position) {
  out.group("s", position);
  static const Site no_site;
  static const SiteUse no_use;
  const Site& site = s ? a->tree.sites[s->sites[0]] : no_site;
  const SiteUse& use = s ? a->reuse.sites()[s->sites[0]] : no_use;

  // Loops by kind, the serial ones from the inside out.
  double serial = 1, parallel = 1, conditional = 0, reduction = 1, footprint[4] = {},
         inner_unroll[2] = {};
  double serial_trip[3] = {};
  size_t serial_seen = 0, unrolls = 0;
  const Access* store =
      s ? &a->tree.accesses[static_cast<size_t>(site.first_access + site.accesses - 1)] : nullptr;
  for (size_t p = 0; s && p < use.stack.size(); ++p) {
    const int l = use.stack[p];
    const LoopNode& n = a->tree.loops[static_cast<size_t>(l)];
    const double trip = a->reuse.trip(l);
    if (!n.constant) ++conditional;
    switch (n.kind) {
    case LoopKind::Thread:
    case LoopKind::Tensor:
    case LoopKind::Serial:
      serial *= trip;
      if (serial_seen == 0) footprint[0] = a->reuse.iteration_bytes(l);
      if (serial_seen < 3) serial_trip[serial_seen] = trip;
      if (serial_seen < 2) footprint[1 + serial_seen] = a->reuse.loop_bytes(l);
      ++serial_seen;
      break;
    case LoopKind::Parallel:
      parallel *= n.trip;
      footprint[3] = a->reuse.iteration_bytes(l);
      break;
    case LoopKind::Unroll:
      if (unrolls < 2) inner_unroll[unrolls++] = trip;
      break;
    case LoopKind::Vectorize: break;
    }
    const bool moved = std::any_of(store->strides.begin(), store->strides.end(),
                                   [&](const Stride& x) { return x.loop == l; });
    if (!moved && store->wrapped.empty()) reduction *= trip;
  }

  double contiguous = 0, broadcast = 0, other = 0, unaligned = 0, stored = 0;
  for (int i = 0; s && i < site.accesses; ++i) {
    const size_t row = static_cast<size_t>(site.first_access + i);
    const AccessUse& u = a->reuse.accesses()[row];
    const Access& x = a->tree.accesses[row];
    if (x.store) {
      stored = u.tile_elements * use.instructions;
      continue;
    }
    if (in_registers(a->tree.function->buffers[x.buffer].scope)) continue;
    switch (u.lanes) {
    case Lanes::Contiguous: contiguous += u.per_tile; break;
    case Lanes::Broadcast: broadcast += u.per_tile; break;
    case Lanes::Scalar:
    case Lanes::Strided: other += u.per_tile; break;
    }
    if (!u.aligned) unaligned += u.per_tile;
  }
  const bool registers = s && in_registers(a->tree.function->buffers[site.buffer].scope);
  const double tile_ops = s ? use.unrolled * use.lanes * use.instructions * ops_of(site) : 0;

  out.log("work", s ? s->work : 0);
  out.log("executions", use.executions);
  out.put("main_share", s && s->work > 0 ? a->work(s->sites[0]) / s->work : 0);
  const auto ops = [&](std::initializer_list<OpClass> of) {
    double n = 0;
    for (OpClass c : of) n += site.ops[static_cast<size_t>(c)];
    return std::min(64.0, n);
  };
  out.put("fma", ops({OpClass::Fma}));
  out.put("simple", ops({OpClass::Add, OpClass::Mul, OpClass::MinMax}));
  out.put("costly", ops({OpClass::Div, OpClass::Math}));
  out.put("other_ops", ops({OpClass::Select, OpClass::Int, OpClass::Address}));
  out.put("update", site.update ? 1 : 0);
  out.put("registers", registers ? 1 : 0);
  out.log("reduction", reduction);
  out.log("parallel", parallel);
  out.log("serial", serial);
  out.put("lanes", use.lanes);
  out.log("unrolled", use.unrolled);
  out.put("unroll0", std::min(64.0, inner_unroll[0]));
  out.put("unroll1", std::min(64.0, inner_unroll[1]));
  out.log("trip0", serial_trip[0]);
  out.log("trip1", serial_trip[1]);
  out.log("trip2", serial_trip[2]);
  out.put("conditional", conditional);
  out.put("guards", site.guards);
  out.put("stored", std::min(256.0, stored));
  out.put("spill", s && registers
                       ? std::clamp(stored + contiguous - a->machine.vector_registers, -64.0, 64.0)
                       : 0);
  out.put("contiguous", std::min(256.0, contiguous));
  out.put("broadcast", std::min(256.0, broadcast));
  out.put("other", std::min(256.0, other));
  out.put("unaligned", std::min(256.0, unaligned));
  out.put("ops_per_load", tile_ops / std::max(1.0, contiguous + broadcast + other));
  out.log("bytes.body", footprint[0]);
  out.log("bytes.loop0", footprint[1]);
  out.log("bytes.loop1", footprint[2]);
  out.log("bytes.parallel", footprint[3]);
}

void put_buffer(Sink& out, const Analysis* a, const BufferId* b, size_t position) {
  out.group("b", position);
  const Buffer* buffer = b ? &a->tree.function->buffers[*b] : nullptr;
  // The access with most instructions speaks for the buffer.
  const Access* main = nullptr;
  const AccessUse* use = nullptr;
  double executions = 0, instructions = 0, stores = 0, lanes[4] = {}, unaligned = 0;
  for (size_t i = 0; b && i < a->tree.accesses.size(); ++i) {
    if (a->tree.accesses[i].buffer != *b) continue;
    const AccessUse& u = a->reuse.accesses()[i];
    executions += u.executions;
    instructions += u.instructions;
    lanes[static_cast<size_t>(u.lanes)] += u.instructions;
    if (a->tree.accesses[i].store) stores += u.instructions;
    if (!u.aligned) unaligned += u.instructions;
    if (!use || u.instructions > use->instructions) {
      main = &a->tree.accesses[i];
      use = &u;
    }
  }
  const double all = std::max(1.0, instructions);
  const double bytes = buffer ? size_of(buffer->dtype) : 1;
  const double elements = b ? std::max(1.0, a->reuse.elements(*b)) : 1;
  // Strides of whole pages meet in few sets of a cache and in few entries of the TLB.
  double pages = 1;
  for (size_t i = 0; main && i < main->strides.size(); ++i) {
    const double step = std::abs(static_cast<double>(main->strides[i].k)) * bytes;
    if (step >= 4096 && std::fmod(step, 4096) == 0) pages *= a->reuse.trip(main->strides[i].loop);
  }
  auto at = [&](int loop) { return use && loop >= 0 ? a->reuse.iteration_bytes(loop) : 0.0; };
  auto times = [&](int loop) { return use && loop >= 0 ? a->reuse.trip(loop) : 0.0; };

  out.put("scope", buffer ? 1 + static_cast<double>(buffer->scope) : 0);
  out.put("stores", stores / all);
  out.log("touched", b ? a->reuse.loop_bytes(0, *b) : 0);
  out.put("line_waste", b ? a->reuse.loop_bytes(0, *b) / (elements * bytes) : 0);
  out.log("instructions", instructions);
  out.log("reuse", b ? executions / elements : 0);
  out.put("broadcast", lanes[static_cast<size_t>(Lanes::Broadcast)] / all);
  out.put("strided", lanes[static_cast<size_t>(Lanes::Strided)] / all);
  out.put("unaligned", unaligned / all);
  out.log("near.bytes", use ? at(use->reused_at) : 0);
  out.log("near.times", use ? times(use->reused_at) : 0);
  out.log("far.bytes", use ? at(use->reused_outside) : 0);
  out.log("far.times", use ? times(use->reused_outside) : 0);
  out.log("pages", pages);
  const double touched = b ? a->reuse.loop_bytes(0, *b) : 0;
  out.ratio("miss.l1", b ? a->reuse.traffic(static_cast<double>(a->machine.l1_bytes), *b) : 0,
            touched);
  out.ratio("miss.l2", b ? a->reuse.traffic(static_cast<double>(a->machine.l2_bytes), *b) : 0,
            touched);
}

void put_all(Sink& out, const Analysis* a, double draft_us) {
  put_function(out, a, draft_us);
  for (size_t i = 0; i < statements_shown; ++i) {
    put_statement(out, a, a && i < a->statements.size() ? &a->statements[i] : nullptr, i);
  }
  for (size_t i = 0; i < buffers_shown; ++i) {
    put_buffer(out, a, a && i < a->buffers.size() ? &a->buffers[i] : nullptr, i);
  }
}

std::vector<std::string> make_names() {
  std::vector<std::string> names;
  Sink out(nullptr, &names);
  put_all(out, nullptr, 0);
  return names;
}

}  // namespace

const std::vector<std::string>& feature_names() {
  static const std::vector<std::string> names = make_names();
  return names;
}

Features features_of(const Function& f, const Machine& m, double draft_us) {
  const Analysis a(f, m);
  Features values;
  values.reserve(feature_names().size());
  Sink out(&values, nullptr);
  put_all(out, &a, draft_us);
  return values;
}

}  // namespace burnish::search
