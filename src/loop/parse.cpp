// Reading the text form of functions and programs.
#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/error.h"
#include "expr/text.h"
#include "loop/text.h"

namespace burnish {

namespace {

constexpr int max_statement_depth = 200;
constexpr int64_t max_elements = int64_t{1} << 48;

// "runs 32 of 48", if it stands there.
void runs(TextReader& in, int64_t& run, int64_t& pitch) {
  if (!in.accept("runs")) return;
  run = in.integer("the elements of a run");
  in.expect("of");
  pitch = in.integer("the elements from run to run");
  if (run < 1 || pitch <= run || pitch > max_elements) in.fail("runs of {} elements every {}", run, pitch);
}

class FunctionReader {
 public:
  explicit FunctionReader(TextReader& in)
      : in_(in), exprs_(in, {.var = [this](std::string_view n) { return find(vars_, n); },
                             .from = [this](std::string_view n) { return buffer_named(n); }}) {}

  // `text_name`: the function's name as in text, by which steps refer to it.
  Function read(std::string* text_name = nullptr) {
    in_.expect("func");
    std::string name = in_.name("the name of a function");
    f_.name = plain_name(name);
    if (text_name) *text_name = name;
    std::vector<std::pair<std::string, Buffer>> params = parameters();
    in_.expect("{");
    if (in_.accept("vars")) read_vars();
    bool table = in_.at("buffers");
    for (auto& [key, b] : params) {
      if (!table) declare(key, b);
    }
    if (table) read_buffers(params);
    for (auto& [key, b] : params) f_.params.push_back(buffers_.at(key));
    f_.body = block();
    in_.expect("}");
    return std::move(f_);
  }

 private:
  using Names = std::unordered_map<std::string, uint32_t>;

  static std::optional<uint32_t> find(const Names& names, std::string_view n) {
    auto it = names.find(std::string(n));
    return it == names.end() ? std::nullopt : std::optional(it->second);
  }

  std::optional<std::pair<uint32_t, DType>> buffer_named(std::string_view n) const {
    auto b = find(buffers_, n);
    if (!b) return std::nullopt;
    return std::pair(*b, f_.buffers[*b].dtype);
  }

  BufferId declare(const std::string& key, Buffer b) {
    auto id = static_cast<BufferId>(f_.buffers.size());
    if (!buffers_.emplace(key, id).second) in_.fail("buffer {} is declared twice", key);
    b.name = plain_name(key);
    f_.buffers.push_back(std::move(b));
    return id;
  }

  Buffer declaration() {
    Buffer b;
    std::string scope = in_.word("a scope");
    b.written = scope == "out";
    bool known = b.written;
    for (int s = 0; s <= static_cast<int>(Scope::Warp); ++s) {
      if (scope != name_of(static_cast<Scope>(s))) continue;
      b.scope = static_cast<Scope>(s);
      known = true;
    }
    if (!known) in_.fail("'{}' is not a scope: param, out, shared, thread, stack, register", scope);
    b.dtype = in_.dtype();
    in_.expect("[");
    b.size = in_.integer("a size in elements");
    in_.expect("]");
    if (b.size < 0 || b.size > max_elements) in_.fail("a buffer of {} elements", b.size);
    if (in_.accept("align")) {
      b.align = in_.integer("an alignment in bytes");
      bool power = b.align > 0 && b.align <= 4096 && (b.align & (b.align - 1)) == 0;
      if (!power) in_.fail("an alignment of {}; powers of two up to 4096", b.align);
    }
    runs(in_, b.run, b.pitch);
    if (in_.accept("swizzle")) {
      b.swizzle = in_.integer("bytes of a row");
      if (!is_swizzle(b.swizzle)) in_.fail("a swizzle of rows of {} bytes, not 32, 64 or 128", b.swizzle);
    }
    if (in_.accept("prefetch")) {
      b.prefetch = in_.integer("bytes");
      if (b.prefetch < 1 || b.prefetch > (1 << 24)) in_.fail("a prefetch of {} bytes", b.prefetch);
    }
    return b;
  }

