#include "loop/text.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "expr/text.h"

namespace burnish {

namespace {

constexpr size_t columns = 100;

// "first" + items + "last" on one line, or on several where it is long.
std::string list_text(const std::string& first, const std::vector<std::string>& items,
                      const std::string& last, const std::string& indent) {
  std::string out, line = first;
  for (size_t i = 0; i < items.size(); ++i) {
    std::string item = items[i] + (i + 1 < items.size() ? ", " : "");
    if (line.size() + item.size() + last.size() > columns && !line.ends_with("    ")) {
      while (line.ends_with(' ')) line.pop_back();
      out += line + "\n";
      line = indent + "    ";
    }
    line += item;
  }
  return out + line + last;
}

std::string declaration(const Buffer& b) {
  bool output = b.scope == Scope::Param && b.written;
  std::string out =
      fmt::format("{} {}[{}]", output ? "out" : name_of(b.scope), name_of(b.dtype), b.size);
  if (b.align != 64) out += fmt::format(" align {}", b.align);
  if (b.pitch) out += fmt::format(" runs {} of {}", b.run, b.pitch);
  if (b.swizzle) out += fmt::format(" swizzle {}", b.swizzle);
  if (b.prefetch) out += fmt::format(" prefetch {}", b.prefetch);
  return out;
}

class FunctionWriter {
 public:
  explicit FunctionWriter(const Function& f)
      : f_(f), vars_(distinct_names(f.vars)), exprs_(names()) {
    std::vector<std::string> buffer_names;
    for (const Buffer& b : f.buffers) buffer_names.push_back(b.name);
    buffers_ = distinct_names(buffer_names, loop::keywords);
  }

  std::string text(const std::string& name) {
    scan();
    std::vector<std::string> params;
    for (BufferId b : f_.params) params.push_back(buffer(b) + ": " + declaration(f_.buffers.at(b)));
    out_ = list_text("func " + name + "(", params, ") {", "  ") + "\n";
    if (!plain_vars_) out_ += list_text("  vars ", vars_, "", "  ") + "\n";
    if (!plain_buffers_) {
      std::vector<std::string> items;
      for (size_t b = 0; b < f_.buffers.size(); ++b) {
        bool param = std::find(f_.params.begin(), f_.params.end(), b) != f_.params.end();
        items.push_back(buffers_[b] + (param ? "" : ": " + declaration(f_.buffers[b])));
      }
      out_ += list_text("  buffers ", items, "", "  ") + "\n";
    }
    declared_.assign(f_.buffers.size(), !plain_buffers_);
    for (BufferId b : f_.params) declared_.at(b) = true;
    if (f_.body) block(f_.body, 2);
    return out_ + "}\n";
  }

  std::string line(const StmtNode& s) {
    declared_.assign(f_.buffers.size(), true);
    return head(s);
  }

 private:
  WriteNames names() {
    return {.var = [this](VarId v) { return var(v); },
            .from = [this](uint32_t b) { return buffer(b); },
            .from_dtype =
                [this](uint32_t b) {
                  return b < f_.buffers.size() ? f_.buffers[b].dtype : DType::Bool;
                }};
  }
  // Numbers without a name are written too: text is also for what the verifier refuses.
  std::string var(VarId v) const {
    return v < vars_.size() ? vars_[v] : fmt::format("'unknown {}'", v);
  }
  std::string buffer(BufferId b) const {
    return b < buffers_.size() ? buffers_[b] : fmt::format("'unknown {}'", b);
  }

