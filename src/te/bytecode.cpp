#include "te/bytecode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "expr/half.h"

namespace burnish::te {
namespace {

int64_t wrap(int64_t v, DType t) {
  switch (t) {
    case DType::Bool: return v != 0;
    case DType::I8: return static_cast<int8_t>(v);
    case DType::U8: return static_cast<uint8_t>(v);
    case DType::I16: return static_cast<int16_t>(v);
    case DType::U16: return static_cast<uint16_t>(v);
    case DType::I32: return static_cast<int32_t>(v);
    case DType::U32: return static_cast<uint32_t>(v);
    case DType::I64:
    case DType::U64:
    case DType::F16:
    case DType::BF16:
    case DType::TF32:
    case DType::F32:
    case DType::F64: return v;
  }
  return v;
}

bool in_float(DType t) { return t == DType::F32 || t == DType::F16 || t == DType::BF16 || t == DType::TF32; }

template <class T, class Out, class F>
void lanewise(const std::vector<T>& a, const std::vector<T>& b, std::vector<Out>& out, int n, F f) {
  for (int i = 0; i < n; ++i) out[i] = static_cast<Out>(f(a[i], b[i]));
}

// The common operations without a Scalar a lane; false when the operation is not among them.
template <class T>
bool compare(BinaryOp op, const std::vector<T>& a, const std::vector<T>& b,
             std::vector<int64_t>& out, int n) {
  auto each = [&](auto f) { return lanewise(a, b, out, n, f), true; };
  if (op == BinaryOp::Eq) return each([](T x, T y) { return x == y; });
  if (op == BinaryOp::Ne) return each([](T x, T y) { return x != y; });
  if (op == BinaryOp::Lt) return each([](T x, T y) { return x < y; });
  if (op == BinaryOp::Le) return each([](T x, T y) { return x <= y; });
  if (op == BinaryOp::Gt) return each([](T x, T y) { return x > y; });
  if (op == BinaryOp::Ge) return each([](T x, T y) { return x >= y; });
  return false;
}

template <class T>
bool fast_float(BinaryOp op, const std::vector<T>& a, const std::vector<T>& b, std::vector<T>& out,
                int n) {
  auto each = [&](auto f) { return lanewise(a, b, out, n, f), true; };
  if (op == BinaryOp::Add) return each([](T x, T y) { return x + y; });
  if (op == BinaryOp::Sub) return each([](T x, T y) { return x - y; });
  if (op == BinaryOp::Mul) return each([](T x, T y) { return x * y; });
  if (op == BinaryOp::Max) return each([](T x, T y) { return x > y || x != x ? x : y; });
  if (op == BinaryOp::Min) return each([](T x, T y) { return x < y || x != x ? x : y; });
  return false;
}

bool fast_int(BinaryOp op, DType t, const std::vector<int64_t>& a, const std::vector<int64_t>& b,
              std::vector<int64_t>& out, int n) {
  auto each = [&](auto f) {
    auto in_type = [&](int64_t x, int64_t y) {
      return wrap(static_cast<int64_t>(f(static_cast<uint64_t>(x), static_cast<uint64_t>(y))), t);
    };
    return lanewise(a, b, out, n, in_type), true;
  };
  if (op == BinaryOp::Add) return each([](uint64_t x, uint64_t y) { return x + y; });
  if (op == BinaryOp::Sub) return each([](uint64_t x, uint64_t y) { return x - y; });
  if (op == BinaryOp::Mul) return each([](uint64_t x, uint64_t y) { return x * y; });
  if (op == BinaryOp::And) return each([](uint64_t x, uint64_t y) { return x & y; });
  if (op == BinaryOp::Or) return each([](uint64_t x, uint64_t y) { return x | y; });
  return false;
}

void run_binary(BinaryOp op, const Register& a, const Register& b, Register& out, int n) {
  DType t = a.dtype;
  bool done = false;
  if (is_comparison(op)) {
    if (in_float(t)) done = compare(op, a.f, b.f, out.i, n);
    else if (t == DType::F64) done = compare(op, a.d, b.d, out.i, n);
    else if (t != DType::U64) done = compare(op, a.i, b.i, out.i, n);
  } else if (t == DType::F32) {
    done = fast_float(op, a.f, b.f, out.f, n);
  } else if (t == DType::F64) {
    done = fast_float(op, a.d, b.d, out.d, n);
  } else if (is_int(t)) {
    done = fast_int(op, t, a.i, b.i, out.i, n);
  }
  if (done) return;
  for (int i = 0; i < n; ++i) out.set(i, evaluate(op, a.get(i), b.get(i)));
}

template <class T>
void pick(const std::vector<int64_t>& c, const std::vector<T>& a, const std::vector<T>& b,
          std::vector<T>& out, int n) {
  for (int i = 0; i < n; ++i) out[i] = c[i] ? a[i] : b[i];
}

BinaryOp operation(Combine c) {
  switch (c) {
    case Combine::None:
    case Combine::Sum: return BinaryOp::Add;
    case Combine::Prod: return BinaryOp::Mul;
    case Combine::Min: return BinaryOp::Min;
    case Combine::Max: return BinaryOp::Max;
  }
  return BinaryOp::Add;
}

Scalar scalar_of(const Expr& constant, DType t) {
  Scalar s{.dtype = t};
  if (is_float(t)) s.f = constant.number();
  else s.i = constant.integer();
  return s;
}

}  // namespace

Register::Register(DType t) : dtype(t) {
  if (t == DType::F64) d.resize(block_lanes);
  else if (is_float(t)) f.resize(block_lanes);
  else i.resize(block_lanes);
}

Scalar Register::get(int lane) const {
  Scalar s{.dtype = dtype};
  if (dtype == DType::F64) s.f = d[lane];
  else if (is_float(dtype)) s.f = f[lane];
  else s.i = i[lane];
  return s;
}

void Register::set(int lane, const Scalar& s) {
  if (dtype == DType::F64) d[lane] = s.f;
  else if (is_float(dtype)) f[lane] = static_cast<float>(s.f);
  else i[lane] = s.i;
}

StageCode::StageCode(const StageGroup& g, const Stage& s, std::span<const Tensor> storage,
                     bool in_double)
    : group_(g), stage_(s), storage_(storage), in_double_(in_double) {
  if (s.is_reduction()) {
    accumulator = fresh(type_of(s.dtype));
    neutral_ = scalar_of(neutral(s.op, s.dtype), type_of(s.dtype));
    if (s.init) init_register = compile(s.init, -1, init);
    done_.clear();  // values of init do not live on in the reduce loop
    body_register = compile(s.body, -1, body);
    done_.clear();
    finish_register = s.finish ? compile(s.finish, -1, finish) : accumulator;
  } else {
    body_register = compile(s.body, -1, body);
    finish_register = body_register;
  }
}

int StageCode::fresh(DType t) {
  registers_.emplace_back(t);
  return static_cast<int>(registers_.size()) - 1;
}

int StageCode::slot(const Aff& form) {
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].form == form) return static_cast<int>(i);
  }
  slots_.push_back({.form = form, .base = std::vector<int64_t>(block_lanes)});
  return static_cast<int>(slots_.size()) - 1;
}