  std::vector<std::pair<std::string, Buffer>> parameters() {
    std::vector<std::pair<std::string, Buffer>> out;
    in_.expect("(");
    while (!in_.at(")")) {
      if (!out.empty()) in_.expect(",");
      std::string key = in_.name("a parameter");
      in_.expect(":");
      out.emplace_back(key, declaration());
    }
    in_.expect(")");
    return out;
  }

  VarId add_var(const std::string& key) {
    auto id = static_cast<VarId>(f_.vars.size());
    vars_.emplace(key, id);
    f_.vars.push_back(plain_name(key));
    return id;
  }

  void read_vars() {
    var_table_ = true;
    do {
      std::string key = in_.name("a variable");
      if (vars_.contains(key)) in_.fail("variable {} is declared twice", key);
      add_var(key);
    } while (in_.accept(","));
  }

  void read_buffers(const std::vector<std::pair<std::string, Buffer>>& params) {
    in_.expect("buffers");
    do {
      std::string key = in_.name("a buffer");
      if (in_.accept(":")) {
        declare(key, declaration());
        continue;
      }
      auto p = std::find_if(params.begin(), params.end(), [&](auto& x) { return x.first == key; });
      if (p == params.end()) in_.fail("{} is no parameter and has no declaration", key);
      declare(key, p->second);
    } while (in_.accept(","));
    for (auto& [key, b] : params) {
      if (!buffers_.contains(key)) in_.fail("parameter {} is missing in the list of buffers", key);
    }
  }

  // The variable that a for or let binds here: a new one at its first mention, unless there is a
  // table.
  VarId binding() {
    std::string key = in_.name("a variable");
    if (auto v = find(vars_, key)) return *v;
    if (var_table_) in_.fail("{} is not in the list of variables", key);
    return add_var(key);
  }

  Stmt block() {
    if (++depth_ > max_statement_depth)
      in_.fail("statements nested deeper than {}", max_statement_depth);
    std::vector<Stmt> stmts;
    while (!in_.at("}")) {
      if (in_.at_end()) in_.fail("expected '}}', found the end");
      stmts.push_back(statement());
    }
    --depth_;
    return make_seq(std::move(stmts));
  }

  Stmt braced() {
    in_.expect("{");
    Stmt s = block();
    in_.expect("}");
    return s;
  }

  Stmt statement() {
    exprs_.forget();
    exprs_.definitions();
    if (in_.accept("for")) return loop(LoopKind::Serial);
    for (LoopKind k : {LoopKind::Parallel, LoopKind::Thread, LoopKind::Tensor, LoopKind::Unroll, LoopKind::Vectorize}) {
      if (!in_.accept(name_of(k))) continue;
      in_.expect("for");
      return loop(k);
    }
    if (in_.accept("let")) {
      VarId v = binding();
      in_.expect("=");
      Index value = exprs_.index();
      return make_let(v, std::move(value), braced());
    }
    if (in_.accept("alloc")) {
      BufferId b = allocated();
      return make_alloc(b, braced());
    }
    if (in_.accept("if")) {
      Expr condition = bool_expr("if");
      Stmt then = braced();
      Stmt otherwise = in_.accept("else") ? braced() : Stmt();
      return make_if(std::move(condition), std::move(then), std::move(otherwise));
    }
    if (in_.accept("while")) {
      Expr condition = bool_expr("while");
      return make_while(std::move(condition), braced());
    }
    if (in_.accept("barrier")) return make_barrier();
    if (in_.accept("call")) return call();
    return store();
  }

  Expr bool_expr(const char* what) {
    Expr e = exprs_.expr();
    if (e.dtype() != DType::Bool) in_.fail("the condition of {} is {}", what, name_of(e.dtype()));
    return e;
  }

