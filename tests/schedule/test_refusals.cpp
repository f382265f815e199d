// What is refused, when it is recorded or when it is lowered, and the reason that is given.
#include "support.h"

namespace burnish::schedule_test {
namespace {

constexpr DType F = DType::F32;

Schedule small() {
  GroupBuilder b("small");
  StageId x = b.input("X", F, {{"i", 8}, {"j", 8}});
  StageId a = b.compute("A", F, {{"i", 8}, {"j", 8}},
                        [&](AxisVars v) { return max(b.at(x, {v[0], v[1]}), constant(0.0, F)); });
  StageId s = b.reduce("S", F, {{"i", 8}}, {{"j", 8}}, Combine::Sum,
                       [&](AxisVars v, AxisVars r) { return b.at(a, {v[0], r[0]}); });
  b.output(b.compute("B", F, {{"i", 8}, {"j", 8}},
                     [&](AxisVars v) { return b.at(a, {v[0], v[1]}) + b.at(s, {v[0]}); }));
  return Schedule(b.group());
}

TEST(Refused, Steps) {
  auto refused = [](const char* step, const char* part, const char* before = "") {
    Schedule s = small();
    ASSERT_TRUE(s.replay(before).ok());
    std::string trace = s.to_text();
    expect_refused(s.apply(parse_step(step)), part);
    EXPECT_EQ(s.to_text(), trace);
  };
  refused("split(Q, i, 4)", "no stage Q");
  refused("split(X, i, 4)", "X is an input");
  refused("split(B, k, 4)", "has no loop k; its loops are i, j");
  refused("split(B, i, 0)", "factors are positive");
  refused("split(B, i.o, 2)", "outside in", "split(B, i, 4)");
  refused("split(S, i, 3, overlap)", "add twice");
  refused("split(B, i, 2)", "split it first", "vectorize(B, i)");
  refused("reorder(B, i.i, i.o)", "before outer", "split(B, i, 4)");
  refused("reorder(B, i, i)", "named twice");
  refused("parallel(S, j)", "rfactor it first");
  refused("vectorize(S, j)", "rfactor it first");
  refused("fuse(B, j, i)", "does not follow");
  refused("fuse(S, i, j)", "cannot be fused");
  refused("split_parts(B, i.i, 2)", "whole axis", "split(B, i, 4)");
  refused("partition(B, i, 8)", "cannot be cut at 8");
  refused("partition(B, i, 4, 2)", "must rise");
  refused("partition(B, i.o, 1)", "partition before splitting", "split(B, i, 4)");
  refused("compute_at(B, S, i)", "is an output");
  refused("compute_at(S, S, i)", "inside its own loop");
  refused("compute_at(A, S, i)", "itself computed inside", "compute_at(S, A, i)");
  refused("inline(S)", "is a reduction");
  refused("inline(B)", "is an output");
  refused("cache_write(B)", "before changing its loops", "split(B, i, 4)");
  refused("absorb_addend(A)", "is no plain sum");
  refused("absorb_addend(S)", "is not known before it");
  refused("narrow(S, 9)", "no sums of products of f16");
  refused("narrow(A, 9)", "no sums of products of f16");
  refused("narrow(S, 0)", "by sums of 0 products");
  refused("cache_read(X, B)", "B does not read X");
  refused("cache_read(X, Q)", "no stage Q");
  refused("cache_read(X, A, i32)", "only floats are copied as another type");
  refused("join_axes(B, i, q)", "has no two axes i and q");
  refused("join_axes(B, i, j)", "B reads S along one of them");
  refused("join_axes(A, i, j)", "S reads A");
  refused("swizzle(B, 64)", "is an output");
  refused("swizzle(A, 48)", "not 32, 64 or 128");
  refused("bind(B, i, 2000)", "a block has 1024 at most");
  refused("flatten(S, 7)", "is no product of loads");
  refused("flatten(S, 0)", "multiple of 0");
  refused("flatten(S, 1, 4)", "none is left to stay apart");
  refused("flatten(S, 4, 1, k)", "has no reduce axis k");
  refused("rfactor(S, i, 4)", "not a reduce axis");
  refused("rfactor(S, j, 4, lanes, 7)", "is not made of lanes");
  refused("rfactor(S, j, 4)", "before changing its loops", "split(S, j, 4)");
  refused("merge_epilogue(A)", "no reduction");
  refused("merge_epilogue(S)", "does not have the form");
  refused("guard_init(A)", "no reduction");
  refused("guard_halo(B)", "is an output");
  refused("pack(A, 0/4, 1, 0%2)", "overlap or leave a gap");
  refused("prefetch(A, 64)", "is computed here");
  refused("pack(A, 0)", "holds 0 of the 8");
  refused("pack(A, 0, 1, 5)", "names axis 5");
  refused("fold_storage(A, q)", "no axis q");
  refused("fold_storage(B, i)", "is an output");
  refused("set_scope(B, register)", "is an output");
}

TEST(Refused, TextThatIsNoStep) {
  for (const char* text : {"split", "split(", "cache_read(A, B, S)", "splat(A, i)", "split(A)", "split(A, i, x)",
                           "split(A, i, 4, sideways)", "unroll(A, i, j)", "pack(A, 1/0)",
                           "set_scope(A, moon)", "rfactor(S, j, 4, rest)", "split(A, i, 99999999999999999999)"})
    EXPECT_THROW((void)parse_step(text), UserError) << text;
}

TEST(Refused, TheFirstRefusalSticks) {
  Schedule s = small();
  s.split("B", "q", 4);
  s.split("B", "i", 4);
  ASSERT_TRUE(s.failure());
  EXPECT_NE(s.failure()->text.find("has no loop q"), std::string::npos);
  EXPECT_TRUE(s.trace().empty());
  expect_lowering_refused(s, "has no loop q");
}

TEST(Refused, WhenLowered) {
  auto chain = [] { return chain::schedule(chain::group({17, 19, 24, 48, 24, 1}), {}); };
  auto refused = [&](auto change, const char* part) {
    Schedule s = chain();
    change(s);
    expect_lowering_refused(s, part);
  };
  refused([](Schedule& s) { s.fold_storage("E", "y", 3); },
          "E.y folded to 3, but 4 are alive at once");
  refused([](Schedule& s) { s.store_root("E"); }, "stored outside parallel loop");
  refused([](Schedule& s) { s.store_at("E", "O", "y.i.i"); }, "does not enclose");
  refused([](Schedule& s) { s.pack("O", {{2}, {0}, {1}}); }, "with stride");
  refused([](Schedule& s) { s.compute_at("D", "E", "y"); },
          "its consumer O.acc is outside that loop");
  {  // registers indexed by a loop that stays
    StageGroup g = chain::group({17, 19, 24, 48, 24, 1});
    std::string trace;
    Schedule whole = chain();
    for (const ScheduleStep& step : whole.trace())
      if (to_text(step) != "unroll(O, x.i)") trace += to_text(step) + "\n";
    Schedule s(g);
    ASSERT_TRUE(s.replay(trace).ok());
    expect_lowering_refused(s, "unroll those loops");
  }
  {
    Schedule s = small();
    s.vectorize("B", "i");
    expect_lowering_refused(s, "vectorized but not innermost");
  }
  {
    Schedule s = small();
    s.vectorize("B", "j", true);
    expect_lowering_refused(s, "load apart, which threads alone can");
  }
  {
    Schedule s = small();
    s.parallel("B", "j");
    expect_lowering_refused(s, "only an outermost loop can be parallel");
  }
  {
    Schedule s = small();
    s.split("B", "i", 3, Tail::Exact);
    expect_lowering_refused(s, "3 does not divide 8");
  }
  {
    Schedule s = small();
    s.compute_at("A", "B", "i");
    expect_lowering_refused(s, "its consumer S is outside that loop");
  }
  {
    Schedule s = small();
    s.parallel("B", "i");
    s.compute_at("S", "B", "i");
    s.bind("S", "j");
    expect_lowering_refused(s, "a reduction loop bound to threads");
    s.set_scope("S", Scope::Register);
    expect_lowering_refused(s, "summed by threads but lives outside thread loops");
  }
  {
    Schedule s = small();
    s.compute_at("S", "B", "i");
    s.split("B", "i", 4);
    expect_lowering_refused(s, "no longer exists");
  }
}

}  // namespace
}  // namespace burnish::schedule_test
