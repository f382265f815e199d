// Expressions. What is used twice gets a name; the arms of a select are evaluated where they are
// taken.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "target/c_like/printer.h"

namespace burnish::c_like {

std::string type_name(DType t) {
  switch (t) {
  case DType::Bool: return "bool";
  case DType::I8: return "signed char";
  case DType::U8: return "unsigned char";
  case DType::I16: return "short";
  case DType::U16: return "unsigned short";
  case DType::I32: return "int";
  case DType::U32: return "unsigned";
  case DType::I64: return "long long";
  case DType::U64: return "unsigned long long";
  case DType::F16: return "half";
  case DType::BF16: return "bfloat16";
  case DType::TF32:
  case DType::F32: return "float";
  case DType::F64: return "double";
  }
  return "?";
}

std::string binary_text(BinaryOp op, DType t, const std::string& a, const std::string& b) {
  auto infix = [&](const char* o) {
    // Narrow integers are computed as int and wrap afterwards.
    const bool narrow = is_int(t) && size_of(t) < 4 && !is_comparison(op);
    return narrow ? fmt::format("(({})({} {} {}))", type_name(t), a, o, b)
                  : fmt::format("({} {} {})", a, o, b);
  };
  auto call = [&](const char* f) { return fmt::format("{}({}, {})", f, a, b); };
  switch (op) {
  case BinaryOp::Add: return infix("+");
  case BinaryOp::Sub: return infix("-");
  case BinaryOp::Mul: return infix("*");
  case BinaryOp::Div: return is_float(t) ? infix("/") : call("quotient");
  case BinaryOp::Mod: return is_float(t) ? call("fmod_of") : call("remainder_of");
  case BinaryOp::FloorDiv: return call("floor_quotient");
  case BinaryOp::FloorMod: return call("floor_remainder");
  case BinaryOp::Min: return call(is_float(t) ? "min_nan" : "smaller");
  case BinaryOp::Max: return call(is_float(t) ? "max_nan" : "larger");
  case BinaryOp::Pow: return call("power");
  case BinaryOp::Eq: return infix("==");
  case BinaryOp::Ne: return infix("!=");
  case BinaryOp::Lt: return infix("<");
  case BinaryOp::Le: return infix("<=");
  case BinaryOp::Gt: return infix(">");
  case BinaryOp::Ge: return infix(">=");
  case BinaryOp::And:
    return infix("&");  // also of truth values: a branch would take longer than what it saves
  case BinaryOp::Or: return infix("|");
  case BinaryOp::Xor: return infix(t == DType::Bool ? "!=" : "^");
  case BinaryOp::Shl: return call("shift_left");
  case BinaryOp::Shr: return call("shift_right");
  }
  return "?";
}

std::string number(const Expr& e) {
  switch (e.dtype()) {
  case DType::Bool: return e.integer() ? "true" : "false";
  case DType::TF32:
  case DType::F32:
  case DType::F64: {
    const double x = e.number();
    const bool f32 = e.dtype() != DType::F64;
    if (std::isnan(x)) return f32 ? "not_a_number()" : "(double)not_a_number()";
    if (std::isinf(x))
      return fmt::format("({}{}infinite())", f32 ? "" : "(double)", x < 0 ? "-" : "");
    std::string s = f32 ? fmt::format("{}", static_cast<float>(x)) : fmt::format("{}", x);
    if (s.find_first_of(".e") == s.npos) s += ".0";
    if (f32) s += "f";
    return x < 0 || std::signbit(x) ? "(" + s + ")" : s;
  }
  case DType::I64: return fmt::format("{}ll", e.integer());
  case DType::U64: return fmt::format("{}ull", static_cast<uint64_t>(e.integer()));
  case DType::I8:
  case DType::U8:
  case DType::I16:
  case DType::U16:
  case DType::I32: return fmt::format("({}){}", type_name(e.dtype()), e.integer());
  case DType::U32: return fmt::format("{}u", static_cast<uint32_t>(e.integer()));
  case DType::F16:
  case DType::BF16:
    return fmt::format("({}){}", type_name(e.dtype()), number(constant(e.number())));
  }
  return "?";
}

namespace {

std::string unary_text(UnaryOp op, DType t, const std::string& a) {
  if (op == UnaryOp::Neg) return fmt::format("(-{})", a);
  if (op == UnaryOp::Not) return fmt::format("({}{})", t == DType::Bool ? "!" : "~", a);
  return fmt::format("{}_of({})", name_of(op), a);
}

bool converts(const Expr& e, DType to, DType from) {
  return e.kind() == ExprKind::Cast && e.dtype() == to && e.children()[0].dtype() == from;
}

// Sums of products of f16, and what is no less or no more than such a sum and a number.
bool is_half_arithmetic(const Expr& e) {
  if (e.dtype() != DType::F16) return false;
  const bool limits = e.kind() == ExprKind::Binary && (e.binary() == BinaryOp::Max || e.binary() == BinaryOp::Min);
  if (limits) return e.children()[1].kind() == ExprKind::Const && is_half_arithmetic(e.children()[0]);
  return (e.kind() == ExprKind::Binary && e.binary() == BinaryOp::Mul) || e.kind() == ExprKind::Call;
}

// Cheap, and without effect where it is not wanted: may stand in both arms of `?:`.
bool simple(const Expr& e) {
  return e.kind() == ExprKind::Const || e.kind() == ExprKind::Affine || e.kind() == ExprKind::Acc;
}

}  // namespace

std::string Printer::aff(const Aff& a) const {
  std::string out;
  for (const Term& t : a.terms) {
    const std::string v = vars_[t.var];
    if (!out.empty()) out += t.k < 0 ? " - " : " + ";
    const int64_t k = out.empty() ? t.k : std::abs(t.k);
    out += k == 1 ? v : fmt::format("{} * {}", k, v);
  }
  if (out.empty()) return std::to_string(a.c);
  if (a.c) out += fmt::format(" {} {}", a.c < 0 ? "-" : "+", std::abs(a.c));
  return a.terms.size() == 1 && !a.c && a.terms[0].k == 1 ? out : "(" + out + ")";
}

std::string of_type(const char* function, DType half) { return fmt::format("{}{}", function, half == DType::BF16 ? "_bf16" : ""); }

// Division of what is not negative takes fewer instructions without sign.
std::string unsigned_text(std::string_view op, const std::string& a, int64_t b) { return fmt::format("(int)((unsigned){} {} {}u)", a, op, b); }

// The index by lane; one text where lanes do not differ.
Lanes Printer::index(const Index& i) {
  const bool moves = lane_ && i.a.slope(*lane_) != 0;
  Lanes atoms(1);
  for (const Atom& x : i.atoms) {
    Lanes inner = index(Index(x.a));
    bool positive = ranges_.bounds(x.a).lo >= 0;
    if (x.value) {
      inner = each(inner, value(x.value), [](const std::string& a, const std::string& b) {
        return fmt::format("({} + (int){})", a, b);
      });
      positive = false;
    }
    for (std::string& t : inner) {
      if (x.div != 1)
        t = positive ? unsigned_text("/", t, x.div)
                     : fmt::format("floor_quotient({}, {})", t, x.div);
      if (x.mod)
        t = positive ? unsigned_text("%", t, x.mod)
                     : fmt::format("floor_remainder({}, {})", t, x.mod);
      if (x.scale != 1) t = fmt::format("{} * {}", t, x.scale);
    }
    atoms = each(atoms, inner,
                 [](const std::string& a, const std::string& b) { return a + " + " + b; });
  }
  Lanes out;
  for (int k = 0; k < (moves ? lanes_ : 1); ++k) {
    Aff a = i.a;
    if (moves) {
      const int64_t slope = a.slope(*lane_);
      a.add(*lane_, -slope);
      a.c += slope * k;
    }
    out.push_back(aff(a));
  }
  if (i.atoms.empty()) return out;
  return each(out, atoms,
              [](const std::string& a, const std::string& b) { return "(" + a + b + ")"; });
}

void Printer::count_uses(const Expr& root) {
  uses_.clear();
  visit(root, [&](const Expr& e) {
    for (const Expr& c : e.children()) ++uses_[c.get()];
  });
}

Lanes Printer::each(const Lanes& a, const Lanes& b,
                    const std::function<std::string(const std::string&, const std::string&)>& f) {
  Lanes out;
  const size_t n = std::max(a.size(), b.size());
  for (size_t i = 0; i < n; ++i)
    out.push_back(f(a[a.size() == 1 ? 0 : i], b[b.size() == 1 ? 0 : i]));
  return out;
}

std::string Printer::temporary(DType t, const std::string& init) {
  const std::string name = fmt::format("t{}", temporaries_++);
  line(init.empty() ? fmt::format("{} {};", type_name(t), name)
                    : fmt::format("const {} {} = {};", type_name(t), name, init));
  return name;
}

Lanes Printer::value(const Expr& e) {
  for (const auto& level : done_)
    if (auto at = level.find(e.get()); at != level.end()) return at->second;
  Lanes x = computed(e);
  if (simple(e) || uses_[e.get()] < 2) return x;
  for (std::string& s : x) s = temporary(e.dtype(), s);
  done_.back()[e.get()] = x;
  return x;
}

// All of these at least 0, a and n - a by one comparison.
Lanes Printer::all_within(std::span<const Index> conditions) {
  Lanes all;
  std::vector<bool> done(conditions.size());
  for (size_t i = 0; i < conditions.size(); ++i) {
    if (done[i]) continue;
    std::optional<int64_t> most;
    for (size_t j = i + 1; !most && j < conditions.size(); ++j) {
      if (done[j] || !conditions[i].is_affine() || !conditions[j].is_affine()) continue;
      const Aff both = conditions[i].a + conditions[j].a;
      if (!both.is_const() || both.c < 0) continue;
      most = both.c;
      done[j] = true;
    }
    Lanes one = index(conditions[i]);
    const Aff& a = conditions[i].a;
    const bool of_lane = lane_ && conditions[i].is_affine() && a.terms.size() == 1 && a.terms[0].var == *lane_;
    for (size_t lane = 0; lane < one.size(); ++lane) {
      std::string& x = one[lane];
      const int64_t known = a.c + (of_lane ? a.terms[0].k : 0) * static_cast<int64_t>(lane);
      if (of_lane) x = known >= 0 && (!most || known <= *most) ? kAlways : kNever;
      else x = most ? fmt::format("((unsigned){} <= {}u)", x, *most) : fmt::format("({} >= 0)", x);
    }
    all = all.empty() ? one : each(all, one, [](const std::string& a, const std::string& b) {
      if (a == kAlways || b == kNever) return b;
      if (b == kAlways || a == kNever) return a;
      return fmt::format("({} & {})", a, b);
    });
  }
  return all;
}

Lanes Printer::computed(const Expr& e) {
  const bool to_tf32 = e.dtype() == DType::TF32 && e.kind() == ExprKind::Cast && e.children()[0].dtype() == DType::F32 && !d_.tf32.empty();
  if (e.dtype() == DType::TF32 && e.kind() != ExprKind::Load && e.kind() != ExprKind::Select && e.kind() != ExprKind::Const && !to_tf32)
    unsupported("tf32 is not calculated");
  note(e.dtype());
  // Arithmetic on 16-bit floats is that of 32 bits.
  const auto as_float = [&](Lanes x, DType t) {
    if (is_half(t))
      for (std::string& s : x) s = "(float)" + s;
    return x;
  };
  const auto as_half = [&](Lanes x) {
    if (is_half(e.dtype()))
      for (std::string& s : x) s = fmt::format("(({}){})", type_name(e.dtype()), s);
    return x;
  };
  switch (e.kind()) {
  case ExprKind::Const: return {number(e)};
  case ExprKind::Affine: {
    Lanes x = index(e.index());
    for (std::string& s : x) s = "(long long)" + s;
    return x;
  }
  case ExprKind::Load: return loaded_at(e, {});
  case ExprKind::Select: return selected(e);
  case ExprKind::Binary: {
    const DType t = e.children()[0].dtype();
    // Comparisons of indices are those of their int forms.
    const auto small = [&](const Expr& x) {
      if (x.kind() == ExprKind::Affine) return true;
      return x.kind() == ExprKind::Const && x.integer() >= std::numeric_limits<int>::min() &&
             x.integer() <= std::numeric_limits<int>::max();
    };
    if (is_comparison(e.binary()) && t == DType::I64 && small(e.children()[0]) &&
        small(e.children()[1])) {
      const auto plain = [&](const Expr& x) {
        return x.kind() == ExprKind::Affine ? index(x.index()) : Lanes{std::to_string(x.integer())};
      };
      return each(plain(e.children()[0]), plain(e.children()[1]),
                  [&](const std::string& a, const std::string& b) {
                    return binary_text(e.binary(), DType::I32, a, b);
                  });
    }
    if (const auto within = as_nonnegative(e)) return all_within(*within);
    return as_half(each(as_float(value(e.children()[0]), t), as_float(value(e.children()[1]), t),
                        [&](const std::string& a, const std::string& b) {
                          return binary_text(e.binary(), t, a, b);
                        }));
  }
  case ExprKind::Unary: {
    const DType t = e.children()[0].dtype();
    Lanes x = as_float(value(e.children()[0]), t);
    for (std::string& s : x) s = unary_text(e.unary(), t, s);
    return as_half(std::move(x));
  }
  case ExprKind::Cast: {
    if (const Expr& c = e.children()[0]; is_half(e.dtype()) && converts(c, DType::F32, e.dtype()))
      return value(c.children()[0]);
    if (const Expr& c = e.children()[0]; lanes_ > 1 && lanes_ % 2 == 0 && e.dtype() == DType::F32 && is_half_arithmetic(c)) {
      const Lanes pairs = half_pairs(c, DType::F16);
      Lanes x;
      for (const std::string& p : pairs) {
        x.push_back(fmt::format("((float)low({}))", p));
        x.push_back(fmt::format("((float)high({}))", p));
      }
      return x;
    }
    Lanes x = as_float(value(e.children()[0]), e.children()[0].dtype());
    if (to_tf32) {
      for (std::string& s : x) s = fmt::format("{}({})", rounding_ ? d_.nearly_tf32 : d_.tf32, s);
      return x;
    }
    const DType from = e.children()[0].dtype(), to = e.dtype();
    const bool saturates = is_float(from) && is_int(to);
    for (std::string& s : x)
      s = to == DType::Bool ? fmt::format("({} != 0)", s)
          : saturates       ? fmt::format("saturated<{}>({})", type_name(to), s)
          : to == DType::F32 && (is_half(from) || from == DType::TF32) ? fmt::format("({})", s)
                                                   : fmt::format("(({}){})", type_name(to), s);
    return x;
  }
  case ExprKind::Call: {
    if (e.callee() != "fma") unsupported(fmt::format("intrinsic {} is not written", e.callee()));
    Lanes ab = each(as_float(value(e.children()[0]), e.dtype()),
                    as_float(value(e.children()[1]), e.dtype()),
                    [](const std::string& a, const std::string& b) { return a + ", " + b; });
    return as_half(each(ab, value(e.children()[2]), [](const std::string& a, const std::string& b) {
      return fmt::format("fma_of({}, {})", a, b);
    }));
  }
  case ExprKind::Acc: break;
  }
  check(false, "{}: an accumulator outside a stage", f_.name);
  return {};
}

bool is_relu(const Expr& e) {
  return e.kind() == ExprKind::Binary && e.binary() == BinaryOp::Max && e.dtype() == DType::F32 && is_zero(e.children()[1]);
}

Lanes Printer::selected(const Expr& e) {
  const Expr &c = e.children()[0], &a = e.children()[1], &b = e.children()[2];
  const Lanes condition = value(c);
  if (!d_.relu_where.empty() && is_relu(a) && is_zero(b)) {
    const Expr& x = a.children()[0];
    if (x.kind() == ExprKind::Load && f_.buffers[x.from()].scope == Scope::Register)
      return each(condition, value(x), [&](const std::string& p, const std::string& q) { return fmt::format("{}({}, {})", d_.relu_where, p, q); });
  }
  if (simple(a) && simple(b)) {
    const Lanes x = value(a), y = value(b);
    return each(
        condition,
        each(x, y, [](const std::string& p, const std::string& q) { return p + " : " + q; }),
        [](const std::string& p, const std::string& q) { return fmt::format("({} ? {})", p, q); });
  }
  if (loads_where(e)) {
    note(a.dtype());
    return loaded_where(condition, a, b);
  }
  load_before(a);
  load_before(b);
  const size_t lanes = static_cast<size_t>(lanes_);
  Lanes out;
  for (size_t i = 0; i < lanes; ++i) out.push_back(temporary(e.dtype(), ""));
  auto arm = [&](const Expr& x, size_t from, size_t to) {
    done_.emplace_back();
    const Lanes v = value(x);
    done_.pop_back();
    for (size_t i = from; i < to; ++i)
      line(fmt::format("{} = {};", out[i], v[v.size() == 1 ? 0 : i]));
  };
  for (size_t i = 0; i < condition.size(); ++i) {
    const size_t to = condition.size() == 1 ? lanes : i + 1;
    open_if(condition[i]);
    arm(a, i, to);
    open_else();
    arm(b, i, to);
    close_if();
  }
  return out;
}

void Printer::note(DType t) {
  halves_ |= is_half(t);
  bfloats_ |= t == DType::BF16;
}

// The lanes of a float expression by pairs, as f16 or bf16 in a register each. What is of that type already keeps
// its bits.
Lanes Printer::half_pairs(const Expr& e, DType type) {
  note(type);
  if (converts(e, DType::F32, type) || converts(e, type, DType::F32))
    return half_pairs(e.children()[0], type);
  const size_t n = static_cast<size_t>(lanes_);
  if (e.kind() == ExprKind::Const) {
    const auto number = static_cast<float>(e.number());
    const uint32_t half = type == DType::F16 ? half_of_float(number) : bfloat_of_float(number);
    return Lanes(n / 2, fmt::format("{:#x}u", half << 16 | half));
  }
  // Sums of products of f16 are computed by pairs, too.
  const auto by_pairs = [&](const char* function, std::initializer_list<Expr> operands) {
    Lanes texts(n / 2, function);
    const char* before = "(";
    for (const Expr& x : operands) {
      const Lanes own = half_pairs(x, type);
      for (size_t i = 0; i < n / 2; ++i) texts[i] += fmt::format("{}{}", before, own[own.size() == 1 ? 0 : i]);
      before = ", ";
    }
    for (std::string& t : texts) t = temporary(DType::U32, t + ")");
    return texts;
  };
  // A product of two of them is exact in f32: both ways round once.
  const bool rounds_once = type == DType::F16 && e.kind() == ExprKind::Binary && e.binary() == BinaryOp::Mul && e.dtype() == DType::F32 &&
                           std::ranges::all_of(e.children(), [](const Expr& x) { return converts(x, DType::F32, DType::F16); });
  if (rounds_once) return by_pairs("product_of_pairs", {e.children()[0], e.children()[1]});
  if (type == DType::F16 && is_half_arithmetic(e)) {
    const Expr& x = e.children()[0];
    if (e.kind() == ExprKind::Call)
      return by_pairs("fma_of_pairs", {x, e.children()[1], e.children()[2]});
    if (e.binary() == BinaryOp::Max && is_zero(e.children()[1]) && x.kind() == ExprKind::Call)
      return by_pairs("relu_of_fma_of_pairs", {x.children()[0], x.children()[1], x.children()[2]});
    return by_pairs(e.binary() == BinaryOp::Mul   ? "product_of_pairs"
                    : e.binary() == BinaryOp::Max ? "larger_of_pairs"
                                                  : "smaller_of_pairs",
                    {x, e.children()[1]});
  }
  Lanes pairs;
  // What is rounded, or 0: rounded when it has come, so that loads need not wait for one another.
  if (e.kind() == ExprKind::Select && converts(e.children()[1], type, DType::F32) && is_zero(e.children()[2]))
    return half_pairs(select(e.children()[0], e.children()[1].children()[0], constant(0.0, DType::F32)), type);
  if (e.kind() == ExprKind::Select && !loads_where(e)) {
    const Lanes condition = value(e.children()[0]);
    if (condition.size() == 1) {
      load_before(e.children()[1]);
      load_before(e.children()[2]);
      // A branch would keep the compiler from mixing what is around it.
      if (loads_nothing(e.children()[1]) && loads_nothing(e.children()[2])) {
        const std::string inside = temporary(DType::Bool, condition[0]);
        const Lanes x = half_pairs(e.children()[1], type), y = half_pairs(e.children()[2], type);
        return each(x, y, [&](const std::string& a, const std::string& b) {
          return temporary(DType::U32, fmt::format("{} ? {} : {}", inside, a, b));
        });
      }
      for (size_t i = 0; i < n / 2; ++i) pairs.push_back(temporary(DType::U32, ""));
      const auto arm = [&](const Expr& x) {
        done_.emplace_back();
        const Lanes v = half_pairs(x, type);
        done_.pop_back();
        for (size_t i = 0; i < v.size(); ++i) line(fmt::format("{} = {};", pairs[i], v[i]));
      };
      open_if(condition[0]);
      arm(e.children()[1]);
      open_else();
      arm(e.children()[2]);
      close_if();
      return pairs;
    }
  }
  // The instruction that rounds to bf16 may have that limit.
  const bool limits = type == DType::BF16 && is_relu(e);
  const Lanes x = value(limits ? e.children()[0] : e);
  for (size_t i = 0; i < n; i += 2)
    pairs.push_back(temporary(DType::U32, fmt::format("{}({}, {})", of_type(limits ? "relu_pair_of" : "pair_of", type),
                                                      x[x.size() == 1 ? 0 : i], x[x.size() == 1 ? 0 : i + 1])));
  return pairs;
}

}  // namespace burnish::c_like
