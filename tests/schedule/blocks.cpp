#include "blocks.h"

namespace burnish::schedule_test {

constexpr DType F = DType::F32;

namespace {

// Stage `s` of two axes filled by all threads: rows x (columns / vector).
void fill_together(Schedule& s, const std::string& stage, const std::string& row, const std::string& column, int64_t threads,
                   int64_t columns, int64_t vector) {
  const int64_t across = columns / vector;
  auto [co, ci] = s.split(stage, column, vector);
  auto [ro, ri] = s.split(stage, row, std::max<int64_t>(1, threads / across));
  s.reorder(stage, {ro, ri, co, ci});
  s.bind(stage, ri);
  s.bind(stage, co);
  if (vector > 1) s.vectorize(stage, ci);
}

// C = max(A * B + b, 0); `rounded`: of factors that were rounded to tf32
StageGroup matmul(int64_t M, int64_t N, int64_t K, bool rounded = false) {
  GroupBuilder b("matmul");
  StageId a = b.input("A", F, {{"m", M}, {"k", K}}), w = b.constant("B", F, {{"k", K}, {"n", N}});
  StageId bias = b.constant("b", F, {{"n", N}});
  const StageId acc = b.reduce("C.acc", F, {{"m", M}, {"n", N}}, {{"k", K}}, Combine::Sum,
                               [&](AxisVars x, AxisVars r) {
                                 const auto factor = [&](const Expr& e) { return rounded ? cast(F, cast(DType::TF32, e)) : e; };
                                 return factor(b.at(a, {x[0], r[0]})) * factor(b.at(w, {r[0], x[1]}));
                               });
  b.output(b.compute("C", F, {{"m", M}, {"n", N}},
                     [&](AxisVars x) { return max(b.at(acc, {x[0], x[1]}) + b.at(bias, {x[1]}), constant(0)); }));
  return b.group();
}

}  // namespace

Case block_matmul(int64_t M, int64_t N, int64_t K, const BlockTile& t) {
  Case c(matmul(M, N, K));
  Schedule& s = c.schedule;
  const int64_t threads = t.rows / t.thread_rows * (t.columns / t.thread_columns);
  {
    auto [mo, mi] = s.split("C", "m", t.rows);
    auto [no, ni] = s.split("C", "n", t.columns);
    auto [mt, mr] = s.split("C", mi, t.thread_rows);
    auto [nt, nr] = s.split("C", ni, t.thread_columns);
    s.reorder("C", {mo, no, mt, nt, mr, nr});
    const std::string block = s.fuse("C", mo, no);
    s.parallel("C", block);
    s.bind("C", mt);
    s.bind("C", nt);
    s.unroll("C", mr);
    s.unroll("C", nr);
    s.compute_at("C.acc", "C", block);
  }
  s.set_scope("C.acc", Scope::Register);
  s.guard_halo("C.acc");
  auto [mt, mr] = s.split("C.acc", "m", t.thread_rows);
  auto [nt, nr] = s.split("C.acc", "n", t.thread_columns);
  auto [ko, ki] = s.split("C.acc", "k", t.depth, Tail::Tail);
  s.reorder("C.acc", {ko, mt, nt, ki, mr, nr});
  s.bind("C.acc", mt);
  s.bind("C.acc", nt);
  for (const std::string& l : {ki, mr, nr}) s.unroll("C.acc", l);
  if (t.rounded) c.oracle = matmul(M, N, K, true);
  const auto cached = [&](const char* x) { return t.rounded ? s.cache_read(x, "C.acc", DType::TF32) : s.cache_read(x); };
  const std::string as = cached("A"), bs = cached("B");
  for (const std::string& x : {as, bs}) {
    if (t.rounded) s.swizzle(x, 32);
    s.compute_at(x, "C.acc", ko);
    s.guard_halo(x);
    if (t.slots > 1) s.multi_buffer(x, t.slots);
  }
  const bool by_four = K % 4 == 0 && N % 4 == 0;
  fill_together(s, as, "m", "k", threads, t.depth, by_four ? t.vector : 1);
  fill_together(s, bs, "k", "n", threads, t.columns, by_four ? t.vector : 1);
  return c;
}

Case tensor_matmul(int64_t M, int64_t N, int64_t K, int64_t depth) {
  Case c(matmul(M, N, K));
  Schedule& s = c.schedule;
  // Two warps a block, each of 32 rows by 16 columns: two tiles each way, four rows by four columns a thread.
  std::string block;
  for (const char* stage : {"C", "C.acc"}) {
    const bool out = std::string(stage) == "C";
    auto [mo, mi] = out ? s.split(stage, "m", 64) : std::pair<std::string, std::string>{"", "m"};
    auto [no, ni] = out ? s.split(stage, "n", 16) : std::pair<std::string, std::string>{"", "n"};
    auto [warp, mw] = s.split(stage, mi, 32);
    auto [g, m4] = s.split(stage, mw, 4);
    auto [tile, i] = s.split(stage, m4, 2);
    auto [t, n4] = s.split(stage, ni, 4);
    auto [nt, j] = s.split(stage, n4, 2);
    std::vector<std::string> order;
    if (out) order = {mo, no};
    order.insert(order.end(), {warp, g, t});
    if (!out) {
      auto [ko, ki] = s.split(stage, "k", depth);
      order.insert(order.end(), {ko, ki});
      s.tensorize(stage, ki);
    }
    order.insert(order.end(), {tile, nt, i, j});
    s.reorder(stage, order);
    for (const std::string& l : {warp, g, t}) s.bind(stage, l);
    for (const std::string& l : {tile, nt, i, j}) s.unroll(stage, l);
    if (!out) continue;
    block = s.fuse(stage, mo, no);
    s.parallel(stage, block);
    s.compute_at("C.acc", stage, block);
  }
  s.set_scope("C.acc", Scope::Register);
  s.guard_halo("C.acc");
  return c;
}

Case block_chain(int64_t H, int64_t W, int64_t C, int64_t E, int64_t stride) {
  GroupBuilder b("chain");
  const int64_t rows = (H - 1) / stride + 1, columns = (W - 1) / stride + 1;
  StageId x = b.input("X", F, {{"y", H}, {"x", W}, {"c", C}});
  StageId we = b.constant("We", F, {{"k", C}, {"c", E}}), be = b.constant("be", F, {{"c", E}});
  StageId wd = b.constant("Wd", F, {{"ky", 3}, {"kx", 3}, {"c", E}});
  StageId wp = b.constant("Wp", F, {{"k", E}, {"c", C}});
  StageId ea = b.reduce("E.acc", F, {{"y", H}, {"x", W}, {"c", E}}, {{"k", C}}, Combine::Sum,
                        [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], a[1], r[0]}) * b.at(we, {r[0], a[2]}); });
  StageId e = b.compute("E", F, {{"y", H}, {"x", W}, {"c", E}},
                        [&](AxisVars a) { return max(b.at(ea, {a[0], a[1], a[2]}) + b.at(be, {a[2]}), constant(0)); });
  StageId da = b.reduce("D.acc", F, {{"y", rows}, {"x", columns}, {"c", E}}, {{"ky", 3}, {"kx", 3}}, Combine::Sum,
                        [&](AxisVars a, AxisVars r) {
                          return b.at(e, {a[0] * stride + r[0] - Aff(1), a[1] * stride + r[1] - Aff(1), a[2]}, constant(0)) *
                                 b.at(wd, {r[0], r[1], a[2]});
                        });
  StageId d = b.compute("D", F, {{"y", rows}, {"x", columns}, {"c", E}},
                        [&](AxisVars a) { return max(b.at(da, {a[0], a[1], a[2]}), constant(0)); });
  StageId oa = b.reduce("O.acc", F, {{"y", rows}, {"x", columns}, {"c", C}}, {{"k", E}}, Combine::Sum,
                        [&](AxisVars a, AxisVars r) { return b.at(d, {a[0], a[1], r[0]}) * b.at(wp, {r[0], a[2]}); });
  b.output(b.compute("O", F, {{"y", rows}, {"x", columns}, {"c", C}},
                     [&](AxisVars a) { return b.at(oa, {a[0], a[1], a[2]}); }));
  Case c(b.group());
  Schedule& s = c.schedule;
  // O: blocks of 4 x 8 pixels; a thread has 4 channels of a pixel.
  auto tile = [&](const std::string& stage, int64_t channels) {
    auto [xo, xi] = std::pair<std::string, std::string>{"y", "x"};
    auto [co, ci] = s.split(stage, "c", channels);
    s.reorder(stage, {xo, xi, co, ci});
    s.bind(stage, xo);
    s.bind(stage, xi);
    s.bind(stage, co);
    s.unroll(stage, ci);
  };
  auto [yo, yi] = s.split("O", "y", 4);
  auto [xo, xi] = s.split("O", "x", 8);
  auto [co, ci] = s.split("O", "c", 4);
  s.reorder("O", {yo, xo, yi, xi, co, ci});
  const std::string block = s.fuse("O", yo, xo);
  s.parallel("O", block);
  for (const std::string& l : {yi, xi, co}) s.bind("O", l);
  s.unroll("O", ci);
  s.compute_at("O.acc", "O", block);
  s.set_scope("O.acc", Scope::Register);
  s.guard_halo("O.acc");
  auto [ko, ki] = s.split("O.acc", "k", 8);
  auto [oc, oi] = s.split("O.acc", "c", 4);
  s.reorder("O.acc", {ko, "y", "x", oc, ki, oi});
  for (const std::string& l : {std::string("y"), std::string("x"), oc}) s.bind("O.acc", l);
  s.unroll("O.acc", oi);
  for (const char* stage : {"D", "D.acc", "E", "E.acc"}) {
    s.compute_at(stage, "O.acc", ko);
    s.guard_halo(stage);
  }
  for (const char* stage : {"D.acc", "E.acc"}) s.set_scope(stage, Scope::Register);
  tile("D", 4);
  tile("E", 4);
  {
    auto [co, ci] = s.split("D.acc", "c", 4);
    s.reorder("D.acc", {"y", "x", co, "ky", "kx", ci});
    for (const std::string& l : {std::string("y"), std::string("x"), co}) s.bind("D.acc", l);
    s.unroll("D.acc", ci);
  }
  {
    auto [co, ci] = s.split("E.acc", "c", 4);
    s.reorder("E.acc", {"y", "x", co, "k", ci});
    for (const std::string& l : {std::string("y"), std::string("x"), co}) s.bind("E.acc", l);
    s.unroll("E.acc", ci);
  }
  return c;
}

