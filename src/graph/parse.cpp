// Reads the text form of graphs (text.cpp). Types of nodes are inferred anew and must agree with what is written.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "base/error.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace burnish {

namespace {

constexpr int64_t largest_constant = int64_t{1} << 28;  // elements of a constant given by its hash
constexpr int deepest_body = 16;

// Characters, words and numbers of the text, with the line for messages.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> what, Args&&... args) const {
    fail_user("line {}: {}", line_, fmt::format(what, std::forward<Args>(args)...));
  }

  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail("expected '{}' but found '{}'", c, peek() == '\0' ? "the end" : std::string(1, peek()));
  }
  // Letters, digits and the signs that names and numbers use.
  std::string word(std::string_view extra = "_./@") {
    skip_space();
    const size_t start = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) || extra.find(text_[at_]) != extra.npos)) {
      ++at_;
    }
    if (at_ == start) fail("expected a name or number");
    return std::string(text_.substr(start, at_ - start));
  }
  std::string quoted() {
    expect('"');
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\n') fail("a quoted text does not end on its line");
      if (text_[at_] != '\\') {
        out += text_[at_++];
        continue;
      }
      if (at_ + 1 < text_.size() && text_[at_ + 1] == 'x' && at_ + 3 < text_.size()) {
        unsigned code = 0;
        std::from_chars(text_.data() + at_ + 2, text_.data() + at_ + 4, code, 16);
        out += static_cast<char>(code);
        at_ += 4;
      } else if (at_ + 1 < text_.size()) {
        out += text_[at_ + 1];
        at_ += 2;
      } else {
        break;
      }
    }
    if (at_ >= text_.size()) fail("a quoted text does not end");
    ++at_;
    return out;
  }
  std::string name() { return peek() == '"' ? quoted() : word(); }

  std::string number_word() { return word("+-._"); }
  int64_t integer() {
    const std::string w = word("-");
    int64_t v = 0;
    const auto [end, error] = std::from_chars(w.data(), w.data() + w.size(), v);
    if (error != std::errc{} || end != w.data() + w.size()) fail("'{}' is no 64-bit integer", w);
    return v;
  }
  double real() {
    const std::string w = number_word();
    if (w == "inf") return std::numeric_limits<double>::infinity();
    if (w == "-inf") return -std::numeric_limits<double>::infinity();
    if (w == "nan" || w == "-nan") return std::numeric_limits<double>::quiet_NaN();
    double v = 0;
    const auto [end, error] = std::from_chars(w.data(), w.data() + w.size(), v);
    if (error != std::errc{} || end != w.data() + w.size()) fail("'{}' is no number", w);
    return v;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) {
      line_ += text_[at_++] == '\n';
    }
  }
  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

class GraphParser {
 public:
  explicit GraphParser(Reader& r) : r_(r) {}

  // `known`: contents of the body's inputs, for the body of a group.
  Graph parse(int depth, const std::vector<TensorPtr>& known = {}) {
    if (depth > deepest_body) r_.fail("bodies are nested deeper than {}", deepest_body);
    if (r_.word() != "graph") r_.fail("expected 'graph'");
    g_.name = r_.name();
    r_.expect('{');
    while (r_.peek() == '%' || (r_.peek() != '}' && statement(known))) {
      if (r_.peek() == '%') node(depth);
    }
    r_.expect('}');
    return std::move(g_);
  }

 private:
  // input, const and output lines.
  bool statement(const std::vector<TensorPtr>& known) {
    const std::string word = r_.word();
    if (word == "input") {
      const std::string name = value_name();
      TensorType t = typed();
      const Layout layout = t.layout;
      const ValueId v = g_.add_input(name, std::move(t));
      if (g_.inputs.size() <= known.size()) g_.values[v].constant = known[g_.inputs.size() - 1];
      define(name, v);
    } else if (word == "const") {
      const std::string name = value_name();
      const TensorType t = typed();
      r_.expect('=');
      const ValueId v = g_.add_constant(name, tensor(t));
      g_.values[v].type.layout = t.layout;
      define(name, v);
    } else if (word == "output") {
      if (r_.peek() != '%') return true;
      do g_.outputs.push_back(value());
      while (r_.take(','));
    } else {
      r_.fail("expected input, const, output or a value, found '{}'", word);
    }
    return true;
  }

