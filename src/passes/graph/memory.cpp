#include "passes/graph/memory.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace burnish {

namespace {

// Where the dimensions of more than one element lie, in an order that does not depend on how they are listed.
using Place = std::tuple<int64_t, uint32_t, int64_t, int64_t>;  // stride, axis, div, mod

// `renamed[a]`: the name under which axis a is compared.
std::vector<Place> places(const Shape& shape, const Layout& layout, const std::vector<uint32_t>& renamed) {
  std::vector<Place> out;
  for (const PhysicalDim& d : physical(layout, shape)) {
    const int64_t used = d.dim.mod != 0 ? d.dim.mod : (shape[d.dim.axis] + d.dim.div - 1) / d.dim.div;
    if (used > 1) out.emplace_back(d.stride, renamed[d.dim.axis], d.dim.div, d.dim.mod);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<uint32_t> own_names(size_t rank) {
  std::vector<uint32_t> names(rank);
  std::iota(names.begin(), names.end(), 0u);
  return names;
}

// Every dimension, also of a row-major layout.
Layout named(const TensorType& t) {
  return t.layout.empty() ? permuted(own_names(t.shape.size())) : t.layout;
}

// Rows cut shorter than a cache line cost their writers more than a copy of whole rows.
constexpr int64_t shortest_run = 64;  // bytes

}  // namespace

bool same_memory(const Shape& shape, const Layout& a, const Layout& b) {
  if (a == b) return true;
  return places(shape, a, own_names(shape.size())) == places(shape, b, own_names(shape.size()));
}

bool is_row_major_memory(const TensorType& t) { return same_memory(t.shape, t.layout, {}); }

bool is_dense(const TensorType& t) {
  return t.layout.empty() || physical_size(t.layout, t.shape) == element_count(t.shape);
}

Layout channels_last(size_t rank) {
  if (rank < 3) return {};
  std::vector<uint32_t> order{0};
  for (uint32_t a = 2; a < rank; ++a) order.push_back(a);
  order.push_back(1);
  return permuted(order);
}

bool is_reshape(const OpDef& op) {
  return op.name == "reshape" || op.name == "squeeze" || op.name == "unsqueeze" || op.name == "flatten";
}

bool is_strided(const OpDef& op) { return op.name == "attention"; }

std::vector<uint32_t> permutation_of(const Node& transpose, size_t rank) {
  std::vector<uint32_t> out;
  for (int64_t p : transpose.attrs.ints("perm")) out.push_back(static_cast<uint32_t>(p < 0 ? p + static_cast<int64_t>(rank) : p));
  for (size_t i = rank; out.size() < rank; --i) out.push_back(static_cast<uint32_t>(i - 1));
  return out;
}

Layout transposed_view(const Layout& operand, const std::vector<uint32_t>& perm) {
  std::vector<uint32_t> place(perm.size());  // of the operand's axes among the result's
  for (uint32_t i = 0; i < perm.size(); ++i) place[perm[i]] = i;
  if (operand.empty()) return permuted(place);
  Layout out = operand;
  for (LayoutDim& d : out) d.axis = place[d.axis];
  return out;
}

std::optional<Layout> reshaped_view(const Shape& from, const Layout& operand, const Shape& to) {
  if (element_count(from) == 0) return std::nullopt;
  // The shortest runs of axes that hold the same elements on both sides; axes of one element belong to none.
  std::vector<size_t> run_of(from.size());
  std::vector<std::vector<uint32_t>> before, after;
  std::vector<uint32_t> order;
  for (uint32_t i = 0, j = 0; i < from.size() || j < to.size();) {
    before.emplace_back(), after.emplace_back();
    for (int64_t a = 1, b = 1; i < from.size() || j < to.size();) {
      if (j == to.size() || (a <= b && i < from.size())) {
        if (from[i] > 1) run_of[i] = before.size() - 1, before.back().push_back(i);
        a *= from[i++];
      } else {
        (to[j] > 1 ? after.back() : order).push_back(j);
        b *= to[j++];
      }
      if (a == b) break;
    }
  }
  std::vector<uint32_t> dims;
  for (uint32_t a = 0; a < from.size(); ++a) dims.push_back(a);
  if (!operand.empty()) {
    dims.clear();
    for (const LayoutDim& d : operand) {
      if (d != LayoutDim{d.axis}) return std::nullopt;
      dims.push_back(d.axis);
    }
  }
  std::erase_if(dims, [&](uint32_t a) { return from[a] == 1; });
  for (size_t k = 0; k < dims.size();) {
    const size_t run = run_of[dims[k]];
    for (uint32_t a : before[run]) {
      if (k == dims.size() || dims[k++] != a) return std::nullopt;
    }
    order.insert(order.end(), after[run].begin(), after[run].end());
  }
  return std::ranges::is_sorted(order) ? Layout{} : permuted(order);
}

bool is_view(const Graph& g, const Node& n) {
  if (n.inputs.empty() || n.inputs[0] == no_value || n.outputs.size() != 1) return false;
  const TensorType& in = g.type(n.inputs[0]);
  const TensorType& out = g.type(n.outputs[0]);
  if (in.dtype != out.dtype) return false;
  if (is_reshape(*n.op)) {
    if (is_row_major_memory(in) && is_row_major_memory(out)) return true;
    const auto view = reshaped_view(in.shape, in.layout, out.shape);
    return view && same_memory(out.shape, *view, out.layout);
  }
  if (n.op->name == "identity" || n.op == &layout_transform_op()) {
    return same_memory(in.shape, in.layout, out.layout);
  }
  if (n.op->name == "transpose") {
    const size_t rank = in.shape.size();
    const std::vector<uint32_t> perm = permutation_of(n, rank);
    std::vector<uint32_t> renamed(rank);
    for (uint32_t j = 0; j < rank; ++j) renamed[perm[j]] = j;
    return places(in.shape, in.layout, renamed) == places(out.shape, out.layout, own_names(rank));
  }
  return false;
}

std::optional<Slices> slices_of(const Graph& g, const Node& group, std::string_view op) {
  if (group.bodies.size() != 1 || group.bodies[0].nodes.size() != 1) return std::nullopt;
  const Graph& body = group.bodies[0];
  const Node& n = body.nodes[0];
  if (n.op->name != op || n.inputs != body.inputs || n.outputs != body.outputs) return std::nullopt;
  const bool joins = op == "concat";
  const std::vector<ValueId>& one = joins ? group.outputs : group.inputs;
  if (one.size() != 1) return std::nullopt;
  Slices out{one[0], joins ? group.inputs : group.outputs, {}};

  const TensorType& whole = g.type(out.whole);
  const auto rank = static_cast<int64_t>(whole.shape.size());
  int64_t axis = n.attrs.i("axis");
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank || !is_dense(whole)) return std::nullopt;
  out.axis = static_cast<uint32_t>(axis);
  int64_t stride = 0;
  for (const PhysicalDim& d : physical(whole.layout, whole.shape)) {
    if (d.dim.axis == out.axis && d.dim.div == 1 && d.dim.mod == 0) stride = d.stride;
    if (stride != 0) break;
    out.apart |= d.extent > 1;
  }
  if (stride == 0) return std::nullopt;
  int64_t start = 0;
  for (ValueId v : out.parts) {
    const TensorType& part = g.type(v);
    const bool alike = out.apart ? same_but_for(out.axis, part, whole)
                                 : is_dense(part) && same_memory(part.shape, part.layout, whole.layout);
    if (part.dtype != whole.dtype || !alike) return std::nullopt;
    if (out.apart && part.shape[out.axis] * stride * size_of(part.dtype) < shortest_run) return std::nullopt;
    out.offsets.push_back(start * stride);
    start += part.shape[out.axis];
  }
  return out;
}

bool same_but_for(uint32_t axis, const TensorType& a, const TensorType& b) {
  if (a.dtype != b.dtype || a.shape.size() != b.shape.size()) return false;
  for (uint32_t i = 0; i < a.shape.size(); ++i) {
    if (i != axis && a.shape[i] != b.shape[i]) return false;
  }
  const Layout layout = named(a);
  return layout == named(b) &&
         std::ranges::count(layout, axis, &LayoutDim::axis) == 1 && std::ranges::count(layout, LayoutDim{axis}) == 1;
}

Layout padded(const TensorType& t, uint32_t axis, int64_t pad) {
  Layout layout = named(t);
  for (LayoutDim& d : layout) {
    if (d.axis == axis) d.pad = pad;
  }
  return layout;
}

}  // namespace burnish