IndexPlan StageCode::plan(const Index& index, int mask, Code& code) {
  IndexPlan p{.slot = slot(index.a), .atoms = {}};
  for (const Atom& a : index.atoms) {
    int value = a.value ? compile(a.value, mask, code) : -1;
    check(value < 0 || !is_float(a.value.dtype()), "an index of stage {} is a float", stage_.name);
    check(a.div > 0 && a.mod >= 0, "an index of stage {} divides by {} modulo {}", stage_.name,
          a.div, a.mod);
    p.atoms.push_back({slot(a.a), value, a.div, a.mod, a.scale});
  }
  return p;
}

int StageCode::compile_load(const Expr& e, int mask, Code& code) {
  check(e.from() < storage_.size(), "stage {} loads the unknown stage {}", stage_.name, e.from());
  const Stage& from = group_[e.from()];
  Instruction in{.kind = Instruction::Kind::Load};
  in.from = e.from();
  in.mask = mask;
  in.extents = from.shape();
  check(in.extents.size() == e.indices().size(), "stage {} loads {} with {} indices", stage_.name,
        from.name, e.indices().size());
  in.strides.assign(in.extents.size(), 1);
  for (size_t d = in.extents.size(); d-- > 1;) {
    in.strides[d - 1] = in.strides[d] * in.extents[d];
  }
  Aff flat;
  bool affine = true;
  for (size_t d = 0; d < in.extents.size(); ++d) {
    const Index& i = e.indices()[d];
    in.dims.push_back(plan(i, mask, code));
    affine = affine && i.is_affine();
    flat += i.a * in.strides[d];
  }
  if (affine) in.flat = slot(flat);
  if (e.fill()) in.a = compile(e.fill(), mask, code);
  in.out = fresh(type_of(e.dtype()));
  code.push_back(std::move(in));
  return code.back().out;
}

