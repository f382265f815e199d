#include "target/llvm/emit.h"

#include <llvm/IR/LegacyPassManager.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/CodeGen.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetOptions.h>
#include <lld/Common/Driver.h>
#include <signal.h>

#include <mutex>
#include <shared_mutex>
#include <string_view>

#include "base/error.h"
#include "base/hold_signals.h"
#include "base/temporary_folder.h"
#include "base/text.h"

LLD_HAS_DRIVER(elf)

namespace burnish::llvm_target {

namespace {

// lld resets LLVM's options, which are the process's: many may generate code at a time, or one may link.
std::shared_mutex& llvm_options() {
  static std::shared_mutex m;
  return m;
}

// Strength reduction of loops undoes the addresses that code generation laid out, and costs time.
void set_options() {
  auto& options = llvm::cl::getRegisteredOptions();
  auto it = options.find("disable-lsr");
  check(it != options.end(), "this LLVM has no option disable-lsr");
  static_cast<llvm::cl::opt<bool>*>(it->second)->setValue(true);
}

}  // namespace

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    set_options();
  });
}

std::unique_ptr<llvm::TargetMachine> make_machine(const Isa& isa) {
  initialize_llvm();
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(isa.triple, error);
  require(target != nullptr, "the target triple \"{}\" is not supported: {}", isa.triple, error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
  std::unique_ptr<llvm::TargetMachine> tm(target->createTargetMachine(isa.triple, isa.cpu, isa.features, options,
                                                                      llvm::Reloc::PIC_, llvm::CodeModel::Small,
                                                                      llvm::CodeGenOptLevel::Default));
  check(tm != nullptr, "no code generator for {}", isa.triple);
  return tm;
}

std::string emit_module(llvm::Module& m, llvm::TargetMachine& tm, EmitKind kind) {
  if (kind == EmitKind::LlvmIr) {
    std::string text;
    llvm::raw_string_ostream out(text);
    m.print(out, nullptr);
    return text;
  }
  std::shared_lock together(llvm_options());
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream out(bytes);
  llvm::legacy::PassManager passes;
  auto type = kind == EmitKind::Object ? llvm::CodeGenFileType::ObjectFile : llvm::CodeGenFileType::AssemblyFile;
  check(!tm.addPassesToEmitFile(passes, out, nullptr, type, true), "LLVM cannot emit files for {}",
        m.getTargetTriple());
  passes.run(m);
  return std::string(bytes.begin(), bytes.end());
}

namespace {

// The first link of a process leaves its thread with a signal stack of LLVM's, which outlives the thread and which
// sanitizers take for theirs.
struct KeepSignalStack {
  KeepSignalStack() { ::sigaltstack(nullptr, &before); }
  ~KeepSignalStack() { ::sigaltstack(&before, nullptr); }
  KeepSignalStack(const KeepSignalStack&) = delete;
  KeepSignalStack& operator=(const KeepSignalStack&) = delete;
  stack_t before{};
};

}  // namespace

std::string link_library(const std::vector<std::string>& objects, const Isa& isa) {
  const HoldSignals held;
  const KeepSignalStack kept;
  const TemporaryFolder folder;
  const auto file = [&](std::string_view name) { return (folder.path / name).string(); };
  std::string output = file("model.so");
  std::vector<std::string> args = {"ld.lld", "-shared", "-o", output, "--hash-style=gnu", "-z", "now", "-z", "defs",
                                   "-z", "noexecstack", "--build-id=none", "--threads=1"};
  for (size_t i = 0; i < objects.size(); ++i) {
    std::string name = file(fmt::format("{}.o", i));
    write_file(name, objects[i]);
    args.push_back(name);
  }
  std::vector<const char*> argv;
  for (const std::string& a : args) argv.push_back(a.c_str());
  std::string said, complaint;
  llvm::raw_string_ostream out(said), err(complaint);
  const lld::DriverDef drivers[] = {{lld::Gnu, &lld::elf::link}};
  {
    std::unique_lock alone(llvm_options());
    lld::Result r = lld::lldMain(argv, out, err, drivers);
    set_options();
    check(r.retCode == 0, "linking for {} failed: {}{}", isa.triple, out.str(), err.str());
  }
  return read_file(output);
}

}  // namespace burnish::llvm_target