  // Tables are left out where reading numbers variables and buffers the same way: in the order in
  // which they are bound and allocated, parameters first, and nothing is used before.
  void scan() {
    std::vector<bool> bound(f_.vars.size()), allocated(f_.buffers.size());
    size_t next_var = 0, next_buffer = 0;
    auto meet = [](uint32_t id, std::vector<bool>& seen, size_t& next, bool& plain) {
      if (id >= seen.size()) return;
      if (!seen[id]) plain &= id == next++;
      seen[id] = true;
    };
    for (BufferId b : f_.params) meet(b, allocated, next_buffer, plain_buffers_);
    auto use_aff = [&](const Aff& a) {
      for (const Term& t : a.terms) plain_vars_ &= t.var < bound.size() && bound[t.var];
    };
    std::function<void(const Index&)> use_index;
    auto use_expr = [&](const Expr& root) {
      if (!root) return;
      visit(root, [&](const Expr& e) {
        if (e.kind() == ExprKind::Load) {
          plain_buffers_ &= e.from() < allocated.size() && allocated[e.from()];
        }
        for (const Index& i : e.indices()) {
          use_aff(i.a);
          for (const Atom& x : i.atoms) use_aff(x.a);
        }
      });
    };
    use_index = [&](const Index& i) {
      use_aff(i.a);
      for (const Atom& x : i.atoms) {
        use_aff(x.a);
        use_expr(x.value);
      }
    };
    if (f_.body)
      visit(f_.body, [&](const Stmt& s) {
        use_index(s->index);
        use_expr(s->value);
        for (const Expr& e : s->args) use_expr(e);
        for (const auto* bounds : {&s->loop.lower, &s->loop.upper}) {
          for (const Bound& b : *bounds) use_aff(b.a);
        }
        if (s.kind() == StmtKind::For) meet(s->loop.var, bound, next_var, plain_vars_);
        if (s.kind() == StmtKind::Let) meet(s->var, bound, next_var, plain_vars_);
        if (s.kind() == StmtKind::Alloc) meet(s->buffer, allocated, next_buffer, plain_buffers_);
        if (s.kind() == StmtKind::Store) {
          plain_buffers_ &= s->buffer < allocated.size() && allocated[s->buffer];
        }
      });
    plain_vars_ &= next_var == f_.vars.size();
    plain_buffers_ &= next_buffer == f_.buffers.size();
  }

  std::string bound_text(const Bound& b) const {
    std::string a = exprs_.text(b.a);
    return b.div == 1 ? a : fmt::format("ceildiv({}, {})", a, b.div);
  }

  std::string limit(const char* join, int64_t constant, const std::vector<Bound>& bounds) const {
    if (bounds.empty()) return std::to_string(constant);
    std::string out = fmt::format("{}({}", join, constant);
    for (const Bound& b : bounds) out += ", " + bound_text(b);
    return out + ")";
  }

  // A statement's first line without definitions and brace.
  std::string head(const StmtNode& s) {
    switch (s.kind) {
    case StmtKind::For: {
      std::string kind(s.loop.kind == LoopKind::Serial ? "" : name_of(s.loop.kind));
      if (!kind.empty()) kind += ' ';
      return fmt::format("{}for {} in {}..{}{}", kind, var(s.loop.var),
                         limit("max", 0, s.loop.lower), limit("min", s.loop.extent, s.loop.upper),
                         s.loop.in_flight < 0 ? ""
                                              : fmt::format(" in_flight {}", s.loop.in_flight));
    }
    case StmtKind::Let: return fmt::format("let {} = {}", var(s.var), exprs_.text(s.index));
    case StmtKind::Alloc: {
      std::string out = "alloc " + buffer(s.buffer);
      if (s.buffer >= declared_.size() || declared_[s.buffer]) return out;
      declared_[s.buffer] = true;
      return out + ": " + declaration(f_.buffers[s.buffer]);
    }
    case StmtKind::Store:
      return fmt::format("{}[{}] = {}", buffer(s.buffer), exprs_.text(s.index),
                         exprs_.text(s.value));
    case StmtKind::If: return "if " + exprs_.text(s.value);
    case StmtKind::While: return "while " + exprs_.text(s.value);
    case StmtKind::Barrier: return "barrier";
    case StmtKind::Call: {
      std::vector<std::string> args;
      for (const Expr& e : s.args) args.push_back(exprs_.text(e));
      return fmt::format("call {}({})", quoted_name(s.callee), join(args, ", "));
    }
    case StmtKind::Seq: return "{ ... }";
    }
    return "?";
  }

  void block(const Stmt& s, int indent) {
    if (s.kind() == StmtKind::Seq) {
      for (const Stmt& c : s.children()) statement(c, indent);
    } else {
      statement(s, indent);
    }
  }

