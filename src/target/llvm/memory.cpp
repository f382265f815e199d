// Loads and stores: of lanes, under guards, of registers.
#include <algorithm>

#include "target/llvm/codegen.h"
#include "target/llvm/keys.h"

namespace burnish::llvm_target {

bool Codegen::in_registers(BufferId buffer) const {
  return f_.buffers[buffer].scope == Scope::Register && !demoted_.count(buffer);
}

llvm::Value* Codegen::base_of(BufferId buffer) {
  llvm::Value* v = bases_[buffer];
  check(v, "{}: buffer {} is used outside of its allocation", where(), f_.buffers[buffer].name);
  return v;
}

llvm::Type* Codegen::memory_type(DType t, bool lanes) {
  llvm::Type* element = is_float(t) && size_of(t) == 2 ? b().getInt16Ty()
                        : t == DType::F32 || t == DType::TF32 ? b().getFloatTy()
                        : t == DType::F64              ? b().getDoubleTy()
                                                       : b().getIntNTy(unsigned(size_of(t)) * 8);
  return lanes ? llvm::FixedVectorType::get(element, lanes_) : element;
}

llvm::Type* Codegen::value_type(DType t, bool lanes) {
  llvm::Type* element = t == DType::Bool                  ? b().getInt1Ty()
                        : t == DType::F64                 ? b().getDoubleTy()
                        : is_float(t)                     ? b().getFloatTy()
                                                          : b().getIntNTy(unsigned(size_of(t)) * 8);
  return lanes ? llvm::FixedVectorType::get(element, lanes_) : element;
}

llvm::Value* Codegen::from_memory(DType t, llvm::Value* v) {
  if (t == DType::Bool) return b().CreateICmpNE(v, llvm::Constant::getNullValue(v->getType()));
  if (t == DType::F16) return math_.half_to_float(v);
  if (t == DType::BF16) return math_.bfloat_to_float(v);
  return v;
}

llvm::Value* Codegen::to_memory(DType t, llvm::Value* v) {
  if (t == DType::Bool) {
    llvm::Type* bytes = b().getInt8Ty();
    if (auto* vec = llvm::dyn_cast<llvm::FixedVectorType>(v->getType())) {
      bytes = llvm::FixedVectorType::get(bytes, vec->getNumElements());
    }
    return b().CreateZExt(v, bytes);
  }
  if (t == DType::F16) return math_.float_to_half(v);
  if (t == DType::BF16) return math_.float_to_bfloat(v);
  if (t == DType::TF32) return math_.float_to_tf32(v);
  return v;
}

// Distinct buffers do not overlap: loads may move across stores to other buffers.
void Codegen::annotate(llvm::Instruction* i, BufferId buffer) {
  i->setMetadata(llvm::LLVMContext::MD_alias_scope, scope_lists_[buffer]);
  i->setMetadata(llvm::LLVMContext::MD_noalias, noalias_lists_[buffer]);
}

// The variable of an element or a vector of a register buffer.
llvm::AllocaInst* Codegen::slot(BufferId buffer, const Index& flat, bool* lanes) {
  Position p = position(flat, {});
  const Buffer& buf = f_.buffers[buffer];
  if (!p.parts.empty() || p.scattered || (p.lane != 0 && p.lane != 1)) throw NotPromotable{buffer};
  *lanes = p.lane == 1;
  int width = *lanes ? lanes_ : 1;
  check(p.c >= 0 && p.c + width <= buf.size, "{}: register buffer {} of {} elements is accessed at {} .. {}", where(),
        buf.name, buf.size, p.c, p.c + width);
  int tag = *lanes ? lanes_ : 0;
  auto [it, is_new] = slots_.try_emplace({buffer, p.c}, Slot{nullptr, tag});
  if (!is_new) {
    if (it->second.lanes != tag) throw NotPromotable{buffer};
    return it->second.alloca;
  }
  for (int64_t e = p.c; e < p.c + width; ++e) {
    if (!slot_of_element_.emplace(std::pair{buffer, e}, p.c).second) throw NotPromotable{buffer};
  }
  llvm::IRBuilder<> entry(entry_end_);
  it->second.alloca = entry.CreateAlloca(value_type(buf.dtype, *lanes), nullptr, buf.name);
  promoted_.push_back(it->second.alloca);
  ++live_registers_;
  return it->second.alloca;
}

llvm::Value* Codegen::load_at(BufferId buffer, const Address& a, bool lanes, const Guard& g, const Expr* fill) {
  DType t = f_.buffers[buffer].dtype;
  llvm::Type* type = memory_type(t, lanes);
  llvm::Align align{uint64_t(size_of(t))};
  llvm::Instruction* load;
  if (lanes && g.mask) {
    llvm::Value* rest = llvm::Constant::getNullValue(type);
    if (fill) rest = splat(to_memory(t, gen_const(*fill).v));
    load = b().CreateMaskedLoad(type, pointer(a), align, g.mask, rest);
  } else {
    load = b().CreateAlignedLoad(type, pointer(a), align);
  }
  annotate(load, buffer);
  return from_memory(t, load);
}

// a[k*lane + u] inside an unrolled loop over u: the square of all lanes and iterations is loaded row by row, as vectors
// along u, and transposed in registers: block by block, s x s elements off the diagonal change places.
std::optional<Val> Codegen::load_transposed(BufferId buffer, const Index& flat, const Position& p) {
  const DType t = f_.buffers[buffer].dtype;
  if (!flat.is_affine() || t == DType::Bool || size_of(t) < 4) return {};
  const auto u = std::ranges::find_if(unrolled_, [&](const Unrolled& x) {
    return x.extent == lanes_ && flat.a.slope(x.var) == 1 && !x.written[buffer] && x.branches == branches_ &&
           x.levels == level_count();
  });
  if (u == unrolled_.end()) return {};
  const int n = lanes_;
  const VarId lane_var = lane_var_;
  const Binding lane = bindings_[lane_var], iteration = bindings_[u->var];
  // Rows are read whole, also what conditions of other iterations keep from being read.
  if (p.range.lo < iteration.constant || p.range.hi - iteration.constant + n - 1 >= f_.buffers[buffer].size) return {};
  Key key{buffer, key_of(p.c - iteration.constant), key_of(p.lane)};
  for (const Part& part : p.parts) key.insert(key.end(), {key_of(part.v), key_of(part.k)});
  std::vector<llvm::Value*>& square = u->squares[std::move(key)];
  if (square.empty()) {
    auto outer = std::move(done_);
    for (int l = 0; l < n; ++l) {
      bindings_[lane_var] = {.kind = Binding::Constant, .constant = lane.constant + l};
      square.push_back(in_lanes(u->var, 0, n, [&] { return with_lanes(gen_load(buffer, flat, {})); }));
    }
    bindings_[lane_var] = lane;
    bindings_[u->var] = iteration;
    done_ = std::move(outer);
    for (int s = 1; s < n; s *= 2) {
      std::vector<int> upper, lower;
      for (int l = 0; l < n; ++l) {
        upper.push_back(l & s ? n + l - s : l);
        lower.push_back(l & s ? n + l : l + s);
      }
      for (int i = 0; i < n; ++i) {
        if (i & s) continue;
        llvm::Value *x = square[i], *y = square[i + s];
        square[i] = b().CreateShuffleVector(x, y, upper);
        square[i + s] = b().CreateShuffleVector(x, y, lower);
      }
    }
  }
  return Val{square[iteration.constant], true};
}

// Lane by lane: strides other than 0 and 1, positions that are read from memory, guards that differ between lanes.
Val Codegen::load_lanes_singly(BufferId buffer, const Index& flat, const Guard& g, const Expr* fill) {
  llvm::Value* all = llvm::PoisonValue::get(value_type(f_.buffers[buffer].dtype, true));
  each_lane([&](int l) {
    Guard one = g;
    if (g.mask) {
      llvm::Value* bit = b().CreateExtractElement(g.mask, uint64_t(l));
      one.uniform = g.uniform ? b().CreateAnd(g.uniform, bit) : bit;
      one.depth = level_count();
      one.mask = nullptr;
    }
    all = b().CreateInsertElement(all, gen_load(buffer, flat, one, fill).v, uint64_t(l));
  });
  return {all, true};
}

// Instructions do not move over a label.
void Codegen::fence() {
  auto* name = llvm::MDNode::get(context_, llvm::MDString::get(context_, "fence"));
  b().CreateIntrinsic(llvm::Intrinsic::codeview_annotation, {}, {llvm::MetadataAsValue::get(context_, name)});
  ++fences_;
}

// A value that was loaded before, unless registers no longer hold it: the code of a large window would otherwise keep
// more values than there are registers, and store them on the stack where loading them anew is free (a multiply-add reads
// memory).
llvm::Value* Codegen::still_held(const Key& k) {
  auto it = memo_.find(k);
  if (it == memo_.end()) return nullptr;
  Memo& memo = it->second;
  if (memo.scope + 1 != scopes_.size()) return memo.v;
  if (std::find(fresh_.begin(), fresh_.end(), k) != fresh_.end()) {
    hold(k);
    return memo.v;
  }
  // Without a fence LLVM takes the two loads for one.
  if (memo.fences == fences_) fence();
  memo_.erase(it);
  return nullptr;
}

void Codegen::hold(const Key& k) {
  std::erase(fresh_, k);
  const int64_t hoisted = levels_.empty() ? 0 : levels_.back().hoisted;
  const int64_t room = std::max<int64_t>(3, isa_.registers - live_registers_ - hoisted);
  if (static_cast<int64_t>(fresh_.size()) + 1 > room) {
    // An element that was broadcast to a row of a tile goes first, the weights of all rows stay.
    const auto scalar = std::find_if(fresh_.begin(), fresh_.end(), [](const Key& x) { return x[3] == 0; });
    fresh_.erase(scalar == fresh_.end() ? fresh_.begin() : scalar);
  }
  fresh_.push_back(k);
}

Val Codegen::gen_load(BufferId buffer, const Index& flat, const Guard& g, const Expr* fill) {
  check(buffer < f_.buffers.size(), "{}: load from buffer {}, but there are {}", where(), buffer, f_.buffers.size());
  const Buffer& buf = f_.buffers[buffer];
  if (in_registers(buffer)) {
    bool lanes;
    llvm::AllocaInst* a = slot(buffer, flat, &lanes);
    return {b().CreateLoad(a->getAllocatedType(), a), lanes};
  }
  Position p = position(flat, g);
  if (p.scattered || (p.lane != 0 && p.lane != 1)) {
    if (!p.scattered && !g.uniform && !g.mask) {
      if (auto v = load_transposed(buffer, flat, p)) return *v;
    }
    return load_lanes_singly(buffer, flat, g, fill);
  }
  bool inside = p.range.lo >= 0 && p.range.hi < buf.size;
  bool lanes = p.lane == 1;
  Guard use = g;
  if (lanes && inside && !fill) use.mask = nullptr;
  if (!lanes && use.mask) {
    if (!inside || fill) return load_lanes_singly(buffer, flat, g, fill);
    use.mask = nullptr;
  }
  int64_t bytes = size_of(buf.dtype) * (lanes ? lanes_ : 1);
  Address a = address(buffer, p, use, bytes, fill);
  if (use.mask) return {load_at(buffer, a, lanes, use, fill), lanes};

  Key key{key_of(Made::Load), key_of(a.base), key_of(a.displacement), uint64_t(lanes ? lanes_ : 0), buffer};
  if (llvm::Value* v = still_held(key)) return {v, lanes};
  // Out of the innermost loop where it does not move there: weights of a depthwise filter stay in registers.
  size_t scope = scopes_.size() - 1;
  llvm::IRBuilderBase::InsertPointGuard back(builder_);
  if (!levels_.empty() && a.depth < level_count() && levels_.back().leaf) {
    Level& level = levels_.back();
    bool always = level.branches == branches_ || use.uniform || (p.plain.lo >= 0 && p.plain.hi < buf.size);
    int64_t room = std::min<int64_t>(12, isa_.registers - 4 - live_registers_);
    if (always && !level.written[buffer] && level.hoisted < room) {
      ++level.hoisted;
      scope = level.scope;
      b().SetInsertPoint(level.preheader);
    }
  }
  if (buf.prefetch && lanes && !levels_.empty() && levels_.back().leaf && a.depth == level_count()) {
    Address ahead = a;
    ahead.displacement += buf.prefetch;
    constexpr unsigned reading = 0, keep = 2, data = 1;
    b().CreateIntrinsic(llvm::Intrinsic::prefetch, {llvm::PointerType::get(context_, 0)},
                        {pointer(ahead), b().getInt32(reading), b().getInt32(keep), b().getInt32(data)});
  }
  llvm::Value* v = load_at(buffer, a, lanes, use, fill);
  if (scope + 1 == scopes_.size()) hold(key);
  remember(std::move(key), v, scope, buffer, true);
  return {v, lanes};
}

void Codegen::store(BufferId buffer, const Index& flat, Val value) {
  const Buffer& buf = f_.buffers[buffer];
  if (in_registers(buffer)) {
    bool lanes;
    llvm::AllocaInst* a = slot(buffer, flat, &lanes);
    b().CreateStore(lanes ? with_lanes(value) : value.v, a);
    return;
  }
  forget_loads(buffer);
  Position p = position(flat, {});
  auto put = [&](const Address& a, llvm::Value* v) {
    annotate(b().CreateAlignedStore(v, pointer(a), llvm::Align(uint64_t(size_of(buf.dtype)))), buffer);
  };
  if (!vector_ || (!p.scattered && p.lane == 1)) {
    llvm::Value* v = to_memory(buf.dtype, vector_ ? with_lanes(value) : value.v);
    put(address(buffer, p, {}, 0, nullptr), v);
    return;
  }
  llvm::Value* all = to_memory(buf.dtype, with_lanes(value));
  each_lane([&](int l) {
    put(address(buffer, position(flat, {}), {}, 0, nullptr), b().CreateExtractElement(all, uint64_t(l)));
  });
}

}  // namespace burnish::llvm_target
