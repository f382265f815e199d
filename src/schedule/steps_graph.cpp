// Steps that change formulas instead of loops. They are pure substitution, applied when recorded,
// and keep the stages in topological order; loads follow their stage to its new number.
#include <algorithm>
#include <map>
#include <optional>

#include "schedule/steps.h"
#include "schedule/substitute.h"

namespace burnish::schedule {
namespace {

constexpr StageId kPending = ~StageId{0};  // stands for a stage that has no number yet

using LoadRewrite = std::function<Expr(const Expr&)>;

void rewrite_stage(Stage& s, const LoadRewrite& f) {
  for (Expr* e : {&s.body, &s.init, &s.finish})
    if (*e) *e = rewrite(*e, f);
}

void renumber(StageGroup& g, const std::function<StageId(StageId)>& to) {
  for (Stage& s : g.stages)
    rewrite_stage(s, [&](const Expr& e) -> Expr {
      if (e.kind() != ExprKind::Load || to(e.from()) == e.from()) return {};
      return load(e.dtype(), to(e.from()), {e.indices().begin(), e.indices().end()}, e.fill());
    });
  for (auto* list : {&g.inputs, &g.outputs})
    for (StageId& s : *list) s = to(s);
}

// Makes room: the new stage becomes number `at`, those from there on move up by one.
void insert_stage(Stages s, StageId at, Stage stage) {
  renumber(s.group, [at](StageId x) { return x >= at && x != kPending ? x + 1 : x; });
  s.nests.insert(s.nests.begin() + at, plain_nest(stage));
  s.group.stages.insert(s.group.stages.begin() + at, std::move(stage));
}

// Nothing loads stage `at` any more.
void remove_stage(Stages s, StageId at) {
  s.group.stages.erase(s.group.stages.begin() + at);
  s.nests.erase(s.nests.begin() + at);
  renumber(s.group, [at](StageId x) { return x > at ? x - 1 : x; });
}

void replace_loads(Stage& reader, StageId of, const LoadRewrite& f) {
  rewrite_stage(reader, [&](const Expr& e) -> Expr { return e.kind() == ExprKind::Load && e.from() == of ? f(e) : Expr{}; });
}

void replace_loads(Stages s, StageId of, const LoadRewrite& f) {
  for (Stage& stage : s.group.stages) replace_loads(stage, of, f);
}

bool loads_stage(const Stage& s, StageId id) {
  bool found = false;
  for (const Expr& e : expressions(s))
    visit(e, [&](const Expr& x) { found |= x.kind() == ExprKind::Load && x.from() == id; });
  return found;
}

std::vector<StageId> consumers_of(const StageGroup& g, StageId id) {
  std::vector<StageId> consumers;
  for (StageId c = 0; c < g.stages.size(); ++c)
    if (loads_stage(g[c], id)) consumers.push_back(c);
  return consumers;
}

// New variables for the same axes, and what the old ones become.
std::vector<Axis> fresh_axes(StageGroup& g, const std::vector<Axis>& axes,
                             std::map<VarId, Aff>& becomes) {
  std::vector<Axis> made = axes;
  for (Axis& a : made) {
    VarId v = g.fresh(a.name);
    becomes[a.var] = Aff::of(v);
    a.var = v;
  }
  return made;
}

Expr renamed(const Expr& e, const std::map<VarId, Aff>& becomes) {
  if (!e) return e;
  return substitute(e, [&](VarId v) {
    auto at = becomes.find(v);
    return at == becomes.end() ? nullptr : &at->second;
  });
}

std::vector<Index> at_axes(const std::vector<Axis>& axes) {
  std::vector<Index> indices;
  for (const Axis& a : axes) indices.push_back(Index(Aff::of(a.var)));
  return indices;
}

// A load, converted: at the stage's own point, of a tensor of its shape?
bool converts_points(const StageGroup& g, const Stage& s, const Expr& formula) {
  const Expr* e = &formula;
  while (e->kind() == ExprKind::Cast) e = &e->children()[0];
  if (e == &formula || e->kind() != ExprKind::Load || e->fill() || e->indices().size() != s.axes.size()) return false;
  const std::vector<Axis>& axes = g[e->from()].axes;
  for (size_t a = 0; a < s.axes.size(); ++a)
    if (axes[a].extent != s.axes[a].extent || !equal(e->indices()[a], Index(Aff::of(s.axes[a].var)))) return false;
  return true;
}

// A conversion of such a load, with a value outside: that of the load, where conversion gives `fill`.
Expr filled(const Expr& conversion, const Expr& fill) {
  if (conversion.kind() == ExprKind::Load)
    return load(conversion.dtype(), conversion.from(), {conversion.indices().begin(), conversion.indices().end()}, fill);
  const Expr& inner = conversion.children()[0];
  const Expr before = cast(inner.dtype(), fill);
  if (!equal(cast(conversion.dtype(), before), fill)) return {};
  Expr from = filled(inner, before);
  return from ? cast(conversion.dtype(), std::move(from)) : Expr{};
}

Result<> check_free(const StageGroup& g, const std::string& name) {
  if (g.named(name)) return refuse("there is a stage {} already", name);
  return Done{};
}

}  // namespace

Result<> apply(Stages s, const step::Inline& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  const Stage p = s.group[*id];
  if (p.is_reduction()) return refuse("{} is a reduction and cannot be inlined", x.stage);
  if (p.scan) return refuse("{} reads its own previous values and cannot be inlined", x.stage);
  if (is_output(s.group, *id)) return refuse("{} is an output and cannot be inlined", x.stage);
  for (const Nest& n : s.nests)
    for (const auto& place :
         {n.compute, n.stored == Stored::At ? std::optional(n.store) : std::nullopt})
      if (place && place->stage == x.stage)
        return refuse("a stage is placed at {}.{}: inline before that", place->stage, place->loop);
  const Expr formula =
      p.finish ? rewrite(p.finish,
                         [&](const Expr& e) { return e.kind() == ExprKind::Acc ? p.body : Expr{}; })
               : p.body;
  replace_loads(s, *id, [&](const Expr& e) -> Expr {
    std::map<VarId, Index> becomes;
    std::vector<Index> inside;
    for (size_t a = 0; a < p.axes.size(); ++a) {
      const Index& i = e.indices()[a];
      becomes[p.axes[a].var] = i;
      inside.push_back(i);
      inside.push_back(minus(p.axes[a].extent - 1, i));
    }
    Expr value = substitute_indices(formula, becomes);
    // Of a converted tensor of the same shape what is outside is outside there, too.
    if (e.fill())
      if (Expr converted = converts_points(s.group, p, formula) ? filled(value, e.fill()) : Expr{}) return converted;
    return e.fill() ? select(all_nonnegative(inside), value, e.fill()) : value;
  });
  remove_stage(s, *id);
  return Done{};
}

Result<> apply(Stages s, const step::CacheRead& x) {
  auto id = find_stage(s, x.stage, true);
  if (!id) return Reason{id.reason()};
  Stage copy;
  copy.name = x.stage + ".cached";
  if (auto ok = check_free(s.group, copy.name); !ok) return ok;
  if (s.group[*id].scan)
    return refuse("{} reads its own previous values: cache what reads it", x.stage);
  std::optional<StageId> reader;
  if (!x.reader.empty()) {
    auto found = find_stage(s, x.reader);
    if (!found) return Reason{found.reason()};
    if (!loads_stage(s.group[*found], *id)) return refuse("{} does not read {}", x.reader, x.stage);
    reader = *found;
  }
  std::map<VarId, Aff> becomes;
  const DType own = s.group[*id].dtype;
  copy.dtype = x.dtype.value_or(own);
  if (copy.dtype != own) {
    if (!reader) return refuse("a copy of {} as {} wants to know who reads it", x.stage, name_of(copy.dtype));
    if (!is_float(own) || !is_float(copy.dtype)) return refuse("{} is {}: only floats are copied as another type, {}", x.stage, name_of(own), name_of(copy.dtype));
    bool filled = false;
    visit(s.group[*reader].body, [&](const Expr& e) { filled |= e.kind() == ExprKind::Load && e.from() == *id && !zero_outside(e); });
    if (filled) return refuse("{} reads {} with a fill of {}", x.reader, x.stage, name_of(own));
  }
  copy.axes = fresh_axes(s.group, s.group[*id].axes, becomes);
  StageId at = *id + 1;
  // The readers, under the number that the copy will have.
  const LoadRewrite of_copy = [&](const Expr& e) { return load(e.dtype(), kPending, {e.indices().begin(), e.indices().end()}, e.fill()); };
  if (reader)
    replace_loads(s.group.stages[*reader], *id, of_copy);
  else
    replace_loads(s, *id, of_copy);
  const DType type = copy.dtype;
  copy.body = load(own, *id, at_axes(copy.axes));
  if (type != own) copy.body = cast(type, copy.body);
  insert_stage(s, at, std::move(copy));
  replace_loads(s, kPending, [&](const Expr& e) {
    const Expr fill = e.fill() && type != own ? constant(0.0, type) : e.fill();
    const Expr copied = load(type, at, {e.indices().begin(), e.indices().end()}, fill);
    return type == own ? copied : cast(own, copied);
  });
  return Done{};
}

Result<> apply(Stages s, const step::CacheWrite& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  Stage part;
  part.name = x.stage + ".acc";
  if (auto ok = check_free(s.group, part.name); !ok) return ok;
  if (!s.nests[*id].untouched(s.group[*id]))
    return refuse("cache_write {} before changing its loops", x.stage);
  if (s.group[*id].scan) return refuse("{} reads its own previous values", x.stage);
  std::map<VarId, Aff> becomes;
  {
    const Stage& whole = s.group[*id];
    part.dtype = whole.dtype;
    part.op = whole.op;
  }
  part.axes = fresh_axes(s.group, s.group[*id].axes, becomes);
  part.raxes = fresh_axes(s.group, s.group[*id].raxes, becomes);
  part.body = renamed(s.group[*id].body, becomes);
  part.init = renamed(s.group[*id].init, becomes);
  StageId at = *id;
  insert_stage(s, at, std::move(part));
  Stage& whole = s.group[at + 1];
  Expr value = load(whole.dtype, at, at_axes(whole.axes));
  whole.body =
      whole.finish
          ? rewrite(whole.finish,
                    [&](const Expr& e) { return e.kind() == ExprKind::Acc ? value : Expr{}; })
          : value;
  whole.raxes.clear();
  whole.op = Combine::None;
  whole.init = whole.finish = {};
  Nest fresh = plain_nest(whole);
  Nest& nest = s.nests[at + 1];
  nest.loops = std::move(fresh.loops);
  nest.order = std::move(fresh.order);
  nest.guard_init = false;
  return Done{};
}

Result<> apply(Stages s, const step::AbsorbAddend& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  const Stage& p = s.group[*id];
  if (p.op != Combine::Sum || p.init || p.finish || is_output(s.group, *id)) return refuse("{} is no plain sum", x.stage);
  const std::vector<StageId> consumers = consumers_of(s.group, *id);
  if (consumers.size() != 1) return refuse("{} has {} consumers", x.stage, consumers.size());
  const Stage& o = s.group[consumers[0]];
  int loads = 0;
  std::map<VarId, Aff> becomes;
  Expr load, addend;
  const auto is_load = [&](const Expr& e) { return e.kind() == ExprKind::Load && e.from() == *id; };
  // Of the addition: where the sum stands.
  const auto side_of = [&](const Expr& e) -> std::optional<size_t> {
    if (e.kind() != ExprKind::Binary || e.binary() != BinaryOp::Add) return std::nullopt;
    return is_load(e.children()[0]) ? std::optional<size_t>(0) : is_load(e.children()[1]) ? std::optional<size_t>(1) : std::nullopt;
  };
  visit(o.body, [&](const Expr& e) {
    loads += is_load(e);
    if (const auto side = side_of(e)) load = e.children()[*side], addend = e.children()[1 - *side];
  });
  if (loads != 1 || !load) return refuse("{} does not add to {}", o.name, x.stage);
  for (size_t a = 0; a < p.axes.size(); ++a) {
    const Index& i = load.indices()[a];
    if (!i.is_affine() || i.a.terms.size() != 1 || i.a.c != 0 || i.a.terms[0].k != 1 || !becomes.emplace(i.a.terms[0].var, Aff::of(p.axes[a].var)).second)
      return refuse("{} does not read {} pointwise", o.name, x.stage);
  }
  bool early = true;  // S may read it
  visit(addend, [&](const Expr& e) { early &= e.kind() != ExprKind::Load || e.from() < *id; });
  for (const Axis& a : o.axes)
    if (!becomes.contains(a.var)) early = false;
  if (!early) return refuse("what {} adds to {} is not known before it", o.name, x.stage);
  s.group[*id].init = renamed(addend, becomes);
  s.group[consumers[0]].body = rewrite(o.body, [&](const Expr& e) { return side_of(e) ? load : Expr{}; });
  return Done{};
}

Result<> apply(Stages s, const step::MergeEpilogue& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  const Stage& p = s.group[*id];
  if (!p.is_reduction()) return refuse("{} is no reduction: inline it", x.stage);
  if (p.finish) return refuse("{} has an epilogue already", x.stage);
  if (is_output(s.group, *id))
    return refuse("{} is an output: its values must stay as they are", x.stage);
  const std::vector<StageId> consumers = consumers_of(s.group, *id);
  if (consumers.size() != 1)
    return refuse("{} has {} consumers, an epilogue needs one", x.stage, consumers.size());
  const Stage o = s.group[consumers[0]];
  if (o.is_reduction() || o.scan || o.shape() != p.shape() || o.dtype != p.dtype)
    return refuse("{} does not have the form of {}: an epilogue is pointwise and of the same type",
                  o.name, x.stage);
  bool pointwise = true;
  visit(o.body, [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || e.from() != *id) return;
    for (size_t a = 0; a < o.axes.size(); ++a)
      pointwise &= e.indices()[a].is_affine() && e.indices()[a].a == Aff::of(o.axes[a].var);
  });
  if (!pointwise) return refuse("{} does not read {} pointwise", o.name, x.stage);
  if (!s.nests[consumers[0]].untouched(o))
    return refuse("merge_epilogue {} before changing the loops of {}, which vanishes", x.stage,
                  o.name);
  // S moves to the place of O in the order, since its finish may read stages that stand between
  // them.
  std::map<VarId, Aff> becomes;
  for (size_t a = 0; a < o.axes.size(); ++a) becomes[o.axes[a].var] = Aff::of(p.axes[a].var);
  Stage merged = p;
  merged.finish = renamed(rewrite(o.body,
                                  [&](const Expr& e) {
                                    return e.kind() == ExprKind::Load && e.from() == *id
                                               ? acc(p.dtype)
                                               : Expr{};
                                  }),
                          becomes);
  if (merged.layout.empty()) merged.layout = o.layout;
  StageId at = consumers[0];
  Nest nest = s.nests[at];  // its place and storage, with the loops of S
  nest.loops = s.nests[*id].loops;
  nest.order = s.nests[*id].order;
  nest.guard_init = true;
  s.group.stages[at] = std::move(merged);
  s.nests[at] = std::move(nest);
  remove_stage(s, *id);
  return Done{};
}