  BufferId allocated() {
    std::string key = in_.name("a buffer");
    auto known = find(buffers_, key);
    if (!in_.accept(":")) {
      if (!known) in_.fail("{} is not declared", key);
      return *known;
    }
    if (known) in_.fail("buffer {} is declared twice", key);
    return declare(key, declaration());
  }

  Stmt call() {
    std::string callee = plain_name(in_.name("the name of a function"));
    if (callee.empty()) in_.fail("a call of a function without a name");
    std::vector<Expr> args;
    in_.expect("(");
    while (!in_.at(")")) {
      if (!args.empty()) in_.expect(",");
      args.push_back(exprs_.expr());
    }
    in_.expect(")");
    return make_call(std::move(callee), std::move(args));
  }

  Stmt store() {
    std::string key = in_.name("a statement");
    auto b = find(buffers_, key);
    if (!b) in_.fail("buffer {} is not declared", key);
    in_.expect("[");
    Index at = exprs_.index();
    in_.expect("]");
    in_.expect("=");
    return make_store(*b, std::move(at), exprs_.expr());
  }

  // 'first' or 'join(first, bounds...)'.
  int64_t limit(std::string_view join, std::vector<Bound>& bounds, VarId var) {
    if (!in_.accept(join)) return in_.integer("the bound of a loop");
    in_.expect("(");
    int64_t first = in_.integer("the bound of a loop");
    while (in_.accept(",")) {
      Bound b;
      if (in_.accept("ceildiv")) {
        in_.expect("(");
        b.a = exprs_.aff();
        in_.expect(",");
        b.div = in_.integer("a divisor");
        in_.expect(")");
      } else {
        b.a = exprs_.aff();
      }
      if (b.div < 1) in_.fail("a loop bound is divided by {}", b.div);
      if (b.a.slope(var)) in_.fail("a loop's bound uses the loop's own variable");
      bounds.push_back(std::move(b));
    }
    in_.expect(")");
    return first;
  }

  Stmt loop(LoopKind kind) {
    ForStmt l{.var = binding(), .kind = kind, .extent = 0, .lower = {}, .upper = {}};
    in_.expect("in");
    if (limit("max", l.lower, l.var) != 0) in_.fail("a loop begins at 0, or at max(0, ...)");
    in_.expect("..");
    l.extent = limit("min", l.upper, l.var);
    if (l.extent < 0) in_.fail("a loop's extent is {}", l.extent);
    if (in_.accept("in_flight")) {
      l.in_flight = in_.integer("a number of groups of copies");
      if (l.in_flight < 0) in_.fail("{} groups of copies in flight", l.in_flight);
    }
    return make_for(std::move(l), braced());
  }

  TextReader& in_;
  Function f_;
  Names vars_, buffers_;
  ExprReader exprs_;
  bool var_table_ = false;
  int depth_ = 0;
};

class ProgramReader {
 public:
  explicit ProgramReader(std::string_view text) : in_(text, "program") {}

  Program read() {
    in_.expect("program");
    in_.expect("{");
    in_.expect("bytes");
    p_.arena_bytes = count("the bytes of the arena");
    while (!in_.at("inputs")) tensor();
    list("inputs", p_.inputs);
    list("outputs", p_.outputs);
    in_.expect("}");
    while (in_.at("func")) {
      std::string key;
      Function f = FunctionReader(in_).read(&key);
      if (!functions_.emplace(key, p_.functions.size()).second)
        in_.fail("function {} stands twice", key);
      p_.functions.push_back(std::move(f));
    }
    while (in_.accept("step")) step();
    if (!in_.at_end()) in_.fail("expected a step or the end, found '{}'", in_.found());
    return std::move(p_);
  }

 private:
  int64_t count(std::string_view what) {
    int64_t n = in_.integer(what);
    if (n < 0) in_.fail("{}: {} is negative", what, n);
    return n;
  }

