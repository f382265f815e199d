// Private to c_like: what matrix.cpp notes of a tensor loop.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "loop/matrix_sum.h"

namespace burnish::c_like {

// An operand whose values an iteration of the loop around loads for the next one.
struct Ahead {
  Expr value;
  bool rows = false;  // of A: two rows
  std::string name;   // of an array: [place][value]
  std::string place = {};
  int64_t size = 1;
  std::vector<ForStmt> loops = {};  // that it moves with
};

struct TensorLoop {
  MatrixSum sum;
  std::vector<ForStmt> around = {};  // unrolled loops between a pipeline's serial loop and this one
  std::optional<Ahead> ahead_a = {}, ahead_b = {};
  VarId half = 0, odd = 0;  // of the thread's column in B
  // A is loaded by tiles, and perhaps B. If not, halves of B are of the depth 8 * h + 2 * t + e, with h and e the loops `eights`, if
  // there are several, and sum.elements; floats of 4 * e + t.
  bool tiles = false, tiles_b = false;
  std::optional<ForStmt> eights = {};
  int64_t values() const { return sum.values() * (eights ? eights->extent : 1); }
  // The piece of a row whose place the thread has (Dialect::load_tiles): of A, and of B.
  VarId tile_row = 0, tile_lower = 0, tile_deep = 0, tile_half = 0, tile_odd = 0, tile_piece = 0;
};

inline constexpr int64_t kPiece = 16;  // bytes side by side, at a place aligned so

// A tensor loop as an instruction of four warps.
struct WarpgroupSum {
  MatrixSum sum;
  Expr a, b;                              // loads of swizzled buffers
  int64_t swizzle = 0;                    // bytes of their rows
  int64_t rows_a = 0, rows_b = 0;         // bytes from eight rows to the next
  std::optional<ForStmt> across = {};     // tiles of eight columns
  int64_t columns() const { return across ? across->extent : 1; }
};
inline constexpr int64_t kWarpsOfGroup = 4;

// Loops around such instructions alone.
struct WarpgroupLoops {
  std::set<VarId> variables;
  std::map<std::string, std::string> places;  // of operands in their first iterations, and the names of these
  std::set<std::string> sums;                 // as arguments
};

Expr operand_of_thread(const TensorLoop& t, const Expr& e, std::optional<int64_t> row);

}  // namespace burnish::c_like
