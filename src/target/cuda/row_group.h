// Private to the folder: groups whose stages are rows and sums of rows (softmax, layer norm).
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "te/stage.h"

namespace burnish::cuda_target {

// Classes of axes that are none of the output's: along the row, of one point.
inline constexpr int kRow = -1, kUnit = -2;

// What the axes of a group's stages are: axes of the output, that along the row, or of one point.
struct RowGroup {
  StageId out = 0;
  int64_t length = 0;                        // of a row
  std::optional<uint32_t> along{};           // the output's axis, where it has rows
  std::map<StageId, std::vector<int>> axes;  // of each computed stage: numbers of the output's axes, kRow, kUnit
  bool is_full(StageId s) const { return std::ranges::count(axes.at(s), kRow) > 0; }
};

// `along`: the output's axis along rows; none where it has one point a row. `contiguous`: rows of inputs have to be.
std::optional<RowGroup> row_group(const StageGroup& g, std::optional<uint32_t> along, bool contiguous = true);

// Classes of the axes of what a load reads, by those of its reader; none where they are not the reader's own.
std::optional<std::vector<int>> classes_of(const Stage& reader, const std::vector<int>& axes, const Expr& load, const Stage& read);

}  // namespace burnish::cuda_target
