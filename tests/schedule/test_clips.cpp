// Strips of a row of tiles, cut short at the end: whole tiles are not clipped, and those that are,
// are expanded under conditions where they read registers.
#include "support.h"

namespace burnish::schedule_test {
namespace {

constexpr DType F = DType::F32;

// out[y] = Z[y % 4, y / 4] + 1, four values of a tile in registers; strips of two tiles.
Case tiles(int64_t extent) {
  GroupBuilder b("tiles");
  const int64_t count = (extent + 3) / 4;
  StageId x = b.input("X", F, {{"y", 4 * count}, {"k", 8}});
  StageId z = b.compute("Z", F, {{"a", 4}, {"t", count}, {"k", 8}}, [&](AxisVars v) {
    return b.at(x, {v[1] * 4 + v[0], v[2]}) * constant(2.0, F);
  });
  Index in_tile, tile;
  b.output(b.compute("O", F, {{"y", extent}, {"k", 8}}, [&](AxisVars v) {
    in_tile.atoms = {{.a = v[0], .value = {}, .div = 1, .mod = 4, .scale = 1}};
    tile.atoms = {{.a = v[0], .value = {}, .div = 4, .mod = 0, .scale = 1}};
    return b.at(z, {in_tile, tile, v[1]}) + constant(1.0, F);
  }));
  Case c(b.group());
  Schedule& s = c.schedule;
  auto [strip, in_strip] = s.split("O", "y", 8, Tail::Guard);
  auto [t, a] = s.split("O", in_strip, 4, Tail::Guard);
  s.reorder("O", {strip, t, a, "k"});
  s.unroll("O", a);
  s.vectorize("O", "k");
  s.set_scope("Z", Scope::Register);
  s.compute_at("Z", "O", t);
  s.unroll("Z", "a");
  s.vectorize("Z", "k");
  s.parallel("O", strip);
  return c;
}

TEST(Clips, TilesInRegistersAtTheEnd) {
  for (int64_t extent : {4, 7, 8, 12, 13, 15, 20, 23, 24, 29}) {
    SCOPED_TRACE(extent);
    expect_same(tiles(extent), "tiles of " + std::to_string(extent));
  }
}

// 20 = 8 + 8 + 4: the last strip is short, but no tile is.
TEST(Clips, WholeTilesHaveOneSize) {
  const auto conditions = [](int64_t extent) {
    int64_t clipped = 0;
    visit(lowered(tiles(extent).schedule).body, [&](const Stmt& s) {
      clipped +=
          s.kind() == StmtKind::For && s->loop.kind == LoopKind::Unroll && !s->loop.upper.empty();
    });
    return clipped;
  };
  EXPECT_EQ(conditions(20), 0);
  EXPECT_EQ(conditions(24), 0);
  EXPECT_EQ(conditions(21), 1);
}

}  // namespace
}  // namespace burnish::schedule_test
