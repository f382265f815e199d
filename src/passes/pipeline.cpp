#include "passes/pipeline.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "passes/graph/passes.h"
#include "passes/loop/passes.h"

namespace burnish {

namespace {

constexpr GraphPass graph_passes[] = {
    {"fold_constants", fold_constants, "shapes and weights computed by nodes become constants that all later passes can read"},
    {"simplify", simplify, "before folding of batch norms: an identity between conv and norm would hide the pair"},
    {"fold_batch_norm", fold_batch_norm, "before fusion: what is folded needs no epilogue"},
    {"fold_constants", fold_constants, "weights rewritten by the passes above"},
    {"compose_convolutions", compose_convolutions, "after folding of batch norms, which stand between two convolutions; before fusion, for which each begins a group"},
    {"common_subexpressions", common_subexpressions, "after folding: equal weights have become equal constants"},
    {"dead_code", dead_code, "before layouts: a dead consumer must not ask for a conversion"},
    {"recognize_attention", recognize_attention, "after dead code: what is left has one reader; before layouts: transposes around it become layouts of its operands"},
    {"split_products", split_products, "after attention, which has slices of one product; before layouts: what cut and product have between them become views"},
    {"merge_convolutions", merge_convolutions, "before layouts: the parts are views of one tensor, whose order is chosen with all that reads them"},
    {"choose_layout", choose_layout, "before fusion: groups are made of nodes of one layout"},
    {"gate_weights", gate_weights, "after layouts: its weights lie as tiles read them; before algorithms, which want constant weights"},
    {"choose_algorithms", choose_algorithms, "after layouts, which cost depends on; before fusion: epilogues join whatever is chosen"},
    {"fuse", fuse, "its groups are what is scheduled"},
    {"narrow_storage", narrow_storage, "after fusion: only what lies between groups is stored; before chains, whose parts hand on what they would have stored"},
    {"fuse_addends", fuse_addends, "before chains: what a group adds is no link of the run that it continues"},
    {"fuse_chains", fuse_chains, "last: joins finished groups"},
};

constexpr ProgramPass program_passes[] = {
    {"elide_copies", elide_copies, "before steps are joined: a copy is a step of its own"},
    {"join_steps", join_steps, "before the arena: what runs at once must not share memory"},
    {"drop_barriers", drop_barriers, "before the arena: what may be touched between the same barriers must not share memory"},
    {"plan_arena", plan_arena, "nothing after it may add a tensor or a step"},
    {"place_weights", place_weights, ""},
};

constexpr std::string_view lowering = "to_program";

void check_names(const Context& c) {
  const std::vector<std::string_view> known = pass_names();
  auto require_known = [&](const std::string& name) {
    if (std::find(known.begin(), known.end(), name) != known.end()) return;
    std::vector<std::string> texts(known.begin(), known.end());
    fail_user("there is no pass '{}'; the passes are {}", name, join(texts, ", "));
  };
  for (const std::string& name : c.options.dump) {
    if (name != "all") require_known(name);
  }
  for (const std::string& name : c.options.disable) require_known(name);
  if (!c.options.stop_after.empty()) require_known(c.options.stop_after);
}

}  // namespace

std::span<const GraphPass> graph_pipeline() { return graph_passes; }
std::span<const ProgramPass> program_pipeline() { return program_passes; }

std::vector<std::string_view> pass_names() {
  std::vector<std::string_view> names;
  auto add = [&](std::string_view name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const GraphPass& p : graph_passes) add(p.name);
  add(lowering);
  for (const ProgramPass& p : program_passes) add(p.name);
  return names;
}

std::vector<std::string> passes_across_steps() { return {"elide_copies", "join_steps"}; }

Graph optimize_graph(const Graph& g, const Context& context) {
  check_names(context);
  return run_passes(graph_passes, g, context);
}

bool is_graph_pass(std::string_view name) {
  return std::ranges::any_of(graph_passes, [&](const GraphPass& p) { return p.name == name; });
}

Program lower_graph(const Graph& groups, const Context& context) {
  check_names(context);
  check(context.target != nullptr, "a program needs a target");
  constexpr int place = static_cast<int>(std::size(graph_passes)) + 1;
  Program p = run_lowering(lowering, to_program, groups, context, place);
  if (context.options.stop_after == lowering) return p;
  return run_passes(program_passes, std::move(p), context, place + 1);
}

Program compile_graph(const Graph& g, const Context& context) {
  check_names(context);
  require(!is_graph_pass(context.options.stop_after),
          "stopping after pass {} leaves a graph and no program: emit the graph instead",
          context.options.stop_after);
  return lower_graph(run_passes(graph_passes, g, context), context);
}

}  // namespace burnish
