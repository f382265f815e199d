// The graph as text. One line a value or node; parse.cpp reads it back.
//
//   graph net {
//     input %x: f32[1,3,8,8]
//     const %w: f32[4,3,3,3] = #5e1f3b0c9a7d2e44
//     %y: f32[1,4,8,8]{0,2,3,1} = conv(%x, %w, _) {pads=[1,1,1,1]} from "Conv_0"
//     output %y
//   }
//
// A group's body is a graph of its own after the node.
#include <fmt/format.h>

#include <set>

#include "base/error.h"
#include "base/text.h"
#include "graph/graph.h"
#include "graph/op.h"

namespace burnish {

namespace {

constexpr int64_t printed_elements = 16;  // longer constants appear as their hash

bool is_plain(std::string_view name) {
  if (name.empty()) return false;
  for (char c : name) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '.' || c == '/' || c == '@';
    if (!ok) return false;
  }
  return true;
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string float_text(double v) {
  std::string text = number_text(v);
  const bool marked = text.find_first_of(".enia") != std::string::npos;
  return marked ? text : text + ".0";
}

std::string tensor_text(const Tensor& t) {
  if (t.size() > printed_elements) {
    const std::string_view bytes(reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size());
    return fmt::format("#{:016x}", hash_bytes(bytes));
  }
  std::vector<std::string> values;
  for (int64_t i = 0; i < t.size(); ++i) {
    const Scalar s = t.get(i);
    values.push_back(is_float(t.dtype) ? float_text(s.f) : std::to_string(s.i));
  }
  return "[" + join(values, ", ") + "]";
}

struct AttrText {
  std::string operator()(int64_t v) const { return std::to_string(v); }
  std::string operator()(double v) const { return float_text(v); }
  std::string operator()(const std::string& v) const { return quote(v); }
  std::string operator()(const std::vector<int64_t>& v) const {
    return fmt::format("[{}]", fmt::join(v, ","));
  }
  std::string operator()(const std::vector<double>& v) const {
    std::vector<std::string> parts;
    for (double d : v) parts.push_back(float_text(d));
    return "[" + join(parts, ",") + "]";
  }
  std::string operator()(const std::vector<std::string>& v) const {
    std::vector<std::string> parts;
    for (const std::string& s : v) parts.push_back(quote(s));
    return "[" + join(parts, ",") + "]";
  }
  std::string operator()(const TensorPtr& v) const {
    return to_text(TensorType{v->dtype, v->shape, {}}) + " " + tensor_text(*v);
  }
};

class Printer {
 public:
  Printer(const Graph& g, std::string indent) : g_(g), indent_(std::move(indent)) {
    std::set<std::string> taken;
    for (const Value& v : g.values) {
      std::string base = v.name.empty() ? "v" : v.name;
      std::string name = base;
      for (int k = 1; !taken.insert(name).second; ++k) name = fmt::format("{}.{}", base, k);
      names_.push_back("%" + (is_plain(name) ? name : quote(name)));
    }
  }

  std::string print() {
    std::string out = fmt::format("graph {} {{\n", is_plain(g_.name) ? g_.name : quote(g_.name));
    std::vector<bool> is_input(g_.values.size(), false);
    for (ValueId v : g_.inputs) {
      is_input[v] = true;
      out += fmt::format("{}  input {}\n", indent_, typed(v));
    }
    for (ValueId v = 0; v < g_.values.size(); ++v) {
      if (!g_.values[v].is_constant() || is_input[v]) continue;
      out += fmt::format("{}  const {} = {}\n", indent_, typed(v), tensor_text(*g_.values[v].constant));
    }
    for (const Node& n : g_.nodes) out += node(n);
    std::vector<std::string> outputs;
    for (ValueId v : g_.outputs) outputs.push_back(names_[v]);
    out += fmt::format("{}  output {}\n", indent_, join(outputs, ", "));
    return out + indent_ + "}\n";
  }

 private:
  std::string typed(ValueId v) const { return names_[v] + ": " + to_text(g_.type(v)); }

  std::string node(const Node& n) const {
    std::vector<std::string> outputs, inputs, attrs;
    for (ValueId v : n.outputs) outputs.push_back(typed(v));
    for (ValueId v : n.inputs) inputs.push_back(v == no_value ? "_" : names_[v]);
    for (const auto& [name, value] : n.attrs.all()) {
      attrs.push_back(name + "=" + std::visit(AttrText{}, value));
    }
    std::string out = fmt::format("{}  {} = {}({})", indent_, join(outputs, ", "), n.op->name,
                                  join(inputs, ", "));
    if (!attrs.empty()) out += " {" + join(attrs, ", ") + "}";
    if (!n.source.empty()) out += " from " + quote(n.source);
    for (const Graph& body : n.bodies) out += " " + Printer(body, indent_ + "  ").print();
    return n.bodies.empty() ? out + "\n" : out;
  }

  const Graph& g_;
  std::string indent_;
  std::vector<std::string> names_;
};

}  // namespace

std::string to_text(const Graph& g) { return Printer(g, "").print(); }

}  // namespace burnish