Case block_softmax(int64_t rows, int64_t length, int64_t threads) {
  GroupBuilder b("softmax");
  const StageId x = b.input("X", F, {{"i", rows}, {"j", length}});
  const StageId m = b.reduce("m", F, {{"i", rows}}, {{"j", length}}, Combine::Max,
                             [&](AxisVars a, AxisVars r) { return b.at(x, {a[0], r[0]}); });
  const StageId e = b.compute("e", F, {{"i", rows}, {"j", length}}, [&](AxisVars a) {
    return unary(UnaryOp::Exp, b.at(x, {a[0], a[1]}) - b.at(m, {a[0]}));
  });
  const StageId z = b.reduce("z", F, {{"i", rows}}, {{"j", length}}, Combine::Sum,
                             [&](AxisVars a, AxisVars r) { return b.at(e, {a[0], r[0]}); });
  b.output(b.compute("O", F, {{"i", rows}, {"j", length}},
                     [&](AxisVars a) { return b.at(e, {a[0], a[1]}) / b.at(z, {a[0]}); }));
  Case c(b.group());
  Schedule& s = c.schedule;
  auto columns = [&](const std::string& stage) {
    auto [jo, ji] = s.split(stage, "j", threads);
    s.bind(stage, ji);
    return jo;
  };
  columns("O");
  s.parallel("O", "i");
  for (const char* stage : {"m", "e", "z"}) s.compute_at(stage, "O", "i");
  columns("e");
  // Partial sums by thread, then all of them by the block's first.
  for (const char* stage : {"m", "z"}) {
    const std::string part = s.rfactor(stage, "j", threads, true);
    s.compute_at(part, "O", "i");
    const std::vector<std::string> loops = s.loops(part);
    for (const std::string& l : loops)
      if (l == "ji") s.bind(part, l);
    const std::string rest = std::string(stage) + ".rest";
    if (s.group().named(rest)) s.compute_at(rest, "O", "i");
  }
  return c;
}

}  // namespace burnish::schedule_test
