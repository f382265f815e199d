#include "loop/interpreter.h"

#include "base/error.h"
#include "loop/machine.h"

namespace burnish {

using namespace loop;

namespace {

DType held_as(DType t, const InterpretOptions& options) {
  return options.in_double && is_float(t) ? DType::F64 : t;
}

void fill(Memory& m, const void* from, int64_t size, DType t) {
  auto* p = static_cast<const std::byte*>(from);
  m.cells.resize(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i)
    m.cells[static_cast<size_t>(i)] = cell_from(p + i * size_of(t), t);
}

// Only what was written: the rest of the caller's memory stays as it is.
void copy_out(const Memory& m, uint32_t mark, void* to, DType t) {
  auto* p = static_cast<std::byte*>(to);
  for (size_t i = 0; i < m.cells.size(); ++i) {
    if (m.marks[i] == mark) cell_to(p + i * static_cast<size_t>(size_of(t)), t, m.cells[i]);
  }
}

}  // namespace

void interpret(const Function& f, const std::vector<void*>& args, const InterpretOptions& options) {
  check(args.size() == f.params.size(), "function {} is given {} arguments for {} parameters",
        f.name, args.size(), f.params.size());
  Code code = compile(f, options.in_double);
  World world{.options = options};
  bool races = options.check_races && code.has_parallel;
  std::vector<Memory> memory(args.size());
  std::vector<View> views;
  for (size_t i = 0; i < args.size(); ++i) {
    const Buffer& b = f.buffers.at(f.params[i]);
    check(args[i] || b.size == 0, "function {}: no memory for {}", f.name, b.name);
    memory[i].resize(b.size, races && b.written);
    if (!b.written) fill(memory[i], args[i], b.size, held_as(b.dtype, options));
    View v = memory[i].view(world.next_mark++);
    v.writable = b.written;
    if (!b.written) v.marks = nullptr;
    if (races && b.written) v.touches = memory[i].touches.data();
    views.push_back(v);
  }
  Machine(code, nullptr, world, views).run();
  for (size_t i = 0; i < args.size(); ++i) {
    const Buffer& b = f.buffers[f.params[i]];
    if (b.written) copy_out(memory[i], views[i].mark, args[i], held_as(b.dtype, options));
  }
}

namespace {

// The tensors of a program in memory. The arena is cells of the smallest element's size in bytes:
// an element covers one cell or several and marks all of them with its tensor, so that reading a
// tensor whose place another has taken since is found. A tensor is one allocation: views of it are
// the same tensor with byte offsets, never a second tensor.
class ProgramRun {
 public:
  ProgramRun(const Program& p, const std::vector<const void*>& inputs,
             const std::vector<void*>& outputs, const InterpretOptions& options)
      : p_(p), outputs_(outputs) {
    check(inputs.size() == p.inputs.size() && outputs.size() == p.outputs.size(),
          "the program has {} inputs and {} outputs, not {} and {}", p.inputs.size(),
          p.outputs.size(), inputs.size(), outputs.size());
    world_.options = options;
    for (const Function& f : p.functions)
      code_.push_back(compile(f, options.in_double, &p.functions));
    memory_.resize(p.tensors.size());
    lay_out_arena();
    for (size_t i = 0; i < inputs.size(); ++i) {
      const ProgramTensor& t = tensor(p.inputs[i]);
      check(inputs[i] || t.size == 0, "no memory for input {}", t.name);
      fill(memory_[p.inputs[i]], inputs[i], t.size, held_as(t.dtype, options));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      const ProgramTensor& t = tensor(p.outputs[i]);
      check(outputs[i] || t.size == 0, "no memory for output {}", t.name);
      memory_[p.outputs[i]].resize(t.size, options.check_races);
    }
    world_.next_mark = static_cast<uint32_t>(p.tensors.size()) + 1;
  }

