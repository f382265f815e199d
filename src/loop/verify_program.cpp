// What holds between the functions, tensors and steps of a program.
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "loop/program.h"

namespace burnish {

namespace {

// Which elements of a tensor steps have written: all, none, or those that slices of it held.
class Written {
 public:
  void everything() { *this = Written(true); }
  void nothing() { *this = Written(false); }

  void add(const Footprint& f, int64_t element, int64_t size) {
    if (all_) return;
    if (size > most_followed || (f.pitch == 0 && f.first == 0 && f.last == size * element)) {
      everything();
      return;
    }
    if (marks_.empty()) marks_.resize(static_cast<size_t>(size));
    for_runs(f, element, [&](auto begin, auto end) { std::fill(begin, end, true); });
  }

  bool holds(const Footprint& f, int64_t element) {
    if (all_ || f.first == f.last) return true;
    bool whole = !marks_.empty();
    for_runs(f, element, [&](auto begin, auto end) { whole &= std::find(begin, end, false) == end; });
    return whole;
  }
  bool any() const { return all_ || !marks_.empty(); }

 private:
  explicit Written(bool all) : all_(all) {}
  friend class ProgramVerifier;

  template <class F> void for_runs(const Footprint& f, int64_t element, F use) {
    if (marks_.empty()) return;
    const int64_t pitch = f.pitch ? f.pitch : f.last - f.first, run = f.pitch ? f.run : pitch;
    for (int64_t at = f.first; at < f.last; at += pitch)
      use(marks_.begin() + at / element, marks_.begin() + (at + run) / element);
  }

  static constexpr int64_t most_followed = int64_t{1} << 28;  // larger tensors count as a whole
  bool all_ = false;
  std::vector<bool> marks_;
};

class ProgramVerifier {
 public:
  explicit ProgramVerifier(const Program& p)
      : p_(p), written_(p.tensors.size(), Written(false)), taken_(p.tensors.size(), false) {}

  void run() {
    for (const Function& f : p_.functions) {
      verify(f);
      if (f.body) calls(f);
    }
    for (const ProgramTensor& t : p_.tensors) tensor(t);
    for (size_t i = 0; i < p_.tensors.size(); ++i) {
      TensorKind k = p_.tensors[i].kind;
      if (k == TensorKind::Input || k == TensorKind::Constant) written_[i].everything();
    }
    listed(p_.inputs, TensorKind::Input, "input");
    listed(p_.outputs, TensorKind::Output, "output");
    for (size_t s = 0; s < p_.steps.size(); ++s) {
      ErrorContext context(fmt::format("checking step {}", s));
      step(p_.steps[s]);
    }
    for (uint32_t o : p_.outputs) {
      const ProgramTensor& t = p_.tensors[o];
      check(written_[o].any() || t.size == 0, "output {} is written by no step", t.name);
      const int64_t element = size_of(t.dtype);
      check(written_[o].holds({0, t.size * element, t.run * element, t.pitch * element}, element),
            "of output {} some elements are written by no step", t.name);
    }
  }

 private:
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
    std::vector<Footprint> within;  // bytes of the arguments' tensors
    for (size_t i = 0; i < s.args.size(); ++i) {
      within.push_back(footprint(f.buffers[f.params[i]], s.offsets.empty() ? 0 : s.offsets[i]));
    }
    // Reads come before writes, in all of the step's arguments: it may write over what it reads
    // where in_place allows it.
    for (size_t i = 0; i < s.args.size(); ++i) {
      const uint32_t a = s.args[i];
      const ProgramTensor& t = p_.tensors[a];
      if (f.buffers[f.params[i]].written || t.size == 0) continue;
      check(!taken_[a], "{} reads {}, whose place in the arena another tensor has taken", f.name,
            t.name);
      check(written_[a].any() || within[i].first == within[i].last,
            "{} reads {}, which no step has written", f.name, t.name);
      check(written_[a].holds(within[i], size_of(t.dtype)),
            "{} reads elements of {} that no step has written", f.name, t.name);
    }
    overlapping(s, f, within);
    for (size_t i = 0; i < s.args.size(); ++i) {
      if (!f.buffers[f.params[i]].written) continue;
      for (size_t t = 0; t < p_.tensors.size(); ++t) {
        if (t == s.args[i] || !overlap(p_.tensors[t], p_.tensors[s.args[i]])) continue;
        taken_[t] = true;
        written_[t].nothing();
      }
    }
    for (size_t i = 0; i < s.args.size(); ++i) {
      if (!f.buffers[f.params[i]].written) continue;
      const ProgramTensor& t = p_.tensors[s.args[i]];
      taken_[s.args[i]] = false;
      written_[s.args[i]].add(within[i], size_of(t.dtype), t.size);
    }
  }

  // Arguments of which one is written share no byte, but for an output in the place of an input.
  // Slices of one tensor may lie between each other's rows.
  void overlapping(const Step& s, const Function& f, std::vector<Footprint> at) const {
    for (size_t i = 0; i < at.size(); ++i) {
      at[i].first += p_.tensors[s.args[i]].offset;
      at[i].last += p_.tensors[s.args[i]].offset;
    }
    auto in_one_memory = [&](uint32_t a, uint32_t b) {
      return a == b || (p_.tensors[a].kind == TensorKind::Arena &&
                        p_.tensors[b].kind == TensorKind::Arena);
    };
    for (size_t w = 0; w < at.size(); ++w) {
      if (!f.buffers[f.params[w]].written) continue;
      for (size_t i = 0; i < at.size(); ++i) {
        if (i == w || !in_one_memory(s.args[w], s.args[i]) || !meet(at[w], at[i])) continue;
        check(!f.buffers[f.params[i]].written, "{} writes {} and {}, which overlap", f.name,
              p_.tensors[s.args[i]].name, p_.tensors[s.args[w]].name);
        check(at[w].first == at[i].first && at[w].pitch == at[i].pitch && may_overwrite(f, i, w),
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
  std::vector<Written> written_;  // by tensor
  std::vector<bool> taken_;       // another tensor was written over it
};

}  // namespace

void verify(const Program& p) { ProgramVerifier(p).run(); }

}  // namespace burnish
