// What holds between the functions, tensors and steps of a program.
#include <algorithm>

#include "base/error.h"
#include "loop/program.h"

namespace burnish {

namespace {

class ProgramVerifier {
 public:
  explicit ProgramVerifier(const Program& p) : p_(p), state_(p.tensors.size(), State::Unwritten) {}

  void run() {
    for (const Function& f : p_.functions) {
      verify(f);
      if (f.body) calls(f);
    }
    for (const ProgramTensor& t : p_.tensors) tensor(t);
    for (size_t i = 0; i < p_.tensors.size(); ++i) {
      TensorKind k = p_.tensors[i].kind;
      if (k == TensorKind::Input || k == TensorKind::Constant) state_[i] = State::Written;
    }
    listed(p_.inputs, TensorKind::Input, "input");
    listed(p_.outputs, TensorKind::Output, "output");
    for (size_t s = 0; s < p_.steps.size(); ++s) {
      ErrorContext context(fmt::format("checking step {}", s));
      step(p_.steps[s]);
    }
    for (uint32_t o : p_.outputs) {
      check(state_[o] == State::Written || p_.tensors[o].size == 0,
            "output {} is written by no step", p_.tensors[o].name);
    }
  }

 private:
  enum class State : uint8_t {
    Unwritten,
    Written,
    Taken
  };  // Taken: another tensor was written over it

  void calls(const Function& f) {
    visit(f.body, [&](const Stmt& s) {
      if (s.kind() != StmtKind::Call) return;
      auto callee = std::find_if(p_.functions.begin(), p_.functions.end(),
                                 [&](const Function& g) { return g.name == s->callee; });
      check(callee != p_.functions.end(),
            "function {} calls {}, which is no function of the program", f.name, s->callee);
      check(callee->params.size() == s->args.size(),
            "function {} calls {} with {} arguments, not {}", f.name, s->callee, s->args.size(),
            callee->params.size());
      for (size_t i = 0; i < s->args.size(); ++i) {
        const Buffer& b = callee->buffers[callee->params[i]];
        check(s->args[i].dtype() == b.dtype, "function {} passes {} to {} as {} of {}", f.name,
              name_of(s->args[i].dtype()), s->callee, b.name, name_of(b.dtype));
      }
    });
  }

  void tensor(const ProgramTensor& t) const {
    int64_t bytes = size_of(t.dtype), most = (int64_t{1} << 58) / bytes;
    check(t.size >= 0 && t.size < most && t.offset >= 0, "tensor {} has {} elements at byte {}",
          t.name, t.size, t.offset);
    switch (t.kind) {
    case TensorKind::Arena:
      check(t.offset <= p_.arena_bytes && t.size * bytes <= p_.arena_bytes - t.offset,
            "tensor {} of {} bytes at byte {} leaves the arena of {} bytes", t.name, t.size * bytes,
            t.offset, p_.arena_bytes);
      check(t.offset % bytes == 0, "tensor {} of {} stands at byte {}", t.name, name_of(t.dtype),
            t.offset);
      break;
    case TensorKind::Constant:
      check(t.data && t.data->size() == static_cast<size_t>(t.size * bytes),
            "constant {} of {} bytes has {}", t.name, t.size * bytes, t.data ? t.data->size() : 0);
      break;
    case TensorKind::Input:
    case TensorKind::Output: {
      int64_t n = 1;
      for (int64_t extent : t.shape) {
        check(extent >= 0 && (extent == 0 || n <= most / extent), "tensor {} has an extent of {}",
              t.name, extent);
        n *= extent;
      }
      check(n == t.size, "tensor {} of {} elements has a shape of {}", t.name, t.size, n);
      break;
    }
    }
  }

  void listed(const std::vector<uint32_t>& list, TensorKind kind, const char* what) const {
    for (uint32_t t : list) {
      check(t < p_.tensors.size(), "{} is tensor {} of {}", what, t, p_.tensors.size());
      check(p_.tensors[t].kind == kind, "{} {} is a tensor of another kind", what,
            p_.tensors[t].name);
      check(std::count(list.begin(), list.end(), t) == 1, "{} {} is listed twice", what,
            p_.tensors[t].name);
    }
    for (size_t t = 0; t < p_.tensors.size(); ++t) {
      check(p_.tensors[t].kind != kind || std::count(list.begin(), list.end(), t) == 1,
            "tensor {} is not listed among the {}s", p_.tensors[t].name, what);
    }
  }