int StageCode::compile(const Expr& e, int mask, Code& code) {
  if (auto it = done_.find({e.get(), mask}); it != done_.end()) return it->second;
  using Kind = Instruction::Kind;
  int out = -1;
  switch (e.kind()) {
    case ExprKind::Const: {
      out = fresh(type_of(e.dtype()));
      Scalar s = scalar_of(e, type_of(e.dtype()));
      for (int i = 0; i < block_lanes; ++i) (*this)[out].set(i, s);
      break;
    }
    case ExprKind::Affine: {
      Instruction in{.kind = Kind::Affine};
      in.dims.push_back(plan(e.index(), mask, code));
      in.out = out = fresh(DType::I64);
      code.push_back(std::move(in));
      break;
    }
    case ExprKind::Load: out = compile_load(e, mask, code); break;
    case ExprKind::Acc:
      check(accumulator >= 0, "stage {} uses its accumulator but does not reduce", stage_.name);
      out = accumulator;
      break;
    case ExprKind::Binary: {
      Instruction in{.kind = Kind::Binary, .op = static_cast<uint8_t>(e.binary())};
      in.a = compile(e.children()[0], mask, code);
      in.b = compile(e.children()[1], mask, code);
      in.out = out = fresh(type_of(e.dtype()));
      code.push_back(std::move(in));
      break;
    }
    case ExprKind::Unary:
    case ExprKind::Cast: {
      bool unary = e.kind() == ExprKind::Unary;
      Instruction in{.kind = unary ? Kind::Unary : Kind::Cast,
                     .op = unary ? static_cast<uint8_t>(e.unary()) : uint8_t{0}};
      in.a = compile(e.children()[0], mask, code);
      in.out = out = fresh(type_of(e.dtype()));
      code.push_back(std::move(in));
      break;
    }
    case ExprKind::Select: {
      int condition = compile(e.children()[0], mask, code);
      int arms[2];
      for (int arm = 0; arm < 2; ++arm) {
        Instruction in{.kind = Kind::MaskAnd, .invert = arm == 1};
        in.a = condition;
        in.b = mask;
        int arm_mask = in.out = fresh(DType::Bool);
        code.push_back(std::move(in));
        arms[arm] = compile(e.children()[arm + 1], arm_mask, code);
      }
      Instruction in{.kind = Kind::Select};
      in.a = condition;
      in.b = arms[0];
      in.c = arms[1];
      in.out = out = fresh(type_of(e.dtype()));
      code.push_back(std::move(in));
      break;
    }
    case ExprKind::Call:
      fail_unsupported("stage {} calls {}, which cannot be evaluated", stage_.name, e.callee());
  }
  done_[{e.get(), mask}] = out;
  return out;
}

void StageCode::set_block(std::span<const std::vector<int64_t>> axis_values, int lanes) {
  lanes_ = lanes;
  for (AffineSlot& s : slots_) {
    std::fill_n(s.base.begin(), lanes, s.form.c);
    for (size_t a = 0; a < stage_.axes.size(); ++a) {
      int64_t k = s.form.slope(stage_.axes[a].var);
      if (k == 0) continue;
      for (int i = 0; i < lanes; ++i) s.base[i] += k * axis_values[a][i];
    }
    auto [lo, hi] = std::minmax_element(s.base.begin(), s.base.begin() + lanes);
    s.lo = *lo;
    s.hi = *hi;
  }
}

void StageCode::set_reduce_point(std::span<const int64_t> values) {
  for (AffineSlot& s : slots_) {
    s.step = 0;
    for (const Term& t : s.form.terms) {
      for (size_t r = 0; r < stage_.raxes.size(); ++r) {
        if (stage_.raxes[r].var == t.var) s.step += t.k * values[r];
      }
    }
  }
}

int64_t StageCode::index_at(const IndexPlan& p, int lane) const {
  int64_t v = slots_[p.slot].base[lane] + slots_[p.slot].step;
  for (const AtomPlan& a : p.atoms) {
    int64_t x = slots_[a.slot].base[lane] + slots_[a.slot].step;
    if (a.value >= 0) x += registers_[a.value].i[lane];
    x = floor_div(x, a.div);
    if (a.mod) x = floor_mod(x, a.mod);
    v += a.scale * x;
  }
  return v;
}

void StageCode::run_affine(const Instruction& in) {
  Register& out = registers_[in.out];
  for (int i = 0; i < lanes_; ++i) out.i[i] = index_at(in.dims[0], i);
}

