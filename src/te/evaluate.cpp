// Stages are computed one after the other, each over blocks of output elements (bytecode.h).
#include "te/evaluate.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "te/bytecode.h"

namespace burnish {
namespace {

using te::StageCode;

// The axes from outside in: the scan axis first, so that a block never holds two of its positions.
std::vector<size_t> loop_order(const Stage& s) {
  std::vector<size_t> order(s.axes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (s.scan) {
    check(*s.scan < order.size(), "stage {} scans along axis {}", s.name, *s.scan);
    std::rotate(order.begin(), order.begin() + *s.scan, order.begin() + *s.scan + 1);
  }
  return order;
}

// Steps an odometer, last position fastest; false when it has come round.
bool advance(std::vector<int64_t>& at, const std::vector<Axis>& axes) {
  for (size_t i = axes.size(); i-- > 0;) {
    if (++at[i] < axes[i].extent) return true;
    at[i] = 0;
  }
  return false;
}

void run_block(StageCode& code, const Stage& s) {
  if (!s.is_reduction()) {
    code.run(code.body);
    return;
  }
  std::vector<int64_t> point(s.raxes.size(), 0);
  code.set_reduce_point(point);
  code.run(code.init);
  code.reset_accumulator();
  bool empty = std::any_of(s.raxes.begin(), s.raxes.end(),
                           [](const Axis& a) { return a.extent == 0; });
  for (bool more = !empty; more; more = advance(point, s.raxes)) {
    code.set_reduce_point(point);
    code.run(code.body);
    code.combine_body();
  }
  code.run(code.finish);
}

void compute_stage(const StageGroup& g, StageId id, std::vector<Tensor>& storage, bool in_double) {
  const Stage& s = g[id];
  StageCode code(g, s, storage, in_double);
  storage[id] = Tensor(code.type_of(s.dtype), s.shape());
  Tensor& out = storage[id];
  check(code[code.finish_register].dtype == out.dtype, "stage {} is {} but its formula is {}",
        s.name, name_of(out.dtype), name_of(code[code.finish_register].dtype));

  std::vector<size_t> order = loop_order(s);
  std::vector<int64_t> strides(s.axes.size(), 1);
  for (size_t d = s.axes.size(); d-- > 1;) strides[d - 1] = strides[d] * s.axes[d].extent;
  int64_t total = out.size();
  int64_t run_length = s.scan && total > 0 ? total / s.axes[*s.scan].extent : total;

  std::vector<std::vector<int64_t>> values(s.axes.size(),
                                           std::vector<int64_t>(te::block_lanes));
  std::vector<int64_t> at(s.axes.size(), 0), position(te::block_lanes);
  for (int64_t start = 0; start < total;) {
    int64_t left = run_length - start % run_length;
    int lanes = static_cast<int>(std::min<int64_t>(te::block_lanes, left));
    for (int lane = 0; lane < lanes; ++lane) {
      position[lane] = 0;
      for (size_t a = 0; a < at.size(); ++a) {
        values[a][lane] = at[a];
        position[lane] += at[a] * strides[a];
      }
      for (size_t o = order.size(); o-- > 0;) {
        size_t a = order[o];
        if (++at[a] < s.axes[a].extent) break;
        at[a] = 0;
      }
    }
    code.set_block(values, lanes);
    run_block(code, s);
    const te::Register& result = code[code.finish_register];
    if (out.dtype == DType::F32) {
      for (int i = 0; i < lanes; ++i) out.data<float>()[position[i]] = result.f[i];
    } else {
      for (int i = 0; i < lanes; ++i) out.set(position[i], result.get(i));
    }
    start += lanes;
  }
}

Tensor in_doubles(const Tensor& t) {
  Tensor out(DType::F64, t.shape);
  for (int64_t i = 0; i < t.size(); ++i) out.data<double>()[i] = t.get(i).f;
  return out;
}

}  // namespace

std::vector<Tensor> evaluate(const StageGroup& g, const std::vector<const Tensor*>& inputs,
                             bool in_double) {
  check(inputs.size() == g.inputs.size(), "group {} has {} inputs but was given {}", g.name,
        g.inputs.size(), inputs.size());
  std::vector<Tensor> storage(g.stages.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Stage& s = g[g.inputs[i]];
    int64_t wanted = 1;
    for (const Axis& a : s.axes) wanted *= a.extent;
    check(inputs[i] != nullptr && inputs[i]->size() == wanted,
          "input {} of group {} has the wrong number of elements", s.name, g.name);
    bool to_double = in_double && is_float(inputs[i]->dtype) && inputs[i]->dtype != DType::F64;
    storage[g.inputs[i]] = to_double ? in_doubles(*inputs[i]) : *inputs[i];
    DType expected = in_double && is_float(s.dtype) ? DType::F64 : s.dtype;
    check(storage[g.inputs[i]].dtype == expected, "input {} of group {} is {} instead of {}",
          s.name, g.name, name_of(inputs[i]->dtype), name_of(s.dtype));
  }
  for (StageId id = 0; id < g.stages.size(); ++id) {
    if (g[id].is_compute()) compute_stage(g, id, storage, in_double);
  }
  std::vector<Tensor> out;
  out.reserve(g.outputs.size());
  for (StageId id : g.outputs) out.push_back(storage[id]);
  return out;
}

}  // namespace burnish