  uint32_t tensor_named() {
    std::string key = in_.name("a tensor");
    auto it = tensors_.find(key);
    if (it == tensors_.end()) in_.fail("tensor {} is not declared", key);
    return it->second;
  }

  void tensor() {
    ProgramTensor t;
    if (in_.accept("input"))
      t.kind = TensorKind::Input;
    else if (in_.accept("output"))
      t.kind = TensorKind::Output;
    else if (in_.accept("constant"))
      t.kind = TensorKind::Constant;
    else if (in_.accept("arena"))
      t.kind = TensorKind::Arena;
    else
      in_.fail("expected input, output, constant, arena or inputs, found '{}'", in_.found());
    std::string key = in_.name("a tensor");
    t.name = plain_name(key);
    in_.expect(":");
    t.dtype = in_.dtype();
    in_.expect("[");
    while (!in_.at("]")) {
      if (!t.shape.empty()) in_.expect(",");
      t.shape.push_back(count("an extent"));
    }
    in_.expect("]");
    in_.expect("size");
    t.size = count("a size in elements");
    if (in_.accept("offset")) t.offset = count("an offset in bytes");
    runs(in_, t.run, t.pitch);
    if (in_.accept("hash")) hash(t);
    if (!tensors_.emplace(key, p_.tensors.size()).second)
      in_.fail("tensor {} is declared twice", key);
    p_.tensors.push_back(std::move(t));
  }

  void hash(ProgramTensor& t) {
    std::string digits = in_.string();
    const char* end = digits.data() + digits.size();
    auto [at, error] = std::from_chars(digits.data(), end, t.text_hash, 16);
    if (error != std::errc() || at != end) in_.fail("'{}' is not a hash", digits);
    // The bytes are not in the text; so many zeros stand for them, within reason.
    int64_t limit = (int64_t{1} << 30) - zeros_;
    if (t.size > limit / size_of(t.dtype))
      in_.fail("constants of more than 1 GB cannot come from text");
    zeros_ += t.size * size_of(t.dtype);
    t.data =
        std::make_shared<std::vector<std::byte>>(static_cast<size_t>(t.size * size_of(t.dtype)));
  }

  void list(std::string_view what, std::vector<uint32_t>& out) {
    in_.expect(what);
    in_.expect("(");
    while (!in_.at(")")) {
      if (!out.empty()) in_.expect(",");
      out.push_back(tensor_named());
    }
    in_.expect(")");
  }

  void step() {
    Step s;
    std::string key = in_.name("a function");
    auto f = functions_.find(key);
    if (f == functions_.end()) in_.fail("function {} is not declared", key);
    s.function = f->second;
    bool offsets = false;
    in_.expect("(");
    while (!in_.at(")")) {
      if (!s.args.empty()) in_.expect(",");
      s.args.push_back(tensor_named());
      s.offsets.push_back(in_.accept("+") ? count("an offset in bytes") : 0);
      offsets |= s.offsets.back() != 0;
    }
    in_.expect(")");
    if (!offsets) s.offsets.clear();
    s.barrier = !in_.accept("nobarrier");
    if (in_.accept("macs")) s.macs = count("macs");
    if (in_.accept("bytes")) s.bytes = count("bytes");
    if (in_.accept("from")) {
      do {
        s.sources.push_back(in_.string());
      } while (in_.accept(","));
    }
    if (in_.accept("schedule")) s.schedule = in_.string();
    p_.steps.push_back(std::move(s));
  }

  TextReader in_;
  Program p_;
  std::unordered_map<std::string, uint32_t> tensors_, functions_;
  int64_t zeros_ = 0;
};

}  // namespace

Function parse_function(std::string_view text) {
  TextReader in(text, "function");
  Function f = FunctionReader(in).read();
  if (!in.at_end()) in.fail("expected the end, found '{}'", in.found());
  return f;
}

Program parse_program(std::string_view text) { return ProgramReader(text).read(); }

}  // namespace burnish
