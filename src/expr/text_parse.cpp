// Reading expressions. Depth is bounded twice: of the text's nesting, for the stack of the reader,
// and of the expression that definitions build up, for every recursion over it afterwards.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

#include "expr/text.h"
#include "expr/text_tables.h"

namespace burnish {

// One level of the reader's recursion.
struct Nested {
  explicit Nested(ExprReader& r) : reader(r) {
    if (++reader.nesting_ > ExprReader::max_nesting) {
      reader.in_.fail("nested deeper than {} levels", ExprReader::max_nesting);
    }
  }
  ~Nested() { --reader.nesting_; }
  ExprReader& reader;
};

namespace {

bool is_bool_op(BinaryOp op) {
  return op == BinaryOp::And || op == BinaryOp::Or || op == BinaryOp::Xor;
}

bool takes(BinaryOp op, DType t) {
  bool bitwise = op >= BinaryOp::And;
  if (is_float(t)) return !bitwise;
  if (t == DType::Bool) return is_bool_op(op) || is_comparison(op);
  return true;
}

bool takes(UnaryOp op, DType t) {
  if (is_float(t)) return op != UnaryOp::Not;
  if (t == DType::Bool) return op == UnaryOp::Not;
  return op <= UnaryOp::Not || (op >= UnaryOp::Floor && op <= UnaryOp::IsInf);
}

const Infix* infix_at(const TextReader& in) {
  for (const Infix& i : infixes) {
    if (in.at(i.sign)) return &i;
  }
  return nullptr;
}

// 'inf', 'nan' and their forms with a dtype; nothing for other words.
std::optional<Expr> special(std::string_view word, bool negative) {
  if (!word.starts_with("inf") && !word.starts_with("nan")) return std::nullopt;
  bool nan = word[0] == 'n';
  double value =
      nan ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  DType t = DType::F32;
  word.remove_prefix(3);
  if (nan && word.size() > 18 && word[17] == '_') {
    uint64_t bits = 0;
    auto [end, error] = std::from_chars(word.data() + 1, word.data() + 17, bits, 16);
    value = std::bit_cast<double>(bits);
    if (error != std::errc() || end != word.data() + 17 || !std::isnan(value)) return std::nullopt;
    word.remove_prefix(17);
  }
  if (!word.empty()) {
    auto named = word[0] == '_' ? dtype_named(word.substr(1)) : std::nullopt;
    if (!named || !is_float(*named)) return std::nullopt;
    t = *named;
  }
  return constant(negative ? -value : value, t);
}

}  // namespace

int ExprReader::deeper(int depth) const {
  if (depth >= max_depth) in_.fail("an expression deeper than {} operations", max_depth);
  return depth + 1;
}

void ExprReader::forget() { defined_.clear(); }

void ExprReader::definitions() {
  while (in_.at_definition()) {
    in_.expect("%");
    int64_t n = in_.integer("the number of a definition");
    in_.expect("=");
    Sized value = binary_from(0);
    in_.accept(";");
    if (!defined_.emplace(n, std::move(value)).second) in_.fail("%{} is defined twice", n);
  }
}

Expr ExprReader::expr() { return binary_from(0).e; }

ExprReader::Sized ExprReader::make(BinaryOp op, Sized a, Sized b) {
  DType s = a.e.dtype(), t = b.e.dtype();
  if (s != t || !takes(op, s)) {
    in_.fail("{} of {} and {}; cast one of them, as in f32(...)", name_of(op), name_of(s),
             name_of(t));
  }
  return {binary(op, std::move(a.e), std::move(b.e)), deeper(std::max(a.depth, b.depth))};
}

ExprReader::Sized ExprReader::make(UnaryOp op, Sized a) {
  if (!takes(op, a.e.dtype())) in_.fail("{} of {}", name_of(op), name_of(a.e.dtype()));
  return {unary(op, std::move(a.e)), deeper(a.depth)};
}

ExprReader::Sized ExprReader::binary_from(int precedence) {
  Nested level(*this);
  Sized left = primary();
  for (;;) {
    const Infix* infix = infix_at(in_);
    if (!infix || infix->precedence < precedence) return left;
    in_.expect(infix->sign);
    left = make(infix->op, std::move(left), binary_from(infix->precedence + 1));
  }
}

ExprReader::Sized ExprReader::primary() {
  if (in_.accept("(")) {
    Sized inner = binary_from(0);
    in_.expect(")");
    return inner;
  }
  if (in_.accept("[")) {
    SizedIndex i = sized_index();
    in_.expect("]");
    return {affine(std::move(i.index)), deeper(i.depth)};
  }
  if (in_.accept("%")) {
    int64_t n = in_.integer("the number of a definition");
    auto it = defined_.find(n);
    if (it == defined_.end()) in_.fail("%{} is used but not defined above", n);
    return it->second;
  }
  if (in_.accept("@")) {
    std::string callee = plain_name(in_.name("the name of an intrinsic"));
    in_.expect(":");
    DType t = in_.dtype();
    std::vector<Expr> args;
    int depth = 0;
    for (Sized& arg : arguments(std::numeric_limits<size_t>::max())) {
      depth = std::max(depth, arg.depth);
      args.push_back(std::move(arg.e));
    }
    return {call(t, std::move(callee), std::move(args)), deeper(depth)};
  }
  if (in_.accept("-")) return number(true);
  if (in_.at_number()) return number(false);
  return named();
}

ExprReader::Sized ExprReader::number(bool negative) {
  if (in_.at_number()) return literal(in_.number(), negative);
  std::string word = in_.word("a number");
  auto e = special(word, negative);
  if (!e)
    in_.fail("expected a number after '-', found '{}'; the negative of a value is neg(...)", word);
  return {std::move(*e)};
}

ExprReader::Sized ExprReader::literal(std::string_view text, bool negative) {
  // The suffix begins with the first letter that is no exponent.
  size_t end = 0;
  while (end < text.size() && (is_digit(text[end]) || text[end] == '.' || text[end] == '+' ||
                               text[end] == '-' || (text[end] == 'e' && end + 1 < text.size()))) {
    ++end;
  }
  std::string digits = (negative ? "-" : "") + std::string(text.substr(0, end));
  bool has_point = digits.find_first_of(".e") != std::string::npos;
  DType t = has_point ? DType::F32 : DType::I64;
  if (end < text.size()) {
    auto named = dtype_named(text.substr(end));
    if (!named || *named == DType::Bool || (has_point && !is_float(*named))) {
      in_.fail("'{}' is not a number with the name of its dtype behind it", text);
    }
    t = *named;
  }
  const char *first = digits.data(), *last = first + digits.size();
  auto bad = [&](std::from_chars_result r) { return r.ec != std::errc() || r.ptr != last; };
  if (is_float(t)) {
    // Decimals of the narrow types are exact in float; rounding twice would not be.
    double value = 0;
    float narrow = 0;
    bool failed = t == DType::F64 ? bad(std::from_chars(first, last, value))
                                  : bad(std::from_chars(first, last, narrow));
    if (failed) in_.fail("'{}' is not a number of {}", text, name_of(t));
    return {constant(t == DType::F64 ? value : double(narrow), t)};
  }
  int64_t value = 0;
  uint64_t bits = 0;
  bool failed = t == DType::U64 ? bad(std::from_chars(first, last, bits))
                                : bad(std::from_chars(first, last, value));
  if (t == DType::U64) value = static_cast<int64_t>(bits);
  Expr e = constant_int(value, t);
  if (failed || e.integer() != value)
    in_.fail("'{}{}' does not fit in {}", negative ? "-" : "", text, name_of(t));
  return {std::move(e)};
}

std::vector<ExprReader::Sized> ExprReader::arguments(size_t count) {
  std::vector<Sized> out;
  in_.expect("(");
  if (!in_.accept(")")) {
    do {
      out.push_back(binary_from(0));
    } while (in_.accept(","));
    in_.expect(")");
  }
  if (count != std::numeric_limits<size_t>::max() && out.size() != count) {
    in_.fail("{} arguments where {} are wanted", out.size(), count);
  }
  return out;
}

ExprReader::Sized ExprReader::named() {
  std::string name = in_.name("an expression");
  std::optional<DType> type;
  if (in_.accept(":")) type = in_.dtype();
  if (in_.at("[")) return load_from(name, type);
  if (name == "acc") return {acc(type.value_or(names_.acc))};
  if (type) in_.fail("expected '[' after {}:{}, found '{}'", name, name_of(*type), in_.found());
  if (name == "true" || name == "false") return {constant_int(name == "true", DType::Bool)};
  if (auto e = special(name, false)) return {std::move(*e)};
  if (!in_.at("(")) in_.fail("expected an expression, found '{}'", name);
  if (auto op = binary_named(name)) {
    auto args = arguments(2);
    return make(*op, std::move(args[0]), std::move(args[1]));
  }
  if (auto op = unary_named(name)) return make(*op, std::move(arguments(1)[0]));
  if (auto t = dtype_named(name)) {
    Sized from = std::move(arguments(1)[0]);
    return {cast(*t, std::move(from.e)), deeper(from.depth)};
  }
  if (name != "select")
    in_.fail("'{}' is not an operation; intrinsics are written @name:dtype(...)", name);
  auto args = arguments(3);
  if (args[0].e.dtype() != DType::Bool || args[1].e.dtype() != args[2].e.dtype()) {
    in_.fail("select({}, {}, {}): the first is bool, the others have one dtype",
             name_of(args[0].e.dtype()), name_of(args[1].e.dtype()), name_of(args[2].e.dtype()));
  }
  int depth = deeper(std::max({args[0].depth, args[1].depth, args[2].depth}));
  return {select(std::move(args[0].e), std::move(args[1].e), std::move(args[2].e)), depth};
}

ExprReader::Sized ExprReader::load_from(const std::string& name, std::optional<DType> type) {
  auto from = names_.from(name);
  if (!from) in_.fail("{} is not declared", name);
  DType t = type.value_or(from->second);
  in_.expect("[");
  std::vector<Index> indices;
  int depth = 0;
  if (!in_.at("]") && !in_.at("else")) {
    do {
      SizedIndex i = sized_index();
      depth = std::max(depth, i.depth);
      indices.push_back(std::move(i.index));
    } while (in_.accept(","));
  }
  Expr fill;
  if (in_.accept("else")) {
    Sized f = binary_from(0);
    if (f.e.dtype() != t)
      in_.fail("a load of {} has a fill of {}", name_of(t), name_of(f.e.dtype()));
    depth = std::max(depth, f.depth);
    fill = std::move(f.e);
  }
  in_.expect("]");
  return {load(t, from->first, std::move(indices), std::move(fill)), deeper(depth)};
}

int64_t ExprReader::coefficient(int64_t sign) {
  int64_t k = in_.integer("a coefficient");
  if (sign < 0 && k == std::numeric_limits<int64_t>::min()) in_.fail("a coefficient overflows");
  return sign * k;
}

// [k *] variable, [k *] {atom}, or a constant.
void ExprReader::term(Index& out, int64_t sign, int& depth) {
  int64_t k = sign;
  bool constant_term = false;
  if (in_.at_number() || in_.at("-")) {
    if (sign < 0 && in_.found() == "9223372036854775808") {
      // The lowest value has no positive counterpart.
      in_.number();
      k = std::numeric_limits<int64_t>::min();
    } else {
      k = coefficient(sign);
    }
    constant_term = !in_.accept("*");
  }
  if (constant_term) {
    if (__builtin_add_overflow(out.a.c, k, &out.a.c))
      in_.fail("the constant of an index overflows");
  } else if (in_.accept("{")) {
    Atom x = atom(depth);
    x.scale = k;
    out.atoms.push_back(std::move(x));
  } else {
    std::string name = in_.name("a variable");
    auto v = names_.var(name);
    if (!v) in_.fail("{} is not a variable in scope", name);
    int64_t sum;
    if (__builtin_add_overflow(out.a.slope(*v), k, &sum))
      in_.fail("the factor of {} overflows", name);
    out.a.add(*v, k);
  }
}

Atom ExprReader::atom(int& depth) {
  Nested level(*this);
  Atom out;
  Index inside;
  int64_t sign = in_.accept("-") ? -1 : 1;
  for (;;) {
    if (sign > 0 && in_.accept("(")) {
      Sized value = binary_from(0);
      in_.expect(")");
      if (!is_int(value.e.dtype()))
        in_.fail("an index adds a value of {}, not of an integer dtype", name_of(value.e.dtype()));
      depth = std::max(depth, value.depth);
      out.value = std::move(value.e);
      break;
    }
    int unused = 0;
    if (in_.at("{")) in_.fail("an atom inside an atom");
    term(inside, sign, unused);
    in_.require_that(inside.atoms.empty(), "an atom inside an atom");
    if (in_.accept("+")) {
      sign = 1;
    } else if (in_.accept("-")) {
      sign = -1;
    } else {
      break;
    }
  }
  out.a = std::move(inside.a);
  if (in_.accept("/")) out.div = in_.integer("a divisor");
  if (in_.accept("%")) out.mod = in_.integer("a modulus");
  if (out.div < 1 || out.mod < 0)
    in_.fail("an atom is divided by {} modulo {}; both are positive", out.div, out.mod);
  in_.expect("}");
  return out;
}

ExprReader::SizedIndex ExprReader::sized_index() {
  SizedIndex out;
  int64_t sign = in_.accept("-") ? -1 : 1;
  for (;;) {
    term(out.index, sign, out.depth);
    if (in_.accept("+")) {
      sign = 1;
    } else if (in_.accept("-")) {
      sign = -1;
    } else {
      return out;
    }
  }
}

Index ExprReader::index() { return sized_index().index; }

Aff ExprReader::aff() {
  SizedIndex i = sized_index();
  if (!i.index.is_affine()) in_.fail("an affine form has no {{...}}");
  return i.index.a;
}

Expr parse_expr(std::string_view text, const ReadNames& names) {
  TextReader in(text, "expression");
  ExprReader reader(in, names);
  reader.definitions();
  Expr e = reader.expr();
  if (!in.at_end()) in.fail("expected the end, found '{}'", in.found());
  return e;
}

}  // namespace burnish
