// A tensor as a formula. What is computed stands here and nothing about how: loops, places and storage are the
// schedule's (schedule/schedule.h).
//
//   out[axes] = finish( init (+) reduce over raxes of body )
//
// `finish` may use Acc (the reduced value) and loads at the same point. Without raxes: out[axes] = body.
// A load outside the producer's domain has the value `fill`: padding is a property of the access, not a stage.
// A stage with `scan` set may load itself at scan-1: a recurrence along that axis.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "expr/expr.h"

namespace burnish {

using StageId = uint32_t;

struct Axis {
  std::string name;  // unique within the stage: y, x, c, k
  VarId var;
  int64_t extent;
};

enum class Combine : uint8_t { None, Sum, Prod, Min, Max };
std::string_view name_of(Combine c);
Expr neutral(Combine c, DType t);          // 0, 1, +inf/max, -inf/lowest
Expr combine(Combine c, Expr a, Expr b);

// One physical dimension, outermost first: index = (logical[axis] / div) % mod, with mod 0: none; its extent is
// ceil(N / div) or mod, plus `pad` unused elements. An empty Layout is row-major in the order of the axes.
struct LayoutDim {
  uint32_t axis;
  int64_t div = 1, mod = 0, pad = 0;
  friend bool operator==(const LayoutDim&, const LayoutDim&) = default;
};
using Layout = std::vector<LayoutDim>;

struct PhysicalDim {
  LayoutDim dim;
  int64_t extent, stride;  // elements
};
// Extents and strides of a layout over a logical shape, outermost first.
std::vector<PhysicalDim> physical(const Layout& layout, const std::vector<int64_t>& shape);
// Elements from the first used one to the last: padding after it does not count.
int64_t physical_size(const Layout& layout, const std::vector<int64_t>& shape);

// Which elements a padded layout uses: [k * pitch, k * pitch + run) for every k. All of them: pitch 0.
struct Runs {
  int64_t run = 0, pitch = 0;
};
Runs runs_of(const Layout& layout, const std::vector<int64_t>& shape);

Layout permuted(const std::vector<uint32_t>& order);  // NHWC = permuted({0, 2, 3, 1})
std::string layout_text(const Layout& layout, const std::vector<std::string>& axis_names);

enum class StageKind : uint8_t { Input, Constant, Compute };

struct Stage {
  std::string name;  // operator and position in the group, never the model's names: records transfer
  StageKind kind = StageKind::Compute;
  DType dtype = DType::F32;
  std::vector<Axis> axes, raxes;
  Combine op = Combine::None;
  Expr body, init, finish;  // init null: the neutral element; finish null: Acc
  std::optional<uint32_t> scan;  // index into axes
  Layout layout;

  bool is_compute() const { return kind == StageKind::Compute; }
  bool is_reduction() const { return op != Combine::None; }
  std::vector<int64_t> shape() const;
  std::optional<uint32_t> axis_named(std::string_view axis) const;
};

// The stages of one fused group, producers before consumers. Loads name stages by their position.
struct StageGroup {
  std::string name;
  std::vector<Stage> stages;
  std::vector<StageId> inputs;   // Input and Constant stages in the order of the kernel's parameters
  std::vector<StageId> outputs;  // Compute stages, parameters after the inputs
  std::vector<std::string> vars; // names of variables, by VarId; for text only

  VarId fresh(std::string name);
  StageId add(Stage stage);
  Stage& operator[](StageId s) { return stages[s]; }
  const Stage& operator[](StageId s) const { return stages[s]; }
  std::optional<StageId> named(std::string_view name) const;
};

// Expressions of a stage that may contain loads: body, init, finish.
std::vector<Expr> expressions(const Stage& s);
// Stages that `s` loads, without repeats (itself too if it scans).
std::vector<StageId> producers(const StageGroup& g, StageId s);

std::string to_text(const StageGroup& g);
StageGroup parse_stages(std::string_view text);  // UserError with line number

// InternalError unless: names unique, loads name earlier stages (or itself along scan) with one index an axis, dtypes
// agree, extents positive, variables of an expression are axes of its stage.
void verify(const StageGroup& g);

}  // namespace burnish
