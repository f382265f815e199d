// Where a value stands in the code, and finding it again.
#include "target/llvm/codegen.h"

namespace burnish::llvm_target {

void Codegen::pop_scope() {
  for (const Key& k : scopes_.back().values) memo_.erase(k);
  scopes_.pop_back();
  fresh_.clear();
}

llvm::Value* Codegen::recall(const Key& k) const {
  auto it = memo_.find(k);
  return it == memo_.end() ? nullptr : it->second.v;
}

void Codegen::remember(Key k, llvm::Value* v, size_t scope, BufferId b, bool is_load) {
  if (memo_.emplace(k, Memo{v, b, is_load, scope, fences_}).second) scopes_[scope].values.push_back(std::move(k));
}

void Codegen::forget_loads(BufferId b) {
  std::erase_if(memo_, [&](const auto& entry) { return entry.second.is_load && entry.second.buffer == b; });
}

// The preheader of the loop just inside `depth` levels: the value changes in none of the loops from there on.
size_t Codegen::scope_of(int depth) const {
  return depth < level_count() ? levels_[depth].scope : scopes_.size() - 1;
}

Placed Codegen::place(int depth, Key key, const std::function<llvm::Value*()>& make) {
  if (llvm::Value* v = recall(key)) return {v, depth};
  llvm::Value* v;
  if (depth < level_count()) {
    llvm::IRBuilderBase::InsertPointGuard back(builder_);
    builder_.SetInsertPoint(levels_[depth].preheader);
    v = make();
  } else {
    v = make();
  }
  remember(std::move(key), v, scope_of(depth));
  return {v, depth};
}

}  // namespace burnish::llvm_target
