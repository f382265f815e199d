#include "passes/graph/layout_choices.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "graph/op.h"
#include "passes/graph/memory.h"

namespace burnish {

namespace {

constexpr int64_t few_channels = 4;
constexpr size_t most_layouts = 6;  // of a value
// What reads or follows a moving operator joins its kernel, and not a conversion's.
constexpr double moving_itself = 0.9;

using Layouts = std::vector<Layout>;

class ChoiceFinder {
 public:
  ChoiceFinder(const Graph& g, const Target* target)
      : g_(g), target_(target), readers_(consumers(g)), leaves_(g.values.size()),
        machine_(target ? target->machine() : Machine{}), wanted_(g.values.size()),
        made_(g.values.size(), Layouts{{}}) {
    for (ValueId v : g.outputs) leaves_[v] = true;
  }

  std::vector<std::vector<LayoutChoice>> run() {
    for (NodeId n = static_cast<NodeId>(g_.nodes.size()); n-- > 0;) ask(g_.nodes[n]);
    std::vector<std::vector<LayoutChoice>> out;
    for (const Node& n : g_.nodes) {
      out.push_back(of(n));
      for (ValueId v : n.outputs) {
        made_[v].clear();
        for (const LayoutChoice& c : out.back()) {
          add(made_, v, c.result.size() == rank(v) ? c.result : Layout{});
        }
      }
    }
    return out;
  }

 private:
  const Shape& shape(ValueId v) const { return g_.type(v).shape; }
  size_t rank(ValueId v) const { return shape(v).size(); }
  Layout last(ValueId v) const { return channels_last(rank(v)); }

  static bool computes(const Node& n) {
    return n.op->fusion == Fusion::Anchor || n.op->fusion == Fusion::Reduction;
  }
  static bool enters(const Node& n) {
    return n.op->layout == LayoutRule::ChannelsLast && computes(n);
  }
  static bool follows(const Node& n) { return n.op->layout != LayoutRule::RowMajor && !enters(n); }

  void add(std::vector<Layouts>& of, ValueId v, const Layout& layout) const {
    if (!among(of[v], v, layout) && of[v].size() < most_layouts) of[v].push_back(layout);
  }
  bool among(const Layouts& layouts, ValueId v, const Layout& layout) const {
    return std::ranges::any_of(layouts,
                               [&](const Layout& l) { return same_memory(shape(v), l, layout); });
  }

  // A reduction reads as its operands lie rather than as its readers would like.
  bool asked_last(const Node& n) const {
    return !computes(n) &&
           std::ranges::any_of(n.outputs, [&](ValueId v) { return among(wanted_[v], v, last(v)); });
  }

  // Layouts other than row-major that readers of the operands would like.
  void ask(const Node& n) {
    if (n.inputs.empty() || n.inputs[0] == no_value) return;
    const ValueId in = n.inputs[0], out = n.outputs[0];
    if (enters(n)) {
      add(wanted_, in, last(in));
    } else if (follows(n)) {
      if (!asked_last(n)) return;
      for (ValueId v : n.inputs) {
        if (v != no_value && rank(v) == rank(out)) add(wanted_, v, last(v));
      }
    } else if (is_reshape(*n.op)) {
      for (const Layout& l : wanted_[out]) {
        if (const auto view = reshaped_view(shape(out), l, shape(in))) add(wanted_, in, *view);
      }
    } else if (n.op->name == "transpose") {
      const std::vector<uint32_t> perm = permutation_of(n, rank(in));
      std::vector<uint32_t> back(perm.size());
      for (uint32_t i = 0; i < perm.size(); ++i) back[perm[i]] = i;
      for (const Layout& l : wanted_[out]) add(wanted_, in, transposed_view(l, back));
    }
  }

  std::vector<LayoutChoice> of(const Node& n) {
    if (n.inputs.empty() || n.inputs[0] == no_value) return {as_they_lie(n, {})};
    if (enters(n)) return entering(n);
    if (follows(n)) return following(n);
    if (is_strided(*n.op)) return strided(n);
    if (n.op->name == "matmul" && machine_.device) return product(n);
    if (is_reshape(*n.op)) return reshaping(n);
    if (n.op->name == "transpose") return transposing(n);
    if (!computes(n) && n.op->fusion != Fusion::Opaque) return {as_they_lie(n, {})};
    return {
        {.result = {}, .wanted = std::vector<std::optional<Layout>>(n.inputs.size(), Layout{})}};
  }

