#include "passes/graph/kernels.h"

#include <fmt/format.h>

#include "base/error.h"
#include "graph/op.h"
#include "te/evaluate.h"

namespace burnish {

namespace {

Expr as_constant(const Tensor& t) {
  const Scalar s = t.get(0);
  return is_float(t.dtype) ? constant(s.f, t.dtype) : constant_int(s.i, t.dtype);
}

Expr rewritten(const Expr& e, const std::function<Expr(const Expr&)>& f) { return e ? rewrite(e, f) : e; }

void rewrite_formulas(Stage& s, const std::function<Expr(const Expr&)>& f) {
  s.body = rewritten(s.body, f);
  s.init = rewritten(s.init, f);
  s.finish = rewritten(s.finish, f);
}

}  // namespace

KernelStages kernel_stages(const Graph& g, const Node& node) {
  StageGroup all = stages_of_group(g, node);
  check(all.inputs.size() == node.inputs.size(), "group {} has {} operands but {} parameters", all.name,
        node.inputs.size(), all.inputs.size());

  std::map<StageId, Expr> scalars;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Value& v = g.values[node.inputs[i]];
    if (v.is_constant() && v.constant->size() == 1) scalars[all.inputs[i]] = as_constant(*v.constant);
  }
  auto inline_scalars = [&](const Expr& e) {
    if (e.kind() != ExprKind::Load) return Expr{};
    auto it = scalars.find(e.from());
    return it == scalars.end() ? Expr{} : it->second;
  };
  std::vector<bool> read(all.stages.size(), false);
  for (StageId s : all.outputs) read[s] = true;
  for (size_t s = all.stages.size(); s-- > 0;) {
    Stage& stage = all.stages[s];
    if (!stage.is_compute() || !read[s]) continue;
    if (!scalars.empty()) rewrite_formulas(stage, inline_scalars);
    for (StageId p : producers(all, static_cast<StageId>(s))) read[p] = true;
  }

  // Numbers the stages that are left anew.
  KernelStages out;
  out.group.name = all.name;
  out.group.vars = all.vars;
  std::vector<StageId> now(all.stages.size(), ~StageId{0});
  for (StageId s = 0; s < all.stages.size(); ++s) {
    if (!read[s]) continue;
    now[s] = static_cast<StageId>(out.group.stages.size());
    out.group.stages.push_back(std::move(all.stages[s]));
  }
  auto renumber = [&](const Expr& e) {
    if (e.kind() != ExprKind::Load || now[e.from()] == e.from()) return Expr{};
    std::vector<Index> indices(e.indices().begin(), e.indices().end());
    return load(e.dtype(), now[e.from()], std::move(indices), e.fill());
  };
  for (Stage& s : out.group.stages) rewrite_formulas(s, renumber);
  for (size_t i = 0; i < all.inputs.size(); ++i) {
    if (!read[all.inputs[i]]) continue;
    out.group.inputs.push_back(now[all.inputs[i]]);
    out.operand_of.push_back(static_cast<uint32_t>(i));
  }
  for (StageId s : all.outputs) out.group.outputs.push_back(now[s]);
  return out;
}

const Kernel& KernelTable::kernel(const StageGroup& stages, const std::string& source) {
  std::string text = to_text(stages);
  auto it = by_text_.find(text);
  if (it != by_text_.end()) return it->second;

  const Schedule schedule = target_.default_schedule(stages);
  check(!schedule.failure(), "the default schedule of {} (from {}) is refused: {}", stages.name, source,
        schedule.failure() ? schedule.failure()->text : "");
  Function f = lower(schedule).expect(
      fmt::format("lowering {} (from {}) with the schedule\n{}\n", stages.name, source, schedule.to_text()));
  const int copy = used_names_[stages.name]++;
  f.name = copy == 0 ? stages.name : fmt::format("{}.{}", stages.name, copy);

  Kernel k{.function = static_cast<uint32_t>(functions_.size()), .schedule = schedule.to_text()};
  const StageGroup& scheduled = schedule.group();
  check(scheduled.inputs.size() == stages.inputs.size(), "scheduling {} changed its parameters", stages.name);
  for (StageId s : scheduled.inputs) k.packed.push_back(packed_layout(schedule, s));
  functions_.push_back(std::move(f));
  return by_text_.emplace(std::move(text), std::move(k)).first->second;
}

}  // namespace burnish