  void node(int depth) {
    std::vector<std::string> names;
    std::vector<TensorType> types;
    do {
      names.push_back(value_name());
      types.push_back(typed());
    } while (r_.take(','));
    r_.expect('=');
    const std::string op_name = r_.word();
    const OpDef* op = find_any_op(op_name);
    if (op == nullptr) r_.fail("there is no operator '{}'", op_name);
    std::vector<ValueId> inputs;
    r_.expect('(');
    if (!r_.take(')')) {
      do {
        inputs.push_back(r_.peek() == '%' ? value() : absent());
      } while (r_.take(','));
      r_.expect(')');
    }
    Attrs attrs;
    if (r_.peek() == '{') attributes(*op, attrs);
    std::string source;
    if (r_.peek() == 'f') {
      if (r_.word() != "from") r_.fail("expected 'from'");
      source = r_.quoted();
    }
    NodeId n;
    if (op == &group_op()) {
      std::vector<TensorPtr> known;
      for (ValueId v : inputs) known.push_back(v == no_value ? nullptr : g_.values[v].constant);
      Graph body = GraphParser(r_).parse(depth + 1, known);
      if (body.inputs.size() != inputs.size()) r_.fail("a group's body has other inputs than the group");
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (inputs[i] == no_value || g_.type(inputs[i]) != body.type(body.inputs[i])) {
          r_.fail("input {} of a group differs from its body's", i);
        }
      }
      n = add_group(g_, std::move(body), std::move(inputs), std::move(source), names);
    } else {
      n = g_.add_node(*op, std::move(inputs), std::move(attrs), std::move(source), names);
    }
    const std::vector<ValueId>& outputs = g_.nodes[n].outputs;
    if (outputs.size() != names.size()) {
      r_.fail("{} has {} outputs, but {} are named", op_name, outputs.size(), names.size());
    }
    for (size_t i = 0; i < names.size(); ++i) {
      TensorType& t = g_.values[outputs[i]].type;
      if (t.dtype != types[i].dtype || t.shape != types[i].shape) {
        r_.fail("%{} is written as {}, but it is {}", names[i], to_text(types[i]), to_text(t));
      }
      t.layout = types[i].layout;
      define(names[i], outputs[i]);
    }
  }

  std::string value_name() {
    r_.expect('%');
    return r_.name();
  }
  ValueId value() {
    const std::string name = value_name();
    auto it = ids_.find(name);
    if (it == ids_.end()) r_.fail("%{} is not defined above", name);
    return it->second;
  }
  ValueId absent() {
    r_.expect('_');
    return no_value;
  }
  void define(const std::string& name, ValueId v) {
    if (!ids_.emplace(name, v).second) r_.fail("%{} is defined twice", name);
  }

  TensorType typed() {
    r_.expect(':');
    return type();
  }
  TensorType type() {
    const std::string word = r_.word();
    const std::optional<DType> dtype = dtype_named(word);
    if (!dtype) r_.fail("'{}' is no type", word);
    TensorType t{.dtype = *dtype};
    r_.expect('[');
    if (!r_.take(']')) {
      do t.shape.push_back(r_.integer());
      while (r_.take(','));
      r_.expect(']');
    }
    element_count(t.shape);
    if (r_.take('{')) {
      do t.layout.push_back(layout_dim(t.shape.size()));
      while (r_.take(','));
      r_.expect('}');
    }
    return t;
  }
  LayoutDim layout_dim(size_t rank) {
    const int64_t axis = r_.integer();
    if (axis < 0 || axis >= static_cast<int64_t>(rank)) r_.fail("a layout names axis {} of {}", axis, rank);
    LayoutDim d{.axis = static_cast<uint32_t>(axis)};
    if (r_.take('/')) d.div = r_.integer();
    if (r_.take('%')) d.mod = r_.integer();
    if (r_.take('+')) d.pad = r_.integer();
    if (d.div < 1 || d.mod < 0 || d.pad < 0) r_.fail("a layout has a negative number");
    return d;
  }

  TensorPtr tensor(const TensorType& t) {
    const int64_t n = element_count(t.shape);
    if (r_.take('#')) {
      if (n > largest_constant) r_.fail("a constant of {} elements is too large for text", n);
      const std::string hash = r_.word();
      uint64_t seed = 0;
      std::from_chars(hash.data(), hash.data() + hash.size(), seed, 16);
      return noise(t, n, seed);
    }
    r_.expect('[');
    std::vector<Scalar> values;
    if (!r_.take(']')) {
      do {
        Scalar s{.dtype = t.dtype};
        is_float(t.dtype) ? void(s.f = r_.real()) : void(s.i = r_.integer());
        values.push_back(s);
      } while (r_.take(','));
      r_.expect(']');
    }
    if (static_cast<int64_t>(values.size()) != n) {
      r_.fail("a constant of {} elements has {} values", n, values.size());
    }
    auto out = std::make_shared<Tensor>(t.dtype, t.shape);
    for (int64_t i = 0; i < n; ++i) out->set(i, values[static_cast<size_t>(i)]);
    return out;
  }
  static TensorPtr noise(const TensorType& t, int64_t n, uint64_t seed) {
    auto out = std::make_shared<Tensor>(t.dtype, t.shape);
    std::mt19937_64 random(seed);
    for (int64_t i = 0; i < n; ++i) {
      Scalar s{.dtype = t.dtype};
      s.f = static_cast<double>(static_cast<int64_t>(random() >> 40)) / (1 << 23) - 1.0;
      s.i = static_cast<int64_t>(random() % 2);
      out->set(i, s);
    }
    return out;
  }

  void attributes(const OpDef& op, Attrs& attrs) {
    r_.expect('{');
    do {
      const std::string name = r_.word();
      r_.expect('=');
      const AttrSpec* spec = nullptr;
      for (const AttrSpec& s : op.attrs) {
        if (s.name == name) spec = &s;
      }
      if (spec == nullptr) r_.fail("{} has no attribute '{}'", op.name, name);
      attrs.set(name, attribute(spec->type));
    } while (r_.take(','));
    r_.expect('}');
  }
  AttrValue attribute(AttrType t) {
    switch (t) {
      case AttrType::Int: return r_.integer();
      case AttrType::Float: return r_.real();
      case AttrType::String: return r_.quoted();
      case AttrType::Ints: return list<int64_t>([&] { return r_.integer(); });
      case AttrType::Floats: return list<double>([&] { return r_.real(); });
      case AttrType::Strings: return list<std::string>([&] { return r_.quoted(); });
      case AttrType::TensorAttr: {
        const TensorType type_of_attr = type();
        return tensor(type_of_attr);
      }
    }
    return int64_t{0};
  }
  template <class T, class F>
  std::vector<T> list(F item) {
    std::vector<T> out;
    r_.expect('[');
    if (r_.take(']')) return out;
    do out.push_back(item());
    while (r_.take(','));
    r_.expect(']');
    return out;
  }

  Reader& r_;
  Graph g_;
  std::map<std::string, ValueId> ids_;
};

}  // namespace

Graph parse_graph(std::string_view text) {
  Reader r(text);
  Graph g = GraphParser(r).parse(0);
  if (r.peek() != '\0') r.fail("unexpected text after the graph");
  return g;
}

}  // namespace burnish
