// How what a chain expands lies in the block's memory: its columns apart by as much as lets a
// warp's accesses meet the fewest banks twice.
#include <algorithm>
#include <array>
#include <optional>

#include "loop/matrix_sum.h"
#include "target/cuda/chain.h"

namespace burnish::cuda_target {

namespace {

// Turns that the memory takes for one access of a warp: `at`: the byte of a thread, of which it has
// `width`.
template <class At> double turns(const At& at, int64_t width) {
  const int together = width >= 16  ? 8
                       : width >= 8 ? 16
                                    : 32,
            own = width >= 16  ? 4
                  : width >= 8 ? 2
                               : 1;  // 32 words
  double all = 0;
  for (int first = 0; first < 32; first += together) {
    std::array<std::array<int64_t, 32>, 32> words;  // by bank
    std::array<size_t, 32> of_bank = {};
    size_t most = 0;
    for (int i = 0; i < 32; ++i) {
      const int64_t word = at(first + i / own) / 4 + i % own;
      auto& bank = words[static_cast<size_t>(word % 32)];
      size_t& n = of_bank[static_cast<size_t>(word % 32)];
      if (std::find(bank.begin(), bank.begin() + static_cast<ptrdiff_t>(n), word) ==
          bank.begin() + static_cast<ptrdiff_t>(n))
        bank[n++] = word;
      most = std::max(most, n);
    }
    all += static_cast<double>(most);
  }
  return all;
}

}  // namespace

int64_t bank_padding(int64_t size, int64_t depth, DType t, int64_t apart) {
  if (depth % apart || banks_of(t) % apart) apart = 1;
  const int64_t start = depth / apart, banks = banks_of(t) / apart;
  return std::min(floor_mod(start - size, banks), floor_mod(-start - size, banks));  // onwards or back
}

Banks banks_for(const Chain& chain, const ChainTile& c, DType type, int64_t project_depth) {
  const int64_t size = size_of(type), vector = vector_of(type), vectors = c.chunk / vector;
  const bool expand = chain.expand.has_value(), project = chain.project.has_value();
  const int64_t wide = chain.region(c.columns);
  const int64_t across = expand ? c.chunk / 8 / c.expand_n : 0,
                width = stored_at_once(across, type), own = project_depth / kMatrixLanes;
  const int64_t rows = c.high(), apart = chain.stride * c.rows;
  // Accesses of all warps: that store what is expanded, and that read windows of it.
  const double stores = static_cast<double>(chain.region(rows) * wide * c.chunk / (32 * width));
  const double reads =
      static_cast<double>(rows * c.columns * vectors * chain.window * chain.window) / 64;
  std::optional<Banks> best;
  double fewest = 0;
  const int64_t most = expand ? std::min<int64_t>(4, c.chunk / 4 / vector) : 0;
  for (int64_t pads = 0; pads <= most; ++pads) {
    Banks b{.pad = pads * vector};
    const int64_t column = c.chunk + b.pad,
                  row = wide * column +
                        bank_padding(wide * column, project_depth, type, apart);
    if (expand)
      b.store =
          turns([&](int t) { return size * (t / 4 * column + t % 4 * 2 * across); }, size * width);
    b.window =
        project ? turns([&](int t) { return size * (t / 4 * apart * row + t % 4 * own); },
                        size * own)
                : turns(
                      [&](int t) {
                        return size * (t / vectors * chain.stride * column + t % vectors * vector);
                      },
                      16);
    const double all = stores * b.store + reads * b.window;
    if (!best || all < fewest) best = b, fewest = all;
    const auto ideal = [](int64_t bytes) {
      return static_cast<double>(ceil_div(32 * bytes, int64_t{128}));
    };
    if (b.store <= ideal(size * width) && (project || b.window <= ideal(16))) break;
  }
  return *best;
}

}  // namespace burnish::cuda_target
