// Thread loops that sum. Where the iterations of the innermost thread loop combine something with one register, the
// values of its threads are combined with one another, by shuffles, and each of these threads has the result:
//
//   thread ...                          // around the register's life
//     thread for l in 0..n              // a power of two, 32 at most
//       unroll ...
//         S[p] = S[p] (+) value         // p does not move with l
#pragma once

#include <vector>

#include "base/error.h"
#include "loop/program.h"

namespace burnish {

inline constexpr int64_t kWarp = 32;

struct ThreadSum {
  std::vector<ForStmt> unrolled;  // loops around the store, outermost first
  BufferId sum = 0;
  Index place;
  BinaryOp op = BinaryOp::Add;
  Expr value;
};

// Does the thread loop sum? So it does if its threads write to one register.
bool sums_threads(const Function& f, const Stmt& thread_loop);
// What it sums, or what does not fit. Of the place of its alloc nothing is known here.
Result<ThreadSum> thread_sum(const Function& f, const Stmt& thread_loop);

// Of all thread loops of the function that sum the first that does not fit.
Result<> check_thread_sums(const Function& f);

}  // namespace burnish
