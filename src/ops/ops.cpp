// The list of operators. A new family: its function in common.h and its line here.
#include <algorithm>

#include "ops/common.h"

namespace burnish {
namespace {

std::vector<const OpDef*> sorted_table() {
  using namespace ops;
  std::vector<const OpDef*> all;
  for (std::span<const OpDef> family :
       {elementwise_ops(), conv_ops(), winograd_ops(), norm_ops(), pool_ops(), matmul_ops(), reduce_ops(),
        softmax_ops(), attention_ops(), shape_ops(), movement_ops(), gather_ops(), resize_ops(),
        grid_sample_ops(), quantize_ops()}) {
    for (const OpDef& op : family) all.push_back(&op);
  }
  std::sort(all.begin(), all.end(),
            [](const OpDef* a, const OpDef* b) { return a->name < b->name; });
  auto twice = std::adjacent_find(all.begin(), all.end(), [](const OpDef* a, const OpDef* b) {
    return a->name == b->name;
  });
  check(twice == all.end(), "an operator is listed twice: {}",
        twice == all.end() ? std::string_view{} : (*twice)->name);
  return all;
}

}  // namespace

std::span<const OpDef* const> all_ops() {
  static const std::vector<const OpDef*> table = sorted_table();
  return table;
}

const OpDef* find_op(std::string_view name) {
  std::span<const OpDef* const> all = all_ops();
  auto it = std::lower_bound(all.begin(), all.end(), name,
                             [](const OpDef* op, std::string_view n) { return op->name < n; });
  return it != all.end() && (*it)->name == name ? *it : nullptr;
}

const OpDef& op_named(std::string_view name) {
  const OpDef* op = find_op(name);
  check(op != nullptr, "no operator is called {}", name);
  return *op;
}

}  // namespace burnish
