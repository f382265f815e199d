#include "target/llvm/module.h"

#include <burnish/abi.h>
#include <burnish/artifact_format.h>

#include <algorithm>
#include <span>
#include <thread>

#include "base/error.h"
#include "target/llvm/codegen.h"
#include "target/llvm/emit.h"
#include "target/llvm/host_abi.h"
#include "target/weights.h"

namespace burnish::llvm_target {

namespace {

std::unique_ptr<llvm::Module> new_module(llvm::LLVMContext& c, const llvm::TargetMachine& tm) {
  auto m = std::make_unique<llvm::Module>("burnish", c);
  m->setDataLayout(tm.createDataLayout());
  m->setTargetTriple(tm.getTargetTriple().str());
  return m;
}

llvm::FunctionCallee kernel(llvm::Module& m, const Program& p, size_t i) {
  auto* type = kernel_type(m.getContext(), p.functions[i].params.size());
  std::string name = kernel_symbol(p.functions[i], i);
  auto callee = m.getOrInsertFunction(name, type);
  auto* f = llvm::cast<llvm::Function>(callee.getCallee());
  f->setVisibility(llvm::GlobalValue::HiddenVisibility);
  f->setDSOLocal(true);
  return callee;
}

// int32 run(frame, thread, host): every thread executes all steps.
llvm::Function* add_run(llvm::Module& m, const Program& p, const ProgramMemory& memory, const Isa& isa) {
  llvm::LLVMContext& c = m.getContext();
  llvm::IRBuilder<> b(c);
  auto* type = llvm::FunctionType::get(b.getInt32Ty(), {b.getPtrTy(), b.getInt32Ty(), b.getPtrTy()}, false);
  auto* run = llvm::Function::Create(type, llvm::Function::InternalLinkage, "run", m);
  set_attributes(*run, isa);
  llvm::Value *frame = run->getArg(0), *thread = run->getArg(1), *host = run->getArg(2);
  b.SetInsertPoint(llvm::BasicBlock::Create(c, "entry", run));
  auto offset = [&](llvm::Value* base, int64_t bytes) {
    return bytes ? b.CreateGEP(b.getInt8Ty(), base, b.getInt64(uint64_t(bytes))) : base;
  };
  llvm::Value* tensors = load_field(b, frame, FrameField::Tensors);
  llvm::Value* arena = load_field(b, frame, FrameField::Arena);
  llvm::Value* weights = load_field(b, frame, FrameField::Weights);
  llvm::Value* stride = load_field(b, frame, FrameField::ScratchStride);
  llvm::Value* threads = load_field(b, frame, FrameField::Threads);
  llvm::Value* scratch = b.CreateGEP(b.getInt8Ty(), load_field(b, frame, FrameField::Scratch),
                                     b.CreateMul(b.CreateZExt(thread, b.getInt64Ty()), stride));
  llvm::Value* shared = offset(arena, memory.shared_offset);
  llvm::Value* many = b.CreateICmpUGT(threads, b.getInt32(1));
  llvm::Value* profiled = b.CreateAnd(b.CreateICmpEQ(thread, b.getInt32(0)),
                                      b.CreateIsNotNull(load_field(b, host, HostField::Mark)));
  auto when = [&](llvm::Value* condition, const std::function<void()>& body) {
    auto* then = llvm::BasicBlock::Create(c, "then", run);
    auto* join = llvm::BasicBlock::Create(c, "join", run);
    b.CreateCondBr(condition, then, join);
    b.SetInsertPoint(then);
    body();
    b.CreateBr(join);
    b.SetInsertPoint(join);
  };

  std::vector<int64_t> slot(p.tensors.size(), -1);  // in frame->tensors
  for (size_t i = 0; i < p.inputs.size(); ++i) slot.at(p.inputs[i]) = int64_t(i);
  for (size_t i = 0; i < p.outputs.size(); ++i) slot.at(p.outputs[i]) = int64_t(p.inputs.size() + i);
  auto* mark_type = llvm::FunctionType::get(b.getVoidTy(), {b.getPtrTy(), b.getInt32Ty(), b.getInt32Ty()}, false);
  for (size_t i = 0; i < p.steps.size(); ++i) {
    const Step& s = p.steps[i];
    check(s.function < p.functions.size(), "step {} runs function {} of {}", i, s.function, p.functions.size());
    const Function& f = p.functions[s.function];
    check(s.args.size() == f.params.size() && (s.offsets.empty() || s.offsets.size() == s.args.size()),
          "step {} gives {} arguments to {}, which has {} parameters", i, s.args.size(), f.name, f.params.size());
    std::vector<llvm::Value*> args;
    for (size_t a = 0; a < s.args.size(); ++a) {
      check(s.args[a] < p.tensors.size(), "step {} names tensor {} of {}", i, s.args[a], p.tensors.size());
      const ProgramTensor& t = p.tensors[s.args[a]];
      int64_t extra = s.offsets.empty() ? 0 : s.offsets[a];
      if (t.kind == TensorKind::Constant) {
        args.push_back(offset(weights, t.offset + extra));
      } else if (t.kind == TensorKind::Arena) {
        args.push_back(offset(arena, t.offset + extra));
      } else {
        int64_t place = slot[s.args[a]];
        check(place >= 0, "tensor {} is neither among the inputs nor the outputs", t.name);
        auto* at = b.CreateConstGEP1_64(b.getPtrTy(), tensors, uint64_t(place));
        args.push_back(offset(b.CreateLoad(b.getPtrTy(), at), extra));
      }
    }
    args.insert(args.end(), {scratch, shared, host, thread, threads});
    b.CreateCall(kernel(m, p, s.function), args);
    if (s.barrier) when(many, [&] { call_barrier(b, host, thread); });
    when(profiled, [&] {
      llvm::Value* mark = load_field(b, host, HostField::Mark);
      b.CreateCall(mark_type, mark, {load_field(b, host, HostField::Ctx), thread, b.getInt32(uint32_t(i))});
    });
  }
  b.CreateRet(b.getInt32(0));
  return run;
}

llvm::GlobalVariable* add_constant(llvm::Module& m, llvm::Constant* value, const char* name, const char* section,
                                   uint64_t align) {
  auto* g = new llvm::GlobalVariable(m, value->getType(), true, llvm::GlobalValue::InternalLinkage, value, name);
  g->setAlignment(llvm::Align(align));
  if (section) g->setSection(section);
  return g;
}

// An ELF note: sizes and type, owner, contents padded to 4 bytes.
void add_note(llvm::Module& m, uint32_t type, std::string_view contents) {
  std::string note;
  auto word = [&](uint32_t v) { note.append(reinterpret_cast<const char*>(&v), 4); };
  word(sizeof(BURNISH_NOTE_OWNER));
  word(uint32_t(contents.size()));
  word(type);
  note.append(BURNISH_NOTE_OWNER, sizeof(BURNISH_NOTE_OWNER));
  note += contents;
  note.append((4 - note.size() % 4) % 4, '\0');
  auto* bytes = llvm::ConstantDataArray::getString(m.getContext(), note, false);
  add_constant(m, bytes, "note", ".note.burnish", 4);
}

void add_entry(llvm::Module& m, const Program& p, llvm::Function* run, const Isa& isa) {
  llvm::LLVMContext& c = m.getContext();
  llvm::IRBuilder<> b(c);
  llvm::Constant* null = llvm::ConstantPointerNull::get(b.getPtrTy());
  llvm::Constant* data = null;
  const std::vector<std::byte> weights = weights_of(p);
  if (!weights.empty()) {
    const llvm::StringRef raw(reinterpret_cast<const char*>(weights.data()), weights.size());
    auto* bytes = llvm::ConstantDataArray::getRaw(raw, raw.size(), b.getInt8Ty());
    data = add_constant(m, bytes, "weights", ".rodata.weights", 4096);
  }
  static_assert(sizeof(burnish_entry) == 40);
  auto* entry = add_constant(m,
                             llvm::ConstantStruct::getAnon({b.getInt32(BURNISH_ABI_VERSION), b.getInt32(uint32_t(p.steps.size())),
                                                            run, null, data, b.getInt64(weights.size())}),
                             "burnish_entry", nullptr, 8);
  auto* f = llvm::Function::Create(llvm::FunctionType::get(b.getPtrTy(), false), llvm::Function::ExternalLinkage,
                                   BURNISH_ENTRY_SYMBOL, m);
  set_attributes(*f, isa);
  b.SetInsertPoint(llvm::BasicBlock::Create(c, "entry", f));
  b.CreateRet(entry);
}

// Every `parts`-th kernel of a program, from `part` on.
void add_kernels(llvm::Module& m, const Program& p, const Isa& isa, size_t part, size_t parts) {
  for (size_t i = part; i < p.functions.size(); i += parts) {
    generate(p.functions[i], m, kernel_symbol(p.functions[i], i), isa, &p.functions);
  }
}

std::string kernels_object(const Program& p, const Isa& isa, size_t part, size_t parts) {
  llvm::LLVMContext c;
  auto tm = make_machine(isa);
  auto m = new_module(c, *tm);
  add_kernels(*m, p, isa, part, parts);
  return emit_module(*m, *tm, EmitKind::Object);
}

// What calls the kernels, weights and notes; of a small program the kernels, too.
std::string model_object(const Program& p, const Isa& isa, const std::string& metadata, bool with_kernels) {
  llvm::LLVMContext c;
  auto tm = make_machine(isa);
  auto m = new_module(c, *tm);
  if (with_kernels) add_kernels(*m, p, isa, 0, 1);
  llvm::Function* run = add_run(*m, p, memory_of(p), isa);
  add_entry(*m, p, run, isa);
  add_note(*m, BURNISH_NOTE_METADATA, metadata);
  add_note(*m, BURNISH_NOTE_CHECKSUM, std::string(8, '\0'));
  return emit_module(*m, *tm, EmitKind::Object);
}

}  // namespace

ProgramMemory memory_of(const Program& p) {
  ProgramMemory r;
  int64_t shared = 0;
  for (const Function& f : p.functions) {
    FrameMemory need = memory_of(f);
    r.scratch = std::max(r.scratch, need.thread);
    shared = std::max(shared, need.shared);
  }
  r.shared_offset = (p.arena_bytes + 63) / 64 * 64;
  r.arena = shared ? r.shared_offset + shared : p.arena_bytes;
  return r;
}

std::string emit_program(const Program& p, const Isa& isa, EmitKind kind) {
  require(kind != EmitKind::Cuda && kind != EmitKind::Ptx, "code for CPUs has no CUDA source and no PTX: choose llvm, asm or obj, or the target cuda");
  llvm::LLVMContext c;
  auto tm = make_machine(isa);
  auto m = new_module(c, *tm);
  add_kernels(*m, p, isa, 0, 1);
  add_run(*m, p, memory_of(p), isa);
  return emit_module(*m, *tm, kind);
}

std::string build_program(const Program& p, const Isa& isa, const std::string& metadata) {
  initialize_llvm();
  size_t parts = std::clamp<size_t>(std::min<size_t>(std::thread::hardware_concurrency(), p.functions.size() / 4), 1, 8);
  std::vector<std::string> objects(parts);
  std::vector<std::exception_ptr> failures(parts);
  auto compile = [&](size_t i) {
    try {
      objects[i] = kernels_object(p, isa, i, parts);
    } catch (...) {
      failures[i] = std::current_exception();
    }
  };
  if (parts > 1) {
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < parts; ++i) threads.emplace_back(compile, i);
    compile(0);
  }
  for (const std::exception_ptr& e : failures) {
    if (e) std::rethrow_exception(e);
  }
  // A module costs milliseconds whatever is in it, and search builds many small programs.
  if (parts == 1) objects.clear();
  objects.push_back(model_object(p, isa, metadata, parts == 1));
  std::string library = link_library(objects, isa);
  auto bytes = std::as_writable_bytes(std::span(library));
  const char* wrong = artifact::stamp_checksum(bytes);
  check(!wrong, "the linked library {}", wrong ? wrong : "");
  return library;
}

}  // namespace burnish::llvm_target