  static LayoutChoice as_they_lie(const Node& n, Layout result, double us = 0) {
    return {std::move(result), std::vector<std::optional<Layout>>(n.inputs.size()), us};
  }

  std::vector<LayoutChoice> entering(const Node& n) const {
    const ValueId in = n.inputs[0];
    LayoutChoice c = as_they_lie(n, last(in));
    const bool may_be_picture =
        n.op->fusion == Fusion::Anchor && rank(in) > 1 && shape(in)[1] <= few_channels;
    std::vector<LayoutChoice> out{c};
    out[0].wanted[0] = last(in);
    if (may_be_picture) out.push_back(c), out[1].wanted[0] = Layout{};
    // On a device channels may be the rows of a tile as well as its columns, where rows of points are long enough for these.
    constexpr int64_t columns = 8;
    if (machine_.device && n.op->name == "conv" && n.attrs.i("groups", 1) == 1 && shape(n.outputs[0]).back() >= columns) {
      out.push_back(out[0]);
      out.back().result = {};
    }
    return out;
  }

  std::vector<LayoutChoice> following(const Node& n) {
    const ValueId out = n.outputs[0];
    std::vector<LayoutChoice> choices;
    bool made = false;
    for (ValueId v : n.inputs) {
      if (has_layout(g_, v) && rank(v) == rank(out))
        made |= among(made_[v], v, last(v)) && !same_memory(shape(v), last(v), {});
    }
    const auto in_layout = [&](const Layout& l) {
      LayoutChoice c = as_they_lie(n, l);
      for (size_t i = 0; i < n.inputs.size(); ++i) {
        if (n.inputs[i] != no_value && rank(n.inputs[i]) == rank(out)) c.wanted[i] = l;
      }
      choices.push_back(std::move(c));
    };
    if (made || asked_last(n)) in_layout(last(out));  // first: taken where both cost the same
    in_layout({});
    if (choices.size() > 1 && has_own_kernel(n)) estimate(n, choices);
    return choices;
  }

  // Elementwise operators join others; concat and split are slices of memory.
  static bool has_own_kernel(const Node& n) {
    return computes(n) ||
           (n.op->fusion == Fusion::Injective && n.op->name != "concat" && n.op->name != "split");
  }

  // Costs by the target's estimates, where it has one for every choice.
  void estimate(const Node& n, std::vector<LayoutChoice>& choices) {
    if (target_ == nullptr) return;
    std::vector<double> us;
    for (const LayoutChoice& c : choices) {
      const StageGroup stages = stages_in(n, c);
      const auto [known, is_new] = estimates_.try_emplace(to_text(stages), 0.0);
      if (is_new) known->second = target_->estimate_us(stages);
      us.push_back(known->second);
    }
    if (!std::ranges::all_of(us, [](double t) { return std::isfinite(t); })) return;
    for (size_t k = 0; k < us.size(); ++k) choices[k].us = us[k];
  }

  StageGroup stages_in(const Node& n, const LayoutChoice& c) const {
    Graph alone;
    std::vector<ValueId> inputs;
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const ValueId v = n.inputs[i];
      inputs.push_back(v == no_value ? no_value
                                     : alone.add_input("p" + std::to_string(i), g_.type(v)));
      if (v == no_value) continue;
      alone.values[inputs[i]].constant = g_.values[v].constant;
      if (has_layout(g_, v)) alone.values[inputs[i]].type.layout = c.wanted[i].value_or(Layout{});
    }
    const NodeId id = alone.add_node(*n.op, inputs, n.attrs, n.source);
    for (ValueId v : alone.nodes[id].outputs) {
      if (alone.type(v).shape.size() == c.result.size()) alone.values[v].type.layout = c.result;
    }
    return stages_of(alone, alone.nodes[id]);
  }

