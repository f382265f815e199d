// Groups with random schedules, for what reads lowered functions: convolutions tiled in many ways,
// and others under the target's default.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <random>
#include <string>

#include "schedule/schedule.h"
#include "te/builder.h"

namespace burnish::search_test {

struct ConvShape {
  int64_t height, width, in, out, kernel = 1, stride = 1;
  bool depthwise = false;
};

inline StageGroup conv_group(const ConvShape& c) {
  const Layout nhwc = permuted({0, 2, 3, 1});
  GroupBuilder b("conv");
  const StageId x =
      b.input("x", DType::F32, {{"n", 1}, {"c", c.in}, {"y", c.height}, {"x", c.width}}, nhwc);
  const int64_t pad = c.kernel / 2;
  const std::vector<NamedExtent> axes = {{"n", 1},
                                         {"c", c.out},
                                         {"y", (c.height + 2 * pad - c.kernel) / c.stride + 1},
                                         {"x", (c.width + 2 * pad - c.kernel) / c.stride + 1}};
  std::vector<NamedExtent> raxes = {{"ky", c.kernel}, {"kx", c.kernel}};
  if (!c.depthwise) raxes.insert(raxes.begin(), {"k", c.in});
  const StageId w =
      b.constant("w", DType::F32,
                 {{"c", c.out}, {"k", c.depthwise ? 1 : c.in}, {"ky", c.kernel}, {"kx", c.kernel}});
  const StageId bias = b.constant("bias", DType::F32, {{"c", c.out}});
  const Expr fill = pad ? constant(0) : Expr{};
  const StageId acc =
      b.reduce("acc", DType::F32, axes, raxes, Combine::Sum, [&](AxisVars a, AxisVars r) {
        const size_t first = c.depthwise ? 0 : 1;
        const Aff k = c.depthwise ? Aff(a[1]) : Aff(r[0]), ky = r[first], kx = r[first + 1];
        return b.at(x, {a[0], k, a[2] * c.stride + ky - Aff(pad), a[3] * c.stride + kx - Aff(pad)},
                    fill) *
               b.at(w, {a[1], c.depthwise ? Aff(0) : Aff(r[0]), ky, kx});
      });
  const StageId out = b.compute("out", DType::F32, axes, [&](AxisVars a) {
    return max(b.at(acc, {a[0], a[1], a[2], a[3]}) + b.at(bias, {a[1]}), constant(0));
  });
  b[out].layout = nhwc;
  b.output(out);
  return b.group();
}

struct ConvTile {
  int64_t lanes = 16, vectors = 2, rows = 6, k_block = 0;
  bool panels_outside = false, packed = true, unroll_kx = true, parallel_panels = false;
};

inline ConvTile random_tile(std::mt19937_64& random) {
  auto pick = [&](std::initializer_list<int64_t> of) {
    return *(of.begin() + random() % of.size());
  };
  return {.lanes = pick({8, 16}),
          .vectors = pick({1, 2, 3, 4}),
          .rows = pick({1, 2, 3, 4, 5, 6, 7, 8, 12, 14}),
          .k_block = pick({0, 0, 4, 8, 16}),
          .panels_outside = random() % 2 == 0,
          .packed = random() % 4 != 0,
          .unroll_kx = random() % 2 == 0,
          .parallel_panels = random() % 4 == 0};
}

inline std::string trace_of(const ConvShape& c, const ConvTile& t) {
  const int64_t block = t.lanes * t.vectors;
  std::string s;
  auto line = [&]<class... A>(fmt::format_string<A...> text, A&&... args) {
    s += fmt::format(text, std::forward<A>(args)...) + "\n";
  };
  if (t.packed && !c.depthwise) line("pack(w, 0/{}, 2, 3, 1, 0%{})", block, block);
  if (c.depthwise) line("pack(w, 1, 2, 3, 0)");
  line("set_scope(acc, register)");
  line("pack(acc, 0, 2, 3, 1)");
  line("split(out, c, {}, tail)", block);
  line("split(out, c.i, {}, tail)", t.lanes);
  line("split(out, x, {}, balanced)", t.rows);
  line("reorder(out, n, {}, x.i, c.i.o, c.i.i)", t.panels_outside ? "c.o, y, x.o" : "y, x.o, c.o");
  line("unroll(out, x.i)");
  line("unroll(out, c.i.o)");
  line("vectorize(out, c.i.i)");
  line("compute_at(acc, out, {})", t.panels_outside ? "x.o" : "c.o");
  line("split(acc, c, {}, tail)", t.lanes);
  std::string k = c.depthwise ? "" : "k, ";
  if (t.k_block && !c.depthwise) {
    line("split(acc, k, {}, tail)", t.k_block);
    k = "k.o, k.i, ";
  }
  line("reorder(acc, n, y, ky, kx, {}x, c.o, c.i)", k);
  line("unroll(acc, x)");
  line("unroll(acc, c.o)");
  line("vectorize(acc, c.i)");
  if (t.unroll_kx) line("unroll(acc, kx)");
  line("parallel(out, {})", t.parallel_panels && t.panels_outside ? "c.o" : "y");
  return s;
}

// Nothing where the schedule is refused.
inline std::optional<Function> lowered(const StageGroup& g, const std::string& trace) {
  Schedule s(g);
  if (!s.replay(trace)) return std::nullopt;
  auto f = lower(s);
  if (!f) return std::nullopt;
  return std::move(*f);
}

}  // namespace burnish::search_test