// One part of a reduction over raxes[axis], which becomes `position`; `kept` is an axis of the part, which may be missing,
// `reduced` are reduce axes.
Stage part_of(Stages s, StageId id, const std::string& axis, const Aff& position, const std::optional<Axis>& kept,
              const std::vector<Axis>& reduced) {
  Stage part;
  const std::vector<Axis> raxes = s.group[id].raxes;
  std::map<VarId, Aff> becomes;
  part.dtype = s.group[id].dtype;
  part.op = s.group[id].op;
  part.axes = fresh_axes(s.group, s.group[id].axes, becomes);
  if (kept) part.axes.push_back(*kept);
  part.raxes = reduced;
  std::vector<Axis> others;
  for (const Axis& a : raxes)
    if (a.name != axis) others.push_back(a);
  for (Axis& a : fresh_axes(s.group, others, becomes)) part.raxes.push_back(a);
  for (const Axis& a : raxes)
    if (a.name == axis) becomes[a.var] = position;
  part.body = renamed(s.group[id].body, becomes);
  if (s.group[id].init && !kept) part.init = renamed(s.group[id].init, becomes);
  return part;
}

std::string part_name(const StageGroup& g, const std::string& stage) {
  std::string name = stage + ".rf";
  for (int n = 2; g.named(name); ++n) name = fmt::format("{}.rf{}", stage, n);
  return name;
}