  bool overlap(const ProgramTensor& a, const ProgramTensor& b) const {
    return a.kind == TensorKind::Arena && b.kind == TensorKind::Arena &&
           a.offset < b.offset + b.size * size_of(b.dtype) &&
           b.offset < a.offset + a.size * size_of(a.dtype);
  }

  void step(const Step& s) {
    check(s.function < p_.functions.size(), "function {} of {}", s.function, p_.functions.size());
    const Function& f = p_.functions[s.function];
    check(s.args.size() == f.params.size(), "{} is given {} arguments, not {}", f.name,
          s.args.size(), f.params.size());
    check(s.offsets.empty() || s.offsets.size() == s.args.size(), "{} arguments and {} offsets",
          s.args.size(), s.offsets.size());
    for (size_t i = 0; i < s.args.size(); ++i) {
      argument(f.buffers[f.params[i]], s.args[i], s.offsets.empty() ? 0 : s.offsets[i], f.name);
    }
    // Reads come before writes, in all of the step's arguments: it may write over what it reads
    // where in_place allows it.
    for (size_t i = 0; i < s.args.size(); ++i) {
      const ProgramTensor& t = p_.tensors[s.args[i]];
      if (f.buffers[f.params[i]].written || t.size == 0) continue;
      check(state_[s.args[i]] != State::Taken,
            "{} reads {}, whose place in the arena another tensor has taken", f.name, t.name);
      check(state_[s.args[i]] == State::Written, "{} reads {}, which no step has written", f.name,
            t.name);
    }
    overlapping(s, f);
    for (size_t i = 0; i < s.args.size(); ++i) {
      if (!f.buffers[f.params[i]].written) continue;
      for (size_t t = 0; t < p_.tensors.size(); ++t) {
        if (t != s.args[i] && overlap(p_.tensors[t], p_.tensors[s.args[i]]))
          state_[t] = State::Taken;
      }
    }
    for (size_t i = 0; i < s.args.size(); ++i) {
      if (f.buffers[f.params[i]].written) state_[s.args[i]] = State::Written;
    }
  }

  // Arguments of which one is written share no byte, but for an output in the place of an input.
  void overlapping(const Step& s, const Function& f) const {
    struct Bytes {
      int64_t first, last;
    };
    std::vector<Bytes> at;
    for (size_t i = 0; i < s.args.size(); ++i) {
      const ProgramTensor& t = p_.tensors[s.args[i]];
      const Buffer& b = f.buffers[f.params[i]];
      int64_t first = t.offset + (s.offsets.empty() ? 0 : s.offsets[i]);
      at.push_back({first, first + b.size * size_of(b.dtype)});
    }
    auto in_one_memory = [&](uint32_t a, uint32_t b) {
      return a == b || (p_.tensors[a].kind == TensorKind::Arena &&
                        p_.tensors[b].kind == TensorKind::Arena);
    };
    for (size_t w = 0; w < at.size(); ++w) {
      if (!f.buffers[f.params[w]].written) continue;
      for (size_t i = 0; i < at.size(); ++i) {
        if (i == w || !in_one_memory(s.args[w], s.args[i])) continue;
        if (at[w].first >= at[i].last || at[i].first >= at[w].last) continue;
        check(!f.buffers[f.params[i]].written, "{} writes {} and {}, which overlap", f.name,
              p_.tensors[s.args[i]].name, p_.tensors[s.args[w]].name);
        check(at[w].first == at[i].first && may_overwrite(f, i, w),
              "{} writes {} over {}, which it still reads", f.name, p_.tensors[s.args[w]].name,
              p_.tensors[s.args[i]].name);
      }
    }
  }

  void argument(const Buffer& b, uint32_t index, int64_t offset,
                const std::string& function) const {
    check(index < p_.tensors.size(), "{} is given tensor {} of {}", function, index,
          p_.tensors.size());
    const ProgramTensor& t = p_.tensors[index];
    check(t.dtype == b.dtype, "{} is given {} of {} as {} of {}", function, t.name,
          name_of(t.dtype), b.name, name_of(b.dtype));
    int64_t bytes = size_of(t.dtype);
    check(offset >= 0 && offset % bytes == 0 && offset / bytes <= t.size &&
              b.size <= t.size - offset / bytes,
          "{} is given {} of {} elements from byte {} on, as {} of {} elements", function, t.name,
          t.size, offset, b.name, b.size);
    check(!b.written || t.kind == TensorKind::Arena || t.kind == TensorKind::Output,
          "{} writes {}, an input or a constant", function, t.name);
  }

  const Program& p_;
  std::vector<State> state_;
};

}  // namespace

void verify(const Program& p) { ProgramVerifier(p).run(); }

}  // namespace burnish
