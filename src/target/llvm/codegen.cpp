#include "target/llvm/codegen.h"

#include <llvm/IR/Dominators.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Transforms/Utils/PromoteMemToReg.h>

namespace burnish::llvm_target {

llvm::FunctionType* kernel_type(llvm::LLVMContext& c, size_t params) {
  llvm::Type *p = llvm::PointerType::get(c, 0), *i32 = llvm::Type::getInt32Ty(c);
  std::vector<llvm::Type*> types(params + 3, p);  // parameters, scratch, shared, host
  types.insert(types.end(), {i32, i32});          // thread, threads
  return llvm::FunctionType::get(llvm::Type::getVoidTy(c), types, false);
}

std::string kernel_symbol(const Function& f, size_t position) {
  std::string name;
  for (char c : f.name.substr(0, 80)) name += isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return fmt::format("kernel{}.{}", position, name);
}

void set_attributes(llvm::Function& f, const Isa& isa) {
  f.addFnAttr("target-cpu", isa.cpu);
  if (!isa.features.empty()) f.addFnAttr("target-features", isa.features);
  std::string bits = std::to_string(isa.vector_bytes * 8);
  f.addFnAttr("prefer-vector-width", bits);
  f.addFnAttr("min-legal-vector-width", bits);
  f.addFnAttr("no-trapping-math", "true");
  f.addFnAttr("no-builtins");
  f.addFnAttr(llvm::Attribute::NoUnwind);
}

Codegen::Codegen(const Function& f, llvm::Module& m, const std::string& symbol, const Isa& isa,
                 const std::vector<Function>* program, const std::set<BufferId>& demoted)
    : f_(f), program_(program), demoted_(demoted), isa_(isa), module_(m), context_(m.getContext()),
      builder_(m.getContext()), math_(builder_, isa_) {
  fn_ = llvm::Function::Create(kernel_type(context_, f.params.size()), llvm::Function::ExternalLinkage, symbol, m);
  fn_->setVisibility(llvm::GlobalValue::HiddenVisibility);
  fn_->setDSOLocal(true);
  fn_->setAlignment(llvm::Align(64));
  set_attributes(*fn_, isa_);
  bases_.resize(f.buffers.size());
  offsets_.resize(f.buffers.size());
  bindings_.resize(f.vars.size());
  for (size_t i = 0; i < f.params.size(); ++i) {
    fn_->addParamAttr(unsigned(i), llvm::Attribute::NoAlias);
    check(f.params[i] < f.buffers.size(), "{}: parameter {} is buffer {} of {}", f.name, i, f.params[i],
          f.buffers.size());
    bases_[f.params[i]] = fn_->getArg(unsigned(i));
  }
  unsigned n = unsigned(f.params.size());
  scratch_ = fn_->getArg(n);
  shared_ = fn_->getArg(n + 1);
  host_ = fn_->getArg(n + 2);
  thread_ = fn_->getArg(n + 3);
  threads_ = fn_->getArg(n + 4);

  int widest = 4;
  llvm::MDBuilder md(context_);
  auto* domain = md.createAnonymousAliasScopeDomain(f.name);
  std::vector<llvm::Metadata*> scopes;
  llvm::MDNode *thread_memory = nullptr, *shared_memory = nullptr;  // buffers in these may follow each other in one place
  for (const Buffer& buffer : f.buffers) {
    if (buffer.dtype == DType::F64) widest = 8;
    auto own = [&] { return md.createAnonymousAliasScope(domain, buffer.name); };
    llvm::MDNode** common = buffer.scope == Scope::Shared ? &shared_memory : &thread_memory;
    if (buffer.scope == Scope::Param) {
      scopes.push_back(own());
    } else {
      if (!*common) *common = own();
      scopes.push_back(*common);
    }
  }
  for (llvm::Metadata* scope : scopes) {
    scope_lists_.push_back(llvm::MDNode::get(context_, scope));
    llvm::SmallVector<llvm::Metadata*, 8> others;
    for (llvm::Metadata* other : scopes) {
      if (other != scope && !llvm::is_contained(others, other)) others.push_back(other);
    }
    noalias_lists_.push_back(llvm::MDNode::get(context_, others));
  }
  natural_lanes_ = isa_.vector_bytes / widest;
}

llvm::Function* Codegen::run() {
  auto* entry = llvm::BasicBlock::Create(context_, "entry", fn_);
  auto* start = llvm::BasicBlock::Create(context_, "start", fn_);
  b().SetInsertPoint(entry);
  entry_end_ = b().CreateBr(start);
  b().SetInsertPoint(start);
  push_scope();
  if (f_.body) emit(f_.body);
  pop_scope();
  b().CreateRetVoid();

  if (!promoted_.empty()) {
    llvm::DominatorTree tree(*fn_);
    llvm::PromoteMemToReg(promoted_, tree);
  }
  return fn_;
}

llvm::Function* generate(const Function& f, llvm::Module& m, const std::string& symbol, const Isa& isa,
                         const std::vector<Function>* program) {
  // A register buffer that turns out to be accessed in different widths lives on the stack instead: slower, and right.
  std::set<BufferId> demoted;
  for (;;) {
    Codegen g(f, m, symbol, isa, program, demoted);
    try {
      llvm::Function* fn = g.run();
      std::string why;
      llvm::raw_string_ostream out(why);
      check(!llvm::verifyFunction(*fn, &out), "the code of {} is malformed: {}", f.name, why);
      return fn;
    } catch (const Codegen::NotPromotable& e) {
      check(demoted.insert(e.buffer).second, "{}: register buffer {} cannot be placed", f.name,
            f.buffers[e.buffer].name);
      m.getFunction(symbol)->eraseFromParent();
    }
  }
}

}  // namespace burnish::llvm_target