namespace {

template <class T, class Out, class Convert>
void gather_all(const Tensor& t, const AffineSlot& flat, std::vector<Out>& out, int n, Convert f) {
  const T* data = t.data<T>() + flat.step;
  const int64_t* base = flat.base.data();
  for (int i = 0; i < n; ++i) out[i] = f(data[base[i]]);
}

void gather_affine(const Tensor& t, const AffineSlot& flat, Register& out, int n) {
  auto as_int = [](auto v) { return static_cast<int64_t>(v); };
  switch (t.dtype) {
    case DType::Bool:
    case DType::U8: gather_all<uint8_t>(t, flat, out.i, n, as_int); break;
    case DType::I8: gather_all<int8_t>(t, flat, out.i, n, as_int); break;
    case DType::I16: gather_all<int16_t>(t, flat, out.i, n, as_int); break;
    case DType::U16: gather_all<uint16_t>(t, flat, out.i, n, as_int); break;
    case DType::I32: gather_all<int32_t>(t, flat, out.i, n, as_int); break;
    case DType::U32: gather_all<uint32_t>(t, flat, out.i, n, as_int); break;
    case DType::I64:
    case DType::U64: gather_all<int64_t>(t, flat, out.i, n, as_int); break;
    case DType::F16: gather_all<uint16_t>(t, flat, out.f, n, float_of_half); break;
    case DType::BF16: gather_all<uint16_t>(t, flat, out.f, n, float_of_bfloat); break;
    case DType::TF32:
    case DType::F32: gather_all<float>(t, flat, out.f, n, [](float v) { return v; }); break;
    case DType::F64: gather_all<double>(t, flat, out.d, n, [](double v) { return v; }); break;
  }
}

}  // namespace

void StageCode::run_load(const Instruction& in) {
  const Tensor& from = storage_[in.from];
  Register& out = registers_[in.out];
  check(from.size() > 0 && out.dtype == from.dtype, "stage {} loads {} before it is computed",
        stage_.name, group_[in.from].name);
  if (in.flat >= 0) {
    bool inside = true;
    for (size_t d = 0; d < in.dims.size() && inside; ++d) {
      const AffineSlot& s = slots_[in.dims[d].slot];
      inside = s.lo + s.step >= 0 && s.hi + s.step < in.extents[d];
    }
    if (inside) return gather_affine(from, slots_[in.flat], out, lanes_);
  }
  for (int i = 0; i < lanes_; ++i) {
    if (in.mask >= 0 && !registers_[in.mask].i[i]) {
      out.set(i, Scalar{.dtype = out.dtype});
      continue;
    }
    int64_t flat = 0;
    bool inside = true;
    for (size_t d = 0; d < in.dims.size(); ++d) {
      int64_t v = index_at(in.dims[d], i);
      if (v < 0 || v >= in.extents[d]) {
        check(in.a >= 0, "stage {} loads {} at {} of {} along axis {} and gives no fill",
              stage_.name, group_[in.from].name, v, in.extents[d], d);
        inside = false;
        break;
      }
      flat += v * in.strides[d];
    }
    out.set(i, inside ? from.get(flat) : registers_[in.a].get(i));
  }
}

void StageCode::run(const Code& code) {
  using Kind = Instruction::Kind;
  for (const Instruction& in : code) {
    Register& out = registers_[in.out];
    switch (in.kind) {
      case Kind::Affine: run_affine(in); break;
      case Kind::Load: run_load(in); break;
      case Kind::Binary:
        run_binary(static_cast<BinaryOp>(in.op), registers_[in.a], registers_[in.b], out, lanes_);
        break;
      case Kind::Unary:
        for (int i = 0; i < lanes_; ++i) {
          out.set(i, evaluate(static_cast<UnaryOp>(in.op), registers_[in.a].get(i)));
        }
        break;
      case Kind::Cast:
        for (int i = 0; i < lanes_; ++i) {
          out.set(i, evaluate_cast(out.dtype, registers_[in.a].get(i)));
        }
        break;
      case Kind::Select: {
        const std::vector<int64_t>& c = registers_[in.a].i;
        const Register &a = registers_[in.b], &b = registers_[in.c];
        if (out.dtype == DType::F64) pick(c, a.d, b.d, out.d, lanes_);
        else if (is_float(out.dtype)) pick(c, a.f, b.f, out.f, lanes_);
        else pick(c, a.i, b.i, out.i, lanes_);
        break;
      }
      case Kind::MaskAnd:
        for (int i = 0; i < lanes_; ++i) {
          bool wanted = (registers_[in.a].i[i] != 0) != in.invert;
          out.i[i] = wanted && (in.b < 0 || registers_[in.b].i[i]);
        }
        break;
    }
  }
}

void StageCode::reset_accumulator() {
  Register& acc = registers_[accumulator];
  for (int i = 0; i < lanes_; ++i) {
    acc.set(i, init_register >= 0 ? registers_[init_register].get(i) : neutral_);
  }
}

void StageCode::combine_body() {
  Register& acc = registers_[accumulator];
  run_binary(operation(stage_.op), acc, registers_[body_register], acc, lanes_);
}

}  // namespace burnish::te