  void run() {
    for (size_t s = 0; s < p_.steps.size(); ++s) {
      const Step& step = p_.steps[s];
      check(step.function < p_.functions.size(), "step {} runs function {} of {}", s, step.function,
            p_.functions.size());
      const Function& f = p_.functions[step.function];
      check(step.args.size() == f.params.size(),
            "step {}: {} is given {} arguments for {} parameters", s, f.name, step.args.size(),
            f.params.size());
      ErrorContext context(fmt::format("running step {}", s));
      std::vector<View> views;
      for (size_t i = 0; i < step.args.size(); ++i) {
        const Buffer& b = f.buffers.at(f.params[i]);
        views.push_back(view(step.args[i], step.offsets.empty() ? 0 : step.offsets.at(i), b));
      }
      Machine(code_[step.function], &code_, world_, views).run();
      if (step.barrier) ++world_.epoch;
      for (uint32_t t : step.args) {
        if (tensor(t).kind == TensorKind::Constant) memory_[t] = {};
      }
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
      uint32_t t = p_.outputs[i];
      for (size_t e = 0; e < memory_[t].marks.size(); ++e) {
        check(memory_[t].marks[e] == t + 1, "output {}: element {} is never written",
              tensor(t).name, e);
      }
      copy_out(memory_[t], t + 1, outputs_[i], held_as(tensor(t).dtype, world_.options));
    }
  }

 private:
  const ProgramTensor& tensor(uint32_t t) const {
    check(t < p_.tensors.size(), "tensor {} of {}", t, p_.tensors.size());
    return p_.tensors[t];
  }

  void lay_out_arena() {
    bool any = false;
    granule_ = 8;
    for (const ProgramTensor& t : p_.tensors) {
      if (t.kind != TensorKind::Arena) continue;
      any = true;
      granule_ = std::min<int64_t>(granule_, size_of(t.dtype));
      check(t.offset >= 0 && t.size >= 0 && t.offset <= p_.arena_bytes &&
                t.size <= (p_.arena_bytes - t.offset) / size_of(t.dtype),
            "tensor {} of {} elements at byte {} leaves the arena of {} bytes", t.name, t.size,
            t.offset, p_.arena_bytes);
      check(t.offset % size_of(t.dtype) == 0, "tensor {} of {} stands at byte {}", t.name,
            name_of(t.dtype), t.offset);
    }
    if (any) arena_.resize(p_.arena_bytes / granule_, world_.options.check_races);
  }

  View view(uint32_t index, int64_t offset, const Buffer& b) {
    const ProgramTensor& t = tensor(index);
    int64_t bytes = size_of(t.dtype);
    check(t.dtype == b.dtype, "tensor {} of {} is given as {} of {}", t.name, name_of(t.dtype),
          b.name, name_of(b.dtype));
    check(offset >= 0 && offset % bytes == 0 && offset / bytes <= t.size &&
              b.size <= t.size - offset / bytes,
          "tensor {} of {} elements is given from byte {} on as {} of {} elements", t.name, t.size,
          offset, b.name, b.size);
    bool output = t.kind == TensorKind::Output, arena = t.kind == TensorKind::Arena;
    check(!b.written || output || arena, "tensor {} is an input or a constant but {} is written",
          t.name, b.name);
    View v;
    int64_t first = offset / bytes;
    if (arena) {
      v = arena_.view(index + 1);
      v.unit = bytes / granule_;
      first = (t.offset + offset) / granule_;
    } else {
      if (t.kind == TensorKind::Constant) load_constant(index);
      v = memory_[index].view(index + 1);
    }
    if (!output && !arena) v.marks = nullptr;
    Memory& m = arena ? arena_ : memory_[index];
    if (world_.options.check_races && (output || arena)) v.touches = m.touches.data() + first;
    v.cells += first;
    if (v.marks) v.marks += first;
    v.size = b.size;
    v.writable = b.written;
    return v;
  }

  // Constants are converted for the step that reads them.
  void load_constant(uint32_t index) {
    const ProgramTensor& t = p_.tensors[index];
    if (!memory_[index].cells.empty()) return;
    check(t.data && static_cast<int64_t>(t.data->size()) >= t.size * size_of(t.dtype),
          "constant {} of {} elements has {} bytes", t.name, t.size, t.data ? t.data->size() : 0);
    Memory& m = memory_[index];
    m.cells.resize(static_cast<size_t>(t.size));
    for (int64_t i = 0; i < t.size; ++i) {
      m.cells[static_cast<size_t>(i)] = cell_from(t.data->data() + i * size_of(t.dtype), t.dtype);
    }
  }

  const Program& p_;
  const std::vector<void*>& outputs_;
  World world_;
  std::vector<Code> code_;
  std::vector<Memory> memory_;  // by tensor; of Arena tensors empty
  Memory arena_;
  int64_t granule_ = 8;
};

}  // namespace

void interpret(const Program& p, const std::vector<const void*>& inputs,
               const std::vector<void*>& outputs, const InterpretOptions& options) {
  ProgramRun(p, inputs, outputs, options).run();
}

}  // namespace burnish