Result<> apply(Stages s, const step::RFactor& x) {
  auto id = find_stage(s, x.stage);
  if (!id) return Reason{id.reason()};
  const std::string part_of_it = part_name(s.group, x.stage), rest_name = x.stage + ".rest";
  const bool whole_blocks = x.lanes && !x.guard;
  if (whole_blocks)
    if (auto ok = check_free(s.group, rest_name); !ok) return ok;
  if (!s.nests[*id].untouched(s.group[*id]))
    return refuse("rfactor {} before changing its loops", x.stage);
  const std::vector<Axis>& raxes = s.group[*id].raxes;
  auto axis =
      std::find_if(raxes.begin(), raxes.end(), [&](const Axis& a) { return a.name == x.axis; });
  if (axis == raxes.end()) return refuse("{} is not a reduce axis of {}", x.axis, x.stage);
  if (x.factor < 1) return refuse("{}.{} factored by {}", x.stage, x.axis, x.factor);
  const int64_t extent = axis->extent, factor = std::min(x.factor, extent);
  // Lanes: whole blocks only, what is left over is a stage of its own. Else the last block is short.
  if (x.together < 1 || (x.together > 1 && (!x.lanes || (whole_blocks && (extent / factor % x.together || extent % factor)))))
    return refuse("{}.{} of {} is not made of lanes of {} neighbours", x.stage, x.axis, extent, x.together);
  const int64_t blocks = whole_blocks ? extent / factor / x.together : ceil_div(extent, factor * x.together);
  const int64_t rest = whole_blocks ? extent % factor : 0;
  Axis outer{x.axis + "o", s.group.fresh(x.axis + "o"), blocks};
  Axis inner{x.axis + "i", s.group.fresh(x.axis + "i"), factor};
  Axis& kept = x.lanes ? inner : outer;
  for (const Axis& a : s.group[*id].axes)
    if (a.name == kept.name) return refuse("{} has an axis {} already", x.stage, a.name);
  Aff position = Aff::of(outer.var, factor * x.together) + Aff::of(inner.var, x.together);
  std::vector<Axis> reduced = {x.lanes ? outer : inner};
  if (x.together > 1) {
    reduced.push_back({x.axis + "n", s.group.fresh(x.axis + "n"), x.together});
    position += Aff::of(reduced.back().var);
  }
  Stage part = part_of(s, *id, x.axis, position, kept, reduced);
  part.name = part_of_it;
  if (!whole_blocks && extent % (factor * x.together)) {
    Index inside(Aff(extent - 1) - position);
    part.body =
        select(all_nonnegative(std::span(&inside, 1)), part.body, neutral(part.op, part.dtype));
  }
  StageId at = *id;
  if (rest) {
    Axis left{x.axis + "r", s.group.fresh(x.axis + "r"), rest};
    Stage over = part_of(s, at, x.axis, Aff::of(left.var) + Aff(blocks * factor), std::nullopt, {left});
    over.name = rest_name;
    insert_stage(s, at++, std::move(over));
  }
  insert_stage(s, at, std::move(part));
  Stage& whole = s.group[at + 1];
  Axis over{kept.name, s.group.fresh(kept.name), kept.extent};
  whole.raxes = {over};
  if (rest) whole.init = load(whole.dtype, at - 1, at_axes(whole.axes));
  std::vector<Index> indices = at_axes(whole.axes);
  indices.push_back(Index(Aff::of(over.var)));
  whole.body = load(whole.dtype, at, std::move(indices));
  Nest fresh = plain_nest(whole);
  s.nests[at + 1].loops = std::move(fresh.loops);
  s.nests[at + 1].order = std::move(fresh.order);
  return Done{};
}

}  // namespace burnish::schedule