  // Also the order that makes a transpose of the result row-major, if that is all that reads it and
  // the last axis stays.
  std::vector<LayoutChoice> strided(const Node& n) const {
    std::vector<LayoutChoice> out{as_they_lie(n, {})};
    const ValueId v = n.outputs[0];
    if (leaves_[v] || readers_[v].size() != 1 || rank(v) == 0) return out;
    const Node& reader = g_.nodes[readers_[v][0]];
    if (reader.op->name != "transpose") return out;
    const std::vector<uint32_t> perm = permutation_of(reader, rank(v));
    if (perm.back() == rank(v) - 1) out.push_back(as_they_lie(n, permuted(perm)));
    return out;
  }

  // Threads of a device read and write rows wherever they lie, as long as one axis of each matrix is innermost.
  std::vector<LayoutChoice> product(const Node& n) const {
    std::vector<LayoutChoice> out = strided(n);
    for (LayoutChoice& c : out) c.wanted.assign(n.inputs.size(), Layout{});
    for (size_t i = 0; i < n.inputs.size(); ++i) {
      const std::vector<LayoutChoice> before = out;
      for (const Layout& l : made_[n.inputs[i]]) {
        const size_t last = rank(n.inputs[i]) - 1;
        if (l.empty() || !has_layout(g_, n.inputs[i]) || std::ranges::any_of(l, [](const LayoutDim& d) { return d != LayoutDim{d.axis}; }))
          continue;
        if (l.back().axis != last && (i != 1 || l.back().axis + 1 != last)) continue;
        for (LayoutChoice c : before) {
          c.wanted[i] = l;
          out.push_back(std::move(c));
        }
      }
    }
    return out;
  }

  std::vector<LayoutChoice> reshaping(const Node& n) const {
    const ValueId in = n.inputs[0];
    Layouts from{{}};
    for (const Layouts* some : {&made_[in], &wanted_[in]}) {
      for (const Layout& l : *some) {
        if (!among(from, in, l)) from.push_back(l);
      }
    }
    std::vector<LayoutChoice> out;
    for (const Layout& l : from) {
      const auto view = reshaped_view(shape(in), l, shape(n.outputs[0]));
      if (!view && !l.empty()) continue;
      out.push_back(as_they_lie(n, view.value_or(Layout{})));
      out.back().wanted[0] = l;
    }
    return out;
  }

  // Either a copy into any layout, or a view.
  std::vector<LayoutChoice> transposing(const Node& n) const {
    const ValueId in = n.inputs[0], v = n.outputs[0];
    const double us = moving_itself * move_us(g_.type(v), machine_);
    std::vector<LayoutChoice> out{as_they_lie(n, {}, us)};
    for (const Layout& l : wanted_[v]) out.push_back(as_they_lie(n, l, us));
    if (!has_layout(g_, in)) return out;
    for (const Layout& l : made_[in]) {
      const Layout view = transposed_view(l, permutation_of(n, rank(in)));
      out.push_back(as_they_lie(n, same_memory(shape(v), view, {}) ? Layout{} : view));
      out.back().wanted[0] = l;
    }
    return out;
  }

  const Graph& g_;
  const Target* target_;
  const std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> leaves_;
  const Machine machine_;
  std::vector<Layouts> wanted_, made_;       // by value
  std::map<std::string, double> estimates_;  // by formulas
};

}  // namespace

double move_us(const TensorType& t, const Machine& m) {
  constexpr double start = 0.5;
  const auto bytes =
      static_cast<double>(2 * element_count(t.shape) * static_cast<int64_t>(size_of(t.dtype)));
  const double a_cycle =
      bytes <= static_cast<double>(m.l3_bytes) ? m.l3_bandwidth : m.memory_bandwidth;
  return start + bytes / (a_cycle * m.gigahertz * 1e3);
}

bool has_layout(const Graph& g, ValueId v) { return v != no_value && !g.values[v].is_constant(); }

std::vector<std::vector<LayoutChoice>> layout_choices(const Graph& g, const Target* target) {
  return ChoiceFinder(g, target).run();
}

}  // namespace burnish
