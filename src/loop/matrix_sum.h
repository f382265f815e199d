// What a tensor loop computes: a sum of products of a 16 x depth and a depth x 8 matrix, by one warp. Its threads are those
// of the two innermost thread loops around, of 8 and 4 iterations: thread (g, t) holds the sums of rows i = 0, 1 of
// eight pairs and of columns j = 0, 1 of four, whatever axes those loops stand for.
//
//   thread for g in 0..8
//     thread for t in 0..4
//       tensor for k in 0..8 * n
//         unroll ...                    // tiles, which share operands
//           unroll for i in 0..2
//             unroll for j in 0..2
//               unroll ...              // more tiles
//                 C[...] = C[...] + A(g, i, k) * B(t, j, k)
//
// Sums may be read by other threads of the warp (Scope::Warp): as an operand of what follows.
//
// Depth may be two loops, of which each thread of four has one iteration of the outer one, and any number of steps:
//
//       tensor for k in 0..4
//         unroll for e in 0..2 * n
//           unroll ...
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "loop/program.h"

namespace burnish {

inline constexpr int64_t kMatrixGroups = 8, kMatrixLanes = 4, kMatrixPairs = 2, kMatrixDepth = 8;

struct MatrixSum {
  std::vector<ForStmt> tiles;                     // the other unrolled loops, outermost first
  VarId group = 0, lane = 0, row = 0, column = 0; // g, t, i, j
  ForStmt depth;
  std::optional<ForStmt> elements;                // the second loop of depth
  // Values of an operand that a thread has of each row.
  int64_t values() const { return elements ? elements->extent : depth.extent / kMatrixLanes; }
  BufferId sums = 0;
  Index place;
  Expr a, b;
};

// `threads`: the thread loops around, outermost first. Says what does not fit.
Result<MatrixSum> matrix_sum(const Function& f, const Stmt& tensor_loop, std::span<const ForStmt> threads);

// Does the value, or the place, depend on the variable?
bool depends_on(const Expr& e, VarId v);
bool depends_on(const Index& i, VarId v);

// Calls f(loop, thread loops around it, the outermost first) for every tensor loop.
void visit_tensor_loops(const Stmt& s, const std::function<void(const Stmt&, std::span<const ForStmt>)>& f);

// Of all tensor loops of the function the first that does not fit.
Result<> check_matrix_sums(const Function& f);

}  // namespace burnish
