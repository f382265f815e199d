// The text form of a group. Declarations first, formulas after, because a recurrence is loaded
// before its formula:
//
//   group softmax {
//     input X: f32[i:7, j:33]
//     compute m: f32[i:7] max[j:33]
//     compute Y: f32[i:7, j:33] layout(j/16, i, j%16)
//     inputs X
//     outputs Y
//     m {
//       body X[i, j]
//     }
//     Y {
//       body exp(X[i, j] - m[i])
//     }
//   }
//
// `scan(a)` after the axes marks a recurrence along a; init and finish stand beside body where they
// are not the default.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"
#include "expr/text.h"
#include "te/stage.h"

namespace burnish {
namespace {

constexpr std::string_view kReserved[] = {"group",   "input",  "constant", "compute", "inputs",
                                          "outputs", "layout", "scan",     "init",    "body",
                                          "finish",  "sum",    "prod",     "min",     "max"};
constexpr std::pair<StageKind, std::string_view> kKinds[] = {{StageKind::Input, "input"},
                                                             {StageKind::Constant, "constant"},
                                                             {StageKind::Compute, "compute"}};
constexpr Combine kCombines[] = {Combine::Sum, Combine::Prod, Combine::Min, Combine::Max};

std::string axes_text(const std::vector<Axis>& axes) {
  std::vector<std::string> parts;
  for (const Axis& a : axes)
    parts.push_back(fmt::format("{}:{}", quoted_name(a.name, kReserved), a.extent));
  return "[" + join(parts, ", ") + "]";
}

std::string dim_text(const LayoutDim& d, const std::string& axis) {
  std::string s = axis;
  if (d.div != 1) s += fmt::format("/{}", d.div);
  if (d.mod) s += fmt::format("%{}", d.mod);
  if (d.pad) s += fmt::format("+{}", d.pad);
  return s;
}

std::string declaration(const Stage& s) {
  std::string text;
  for (auto& [kind, name] : kKinds)
    if (kind == s.kind) text = name;
  text +=
      fmt::format(" {}: {}{}", quoted_name(s.name, kReserved), name_of(s.dtype), axes_text(s.axes));
  if (s.is_reduction()) text += fmt::format(" {}{}", name_of(s.op), axes_text(s.raxes));
  if (s.scan) text += fmt::format(" scan({})", quoted_name(s.axes[*s.scan].name, kReserved));
  if (!s.layout.empty()) {
    std::vector<std::string> dims;
    for (const LayoutDim& d : s.layout)
      dims.push_back(dim_text(d, quoted_name(s.axes[d.axis].name, kReserved)));
    text += " layout(" + join(dims, ", ") + ")";
  }
  return text;
}

std::string formula(const StageGroup& g, const Stage& s) {
  std::unordered_map<VarId, std::string> vars;
  for (const auto* axes : {&s.axes, &s.raxes})
    for (const Axis& a : *axes) vars[a.var] = quoted_name(a.name, kReserved);
  ExprWriter writer(
      {.var =
           [&](VarId v) {
             auto at = vars.find(v);
             return at == vars.end() ? fmt::format("'unknown {}'", v) : at->second;
           },
       .from =
           [&](uint32_t x) {
             return x < g.stages.size() ? quoted_name(g[x].name, kReserved)
                                        : fmt::format("'unknown {}'", x);
           },
       .from_dtype = [&](uint32_t x) { return x < g.stages.size() ? g[x].dtype : DType::Bool; },
       .acc = s.dtype});
  std::string text = fmt::format("  {} {{\n", quoted_name(s.name, kReserved));
  for (auto [name, e] : {std::pair{"init", &s.init}, {"body", &s.body}, {"finish", &s.finish}}) {
    if (!*e) continue;
    for (const std::string& d : writer.define(std::span(e, 1))) text += "    " + d + "\n";
    text += fmt::format("    {} {}\n", name, writer.text(*e));
  }
  return text + "  }\n";
}

class GroupReader {
 public:
  explicit GroupReader(std::string_view text) : in_(text, "stages") {}

  StageGroup read() {
    in_.expect("group");
    g_.name = plain_name(in_.name("the name of the group"));
    in_.expect("{");
    while (!in_.at("inputs") && !in_.at("outputs")) declaration();
    if (in_.accept("inputs")) list(g_.inputs);
    in_.expect("outputs");
    list(g_.outputs);
    while (!in_.accept("}")) formula();
    in_.require_that(in_.at_end(), "the end of the text");
    for (StageId s = 0; s < g_.stages.size(); ++s)
      if (g_[s].is_compute() && !g_[s].body) in_.fail("{} has no formula", g_[s].name);
    return std::move(g_);
  }

 private:
  StageId named(const std::string& name) {
    auto at = numbers_.find(name);
    if (at == numbers_.end()) in_.fail("there is no stage {}", name);
    return at->second;
  }

