// Groups become functions and steps; values become tensors.
//
// Views (nodes that need no code, memory.h) put several values into one storage; parts of a concat or split lie within
// the whole's, one after another or between each other's rows, so that producers write their slices and readers read
// theirs. A storage that holds an input or a constant of the network is that tensor; one that holds an output is the
// output, so its producer writes there directly; all others lie in the arena, one after another until plan_arena lays it
// out.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "passes/graph/kernels.h"
#include "passes/graph/memory.h"
#include "passes/graph/passes.h"
#include "te/pack_constant.h"
#include "passes/graph/storages.h"

namespace burnish {

namespace {

// A group around one node that copies `v` in row-major order.
ValueId add_copy(Graph& g, ValueId v, const std::string& name) {
  Graph body;
  body.name = "copy";
  const ValueId in = body.add_input("p0", g.type(v));
  body.outputs.push_back(body.add(layout_transform_op(), {in}, layout_attrs({}), ""));
  const NodeId n = add_group(g, std::move(body), {v}, "", {name});
  return g.nodes[n].outputs[0];
}

// Every output gets a storage of its own that is neither an input's nor a constant's.
Graph with_separate_outputs(const Graph& g) {
  Graph out = g;
  const Storages s = storages(g);
  std::vector<bool> taken(g.values.size(), false);
  for (ValueId v = 0; v < g.values.size(); ++v) {
    if (g.values[v].producer == ~NodeId{0}) taken[v] = true;
  }
  for (ValueId& v : out.outputs) {
    const ValueId root = s.of[v].root;
    if (taken[root] || !is_dense(g.type(root)) || !s.holds_whole(g, v)) v = add_copy(out, v, g.values[v].name);
    else taken[root] = true;
  }
  return out;
}

class ProgramBuilder {
 public:
  ProgramBuilder(const Graph& g, const Target& target)
      : storages_(storages(g)), g_(with_pitches(g, storages_)), tensor_of_(g.values.size(), ~uint32_t{0}),
        kernels_(target, p_.functions) {}

  Program build() {
    for (ValueId v : g_.inputs) p_.inputs.push_back(add_tensor(v, TensorKind::Input));
    for (ValueId v : g_.outputs) p_.outputs.push_back(add_output(v));
    for (size_t i = 0; i < g_.nodes.size(); ++i) {
      const Node& n = g_.nodes[i];
      if (!storages_.needs_code[i]) continue;
      check(!n.bodies.empty(), "node {} (from {}) is neither a group nor a view", n.op->name, n.source);
      add_step(n);
    }
    lay_out_arena();
    return std::move(p_);
  }

 private:
  // Each tensor for itself: the program is correct before plan_arena, and without it.
  void lay_out_arena() {
    constexpr int64_t alignment = 64, most = int64_t{1} << 50;
    for (ProgramTensor& t : p_.tensors) {
      if (t.kind != TensorKind::Arena) continue;
      require(t.size < most / 8 && p_.arena_bytes < most, "tensor {} of {} elements is too large", t.name, t.size);
      t.offset = p_.arena_bytes;
      p_.arena_bytes += (t.size * size_of(t.dtype) + alignment - 1) / alignment * alignment;
    }
  }

  uint32_t add_tensor(ValueId v, TensorKind kind) {
    const TensorType& t = g_.type(v);
    tensor_of_[v] = static_cast<uint32_t>(p_.tensors.size());
    ProgramTensor tensor{.name = g_.values[v].name,
                         .kind = kind,
                         .dtype = t.dtype,
                         .size = physical_size(t.layout, t.shape)};
    if (kind == TensorKind::Input || kind == TensorKind::Output) tensor.shape = t.shape;
    p_.tensors.push_back(std::move(tensor));
    return tensor_of_[v];
  }

  // The storage's root may have another shape (a view of it is the output).
  uint32_t add_output(ValueId v) {
    const uint32_t t = add_tensor(storages_.of[v].root, TensorKind::Output);
    p_.tensors[t].name = g_.values[v].name;
    p_.tensors[t].shape = g_.type(v).shape;
    return t;
  }

  uint32_t tensor(ValueId v) {
    const ValueId root = storages_.of[v].root;
    if (tensor_of_[root] == ~uint32_t{0}) {
      if (g_.values[root].is_constant()) return constant_tensor(root, {});
      add_tensor(root, TensorKind::Arena);
    }
    return tensor_of_[root];
  }

  // One tensor for a constant in one layout, however many kernels read it.
  uint32_t constant_tensor(ValueId v, const Layout& layout) {
    const TensorPtr& data = g_.values[v].constant;
    std::string key = fmt::format("{}", static_cast<const void*>(data.get()));
    for (const LayoutDim& d : layout) key += fmt::format(",{}/{}%{}+{}", d.axis, d.div, d.mod, d.pad);
    auto [it, fresh] = constants_.try_emplace(key, static_cast<uint32_t>(p_.tensors.size()));
    if (fresh) {
      auto bytes = pack_constant(*data, layout);
      p_.tensors.push_back({.name = g_.values[v].name,
                            .kind = TensorKind::Constant,
                            .dtype = data->dtype,
                            .size = static_cast<int64_t>(bytes->size()) / size_of(data->dtype),
                            .data = std::move(bytes)});
    }
    return it->second;
  }

  static void add_argument(Step& step, uint32_t tensor, int64_t bytes) {
    step.args.push_back(tensor);
    step.offsets.push_back(bytes);
  }
  void add_argument(Step& step, ValueId v) {
    add_argument(step, tensor(v), storages_.of[v].offset * size_of(g_.type(v).dtype));
  }

  void add_step(const Node& n) {
    const KernelStages stages = kernel_stages(g_, n);
    const Kernel& kernel = kernels_.kernel(stages.group, n.source);
    Step step{.function = kernel.function, .schedule = kernel.schedule};
    for (size_t i = 0; i < stages.operand_of.size(); ++i) {
      const ValueId v = n.inputs[stages.operand_of[i]];
      if (g_.values[v].is_constant()) add_argument(step, constant_tensor(v, kernel.packed[i]), 0);
      else add_argument(step, v);
    }
    for (ValueId v : n.outputs) add_argument(step, v);
    if (std::ranges::count(step.offsets, 0) == std::ssize(step.offsets)) step.offsets.clear();
    for (const std::string& s : split_text(n.source, '+')) {
      if (!s.empty()) step.sources.push_back(s);
    }
    step.macs = macs_of(g_, n);
    const Function& f = p_.functions[step.function];
    for (BufferId b : f.params) step.bytes += own_elements(f.buffers[b]) * size_of(f.buffers[b].dtype);
    p_.steps.push_back(std::move(step));
  }

  const Storages storages_;
  const Graph g_;
  std::vector<uint32_t> tensor_of_;  // by root value
  std::map<std::string, uint32_t> constants_;
  Program p_;
  KernelTable kernels_;
};

}  // namespace

Program to_program(const Graph& g, const Context& c) {
  check(c.target != nullptr, "to_program needs a target");
  return ProgramBuilder(with_separate_outputs(g), *c.target).build();
}

}  // namespace burnish
