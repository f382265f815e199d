// Writing expressions.
#include "expr/text.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "expr/text_tables.h"

namespace burnish {

namespace {

constexpr uint64_t canonical_nan = 0x7ff8000000000000u;

std::string escaped(std::string_view s, char quote) {
  std::string out(1, quote);
  for (char ch : s) {
    auto u = static_cast<unsigned char>(ch);
    if (ch == quote || ch == '\\') {
      out += '\\';
      out += ch;
    } else if (ch == '\n') {
      out += "\\n";
    } else if (u < 0x20 || u == 0x7f) {
      out += fmt::format("\\x{:02x}", u);
    } else {
      out += ch;
    }
  }
  return out += quote;
}

bool is_identifier(std::string_view name) {
  if (name.empty() || !starts_word(name[0])) return false;
  for (size_t i = 1; i < name.size(); ++i) {
    bool dot = name[i] == '.' && i + 1 < name.size() && continues_word(name[i + 1]);
    if (!continues_word(name[i]) && !dot) return false;
  }
  return true;
}

// Shortest digits that read back as the same value of the type.
std::string digits(double v, DType t) {
  char buffer[64];
  auto end = t == DType::F64
                 ? std::to_chars(buffer, buffer + sizeof buffer, v).ptr
                 : std::to_chars(buffer, buffer + sizeof buffer, static_cast<float>(v)).ptr;
  return std::string(buffer, end);
}

std::string float_text(double v, DType t) {
  std::string sign = std::signbit(v) ? "-" : "";
  std::string type = t == DType::F32 ? "" : "_" + std::string(name_of(t));
  if (std::isinf(v)) return sign + "inf" + type;
  if (std::isnan(v)) {
    uint64_t bits = std::bit_cast<uint64_t>(v) & ~(uint64_t{1} << 63);
    if (bits == canonical_nan) return sign + "nan" + type;
    return sign + fmt::format("nan_{:016x}_{}", bits, name_of(t));
  }
  std::string text = digits(v, t);
  if (t != DType::F32) return text + std::string(name_of(t));
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string constant_text(const Expr& e) {
  DType t = e.dtype();
  if (is_float(t)) return float_text(e.number(), t);
  if (t == DType::Bool) return e.integer() ? "true" : "false";
  if (t == DType::U64) return fmt::format("{}u64", static_cast<uint64_t>(e.integer()));
  return std::to_string(e.integer()) + (t == DType::I64 ? "" : std::string(name_of(t)));
}

// "a" + " - 3*b": signs become the operators between terms.
void append_term(std::string& out, int64_t k, const std::string& factor) {
  bool negative = k < 0;
  uint64_t size = negative ? 0 - static_cast<uint64_t>(k) : static_cast<uint64_t>(k);
  if (out.empty()) {
    if (negative) out += '-';
  } else {
    out += negative ? " - " : " + ";
  }
  if (factor.empty()) {
    out += std::to_string(size);
  } else {
    if (size != 1) out += std::to_string(size) + "*";
    out += factor;
  }
}

std::string terms_text(const Aff& a, const WriteNames& names) {
  std::string out;
  for (const Term& t : a.terms) append_term(out, t.k, names.var(t.var));
  return out;
}

// Written again wherever it occurs: as short as a reference would be.
bool is_leaf(const Expr& e) {
  switch (e.kind()) {
  case ExprKind::Const:
  case ExprKind::Acc: return true;
  case ExprKind::Affine: return e.index().is_affine();
  case ExprKind::Call:
  case ExprKind::Load:
  case ExprKind::Binary:
  case ExprKind::Unary:
  case ExprKind::Select:
  case ExprKind::Cast: return false;
  }
  return false;
}

template <class F> void for_operands(const Expr& e, F&& f) {
  for (const Index& i : e.indices()) {
    for (const Atom& atom : i.atoms) {
      if (atom.value) f(atom.value);
    }
  }
  for (const Expr& c : e.children()) f(c);
}

}  // namespace

std::string quoted_name(std::string_view name, std::span<const std::string_view> reserved) {
  bool plain =
      is_identifier(name) && std::find(reserved.begin(), reserved.end(), name) == reserved.end();
  return plain ? std::string(name) : escaped(name, '\'');
}

std::vector<std::string> distinct_names(const std::vector<std::string>& names,
                                        std::span<const std::string_view> reserved) {
  std::vector<std::string> out;
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < names.size(); ++i) {
    out.push_back(quoted_name(names[i], reserved));
    if (!seen.insert(names[i]).second) out.back() += "#" + std::to_string(i);
  }
  return out;
}

std::string string_text(std::string_view s) { return escaped(s, '"'); }

std::string to_text(const Aff& a, const WriteNames& names) {
  std::string out = terms_text(a, names);
  if (a.c != 0 || out.empty()) append_term(out, a.c, "");
  return out;
}

std::string ExprWriter::text(const Index& i) const {
  std::string out = terms_text(i.a, names_);
  for (const Atom& atom : i.atoms) {
    std::string inner = to_text(atom.a, names_);
    if (atom.value) {
      std::string value = "(" + text(atom.value, 0) + ")";
      inner = atom.a == Aff() ? value : inner + " + " + value;
    }
    if (atom.div != 1) inner += " / " + std::to_string(atom.div);
    if (atom.mod != 0) inner += " % " + std::to_string(atom.mod);
    if (atom.scale == 0) {
      out += (out.empty() ? "0*{" : " + 0*{") + inner + "}";
    } else {
      append_term(out, atom.scale, "{" + inner + "}");
    }
  }
  if (i.a.c != 0 || out.empty()) append_term(out, i.a.c, "");
  return out;
}

std::vector<std::string> ExprWriter::define(std::span<const Expr> exprs,
                                            std::span<const Index> indices) {
  number_.clear();
  std::unordered_map<const ExprNode*, int> uses;
  auto use = [&](const Expr& e) { ++uses[e.get()]; };
  std::vector<Expr> roots(exprs.begin(), exprs.end());
  for (const Index& i : indices) {
    for (const Atom& atom : i.atoms) {
      if (atom.value) roots.push_back(atom.value);
    }
  }
  std::vector<Expr> order;
  std::unordered_set<const ExprNode*> seen;
  for (const Expr& root : roots) {
    use(root);
    visit(root, [&](const Expr& e) {
      if (!seen.insert(e.get()).second) return;
      for_operands(e, use);
      order.push_back(e);
    });
  }
  std::vector<std::string> lines;
  for (const Expr& e : order) {
    if (uses[e.get()] < 2 || is_leaf(e)) continue;
    int n = static_cast<int>(lines.size());
    lines.push_back(fmt::format("%{} = {}", n, node_text(e, 0)));
    number_[e.get()] = n;
  }
  return lines;
}

std::string ExprWriter::text(const Expr& e, int precedence) const {
  if (auto it = number_.find(e.get()); it != number_.end()) return fmt::format("%{}", it->second);
  return node_text(e, precedence);
}

std::string ExprWriter::node_text(const Expr& e, int precedence) const {
  auto arguments = [&] {
    std::string out = "(";
    for (const Expr& c : e.children()) {
      if (out.size() > 1) out += ", ";
      out += text(c, 0);
    }
    return out + ")";
  };
  switch (e.kind()) {
  case ExprKind::Const: return constant_text(e);
  case ExprKind::Affine: return "[" + text(e.index()) + "]";
  case ExprKind::Acc:
    return e.dtype() == names_.acc ? "acc" : fmt::format("acc:{}", name_of(e.dtype()));
  case ExprKind::Load: {
    std::string out = names_.from(e.from());
    if (names_.from_dtype(e.from()) != e.dtype()) out += fmt::format(":{}", name_of(e.dtype()));
    out += '[';
    for (const Index& i : e.indices()) {
      if (&i != e.indices().data()) out += ", ";
      out += text(i);
    }
    if (e.fill()) out += " else " + text(e.fill(), 0);
    return out + ']';
  }
  case ExprKind::Binary: {
    const Infix* infix = infix_of(e.binary());
    if (!infix) return std::string(name_of(e.binary())) + arguments();
    std::string out = text(e.children()[0], infix->precedence) + " " + std::string(infix->sign) +
                      " " + text(e.children()[1], infix->precedence + 1);
    return infix->precedence < precedence ? "(" + out + ")" : out;
  }
  case ExprKind::Unary: return std::string(name_of(e.unary())) + arguments();
  case ExprKind::Select: return "select" + arguments();
  case ExprKind::Cast: return std::string(name_of(e.dtype())) + arguments();
  case ExprKind::Call:
    return fmt::format("@{}:{}{}", quoted_name(e.callee()), name_of(e.dtype()), arguments());
  }
  return "?";
}

std::string to_text(const Expr& e, const WriteNames& names) {
  ExprWriter writer(names);
  std::string out;
  for (const std::string& line : writer.define({&e, 1})) out += line + "; ";
  return out + writer.text(e);
}

}  // namespace burnish