  void statement(const Stmt& s, int indent) {
    std::string space(static_cast<size_t>(indent), ' ');
    std::vector<Expr> exprs = s->args;
    if (s->value) exprs.push_back(s->value);
    for (const std::string& line : exprs_.define(exprs, {&s->index, 1}))
      out_ += space + line + "\n";
    out_ += space + head(*s);
    if (s.children().empty() && s.kind() != StmtKind::Seq) {
      out_ += "\n";
      return;
    }
    out_ += " {\n";
    for (size_t i = 0; i < s.children().size(); ++i) {
      if (i) out_ += space + "} else {\n";
      block(s.children()[i], indent + 2);
    }
    out_ += space + "}\n";
  }

  const Function& f_;
  std::vector<std::string> vars_, buffers_;
  ExprWriter exprs_;
  bool plain_vars_ = true, plain_buffers_ = true;
  std::vector<bool> declared_;
  std::string out_;
};

std::string_view kind_text(TensorKind k) {
  switch (k) {
  case TensorKind::Input: return "input";
  case TensorKind::Output: return "output";
  case TensorKind::Constant: return "constant";
  case TensorKind::Arena: return "arena";
  }
  return "?";
}

std::string tensor_text(const ProgramTensor& t, const std::string& name) {
  std::vector<std::string> shape;
  for (int64_t n : t.shape) shape.push_back(std::to_string(n));
  std::string out = fmt::format("  {} {}: {}[{}] size {}", kind_text(t.kind), name,
                                name_of(t.dtype), join(shape, ", "), t.size);
  if (t.offset) out += fmt::format(" offset {}", t.offset);
  if (t.pitch) out += fmt::format(" runs {} of {}", t.run, t.pitch);
  if (t.data) {
    auto* bytes = reinterpret_cast<const char*>(t.data->data());
    uint64_t hash = t.text_hash ? t.text_hash : hash_bytes({bytes, t.data->size()});
    out += fmt::format(" hash \"{:016x}\"", hash);
  }
  return out + "\n";
}

std::string step_text(const Step& s, const std::vector<std::string>& functions,
                      const std::vector<std::string>& tensors) {
  auto name = [](const std::vector<std::string>& names, uint32_t i) {
    return i < names.size() ? names[i] : fmt::format("'unknown {}'", i);
  };
  std::vector<std::string> args, sources;
  for (size_t i = 0; i < s.args.size(); ++i) {
    args.push_back(name(tensors, s.args[i]));
    if (i < s.offsets.size() && s.offsets[i]) args.back() += fmt::format(" + {}", s.offsets[i]);
  }
  std::string out = fmt::format("step {}({})", name(functions, s.function), join(args, ", "));
  if (!s.barrier) out += " nobarrier";
  if (s.macs) out += fmt::format(" macs {}", s.macs);
  if (s.bytes) out += fmt::format(" bytes {}", s.bytes);
  for (const std::string& source : s.sources) sources.push_back(string_text(source));
  if (!sources.empty()) out += " from " + join(sources, ", ");
  if (!s.schedule.empty()) out += " schedule " + string_text(s.schedule);
  return out + "\n";
}

}  // namespace

namespace loop {
std::string line_text(const Function& f, const StmtNode& s) { return FunctionWriter(f).line(s); }
}  // namespace loop

std::string to_text(const Function& f) { return FunctionWriter(f).text(quoted_name(f.name)); }

std::string to_text(const Program& p) {
  std::vector<std::string> tensors, functions, inputs, outputs;
  for (const ProgramTensor& t : p.tensors) tensors.push_back(t.name);
  for (const Function& f : p.functions) functions.push_back(f.name);
  tensors = distinct_names(tensors);
  functions = distinct_names(functions);
  for (uint32_t t : p.inputs) inputs.push_back(tensors.at(t));
  for (uint32_t t : p.outputs) outputs.push_back(tensors.at(t));
  std::string out = fmt::format("program {{\n  bytes {}\n", p.arena_bytes);
  for (size_t t = 0; t < p.tensors.size(); ++t) out += tensor_text(p.tensors[t], tensors[t]);
  out += list_text("  inputs (", inputs, ")", "  ") + "\n";
  out += list_text("  outputs (", outputs, ")", "  ") + "\n}\n";
  for (size_t f = 0; f < p.functions.size(); ++f) {
    out += "\n" + FunctionWriter(p.functions[f]).text(functions[f]);
  }
  out += "\n";
  for (const Step& s : p.steps) out += step_text(s, functions, tensors);
  return out;
}

}  // namespace burnish