  void list(std::vector<StageId>& to) {
    do to.push_back(named(plain_name(in_.name("a stage"))));
    while (in_.accept(","));
  }

  std::vector<Axis> axes() {
    std::vector<Axis> made;
    in_.expect("[");
    while (!in_.at("]")) {
      if (!made.empty()) in_.expect(",");
      std::string name = plain_name(in_.name("an axis"));
      in_.expect(":");
      int64_t extent = in_.integer("the extent of an axis");
      if (extent < 1) in_.fail("axis {} has the extent {}", name, extent);
      if (made.size() >= 64) in_.fail("more than 64 axes");
      made.push_back({name, g_.fresh(name), extent});
    }
    in_.expect("]");
    return made;
  }

  uint32_t axis_of(const Stage& s) {
    std::string name = plain_name(in_.name("an axis"));
    auto at = s.axis_named(name);
    if (!at) in_.fail("{} has no axis {}", s.name, name);
    return *at;
  }

  void declaration() {
    Stage s;
    bool known = false;
    for (auto& [kind, name] : kKinds) {
      if (known || !in_.accept(name)) continue;
      s.kind = kind;
      known = true;
    }
    if (!known)
      in_.fail("expected input, constant, compute, inputs or outputs, found '{}'", in_.found());
    s.name = plain_name(in_.name("the name of a stage"));
    in_.expect(":");
    s.dtype = in_.dtype();
    s.axes = axes();
    for (Combine c : kCombines) {
      if (s.is_reduction() || !in_.accept(name_of(c))) continue;
      s.op = c;
      s.raxes = axes();
    }
    if (in_.accept("scan")) {
      in_.expect("(");
      s.scan = axis_of(s);
      in_.expect(")");
    }
    if (in_.accept("layout")) {
      in_.expect("(");
      do {
        LayoutDim d{axis_of(s)};
        if (in_.accept("/")) d.div = in_.integer("a block");
        if (in_.accept("%")) d.mod = in_.integer("a block");
        if (in_.accept("+")) d.pad = in_.integer("a padding");
        if (d.div < 1 || d.mod < 0 || d.pad < 0)
          in_.fail("a layout of {}/{}%{}+{}", d.axis, d.div, d.mod, d.pad);
        s.layout.push_back(d);
      } while (in_.accept(","));
      in_.expect(")");
    }
    if (!numbers_.emplace(s.name, static_cast<StageId>(g_.stages.size())).second)
      in_.fail("stage {} is declared twice", s.name);
    g_.add(std::move(s));
  }

  void formula() {
    Stage& s = g_[named(plain_name(in_.name("a stage, or '}'")))];
    if (!s.is_compute()) in_.fail("{} is an input and has no formula", s.name);
    if (s.body) in_.fail("{} has two formulas", s.name);
    in_.expect("{");
    ExprReader exprs(
        in_, {.var = [&](std::string_view text) -> std::optional<VarId> {
                std::string name = plain_name(text);
                for (const auto* axes : {&s.axes, &s.raxes})
                  for (const Axis& a : *axes)
                    if (a.name == name) return a.var;
                return std::nullopt;
              },
              .from = [&](std::string_view text) -> std::optional<std::pair<uint32_t, DType>> {
                auto at = numbers_.find(plain_name(text));
                if (at == numbers_.end()) return std::nullopt;
                return std::pair(at->second, g_[at->second].dtype);
              },
              .acc = s.dtype});
    while (!in_.accept("}")) {
      exprs.forget();
      exprs.definitions();
      Expr* to = nullptr;
      if (in_.accept("init"))
        to = &s.init;
      else if (in_.accept("body"))
        to = &s.body;
      else if (in_.accept("finish"))
        to = &s.finish;
      else
        in_.fail("expected init, body, finish or '}}', found '{}'", in_.found());
      if (*to) in_.fail("{} has that expression already", s.name);
      *to = exprs.expr();
    }
  }

  TextReader in_;
  StageGroup g_;
  std::unordered_map<std::string, StageId> numbers_;
};

}  // namespace

std::string to_text(const StageGroup& g) {
  std::string text = fmt::format("group {} {{\n", quoted_name(g.name, kReserved));
  for (const Stage& s : g.stages) text += "  " + declaration(s) + "\n";
  auto list = [&](const char* what, const std::vector<StageId>& stages) {
    std::vector<std::string> names;
    for (StageId s : stages) names.push_back(quoted_name(g[s].name, kReserved));
    text += fmt::format("  {} {}\n", what, join(names, ", "));
  };
  if (!g.inputs.empty()) list("inputs", g.inputs);
  list("outputs", g.outputs);
  for (const Stage& s : g.stages)
    if (s.is_compute()) text += formula(g, s);
  return text + "}\n";
}

StageGroup parse_stages(std::string_view text) { return GroupReader(text).read(); }

}  // namespace burnish
