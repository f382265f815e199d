// What the parts of the verifier share. Private to src/loop.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "loop/program.h"
#include "loop/prover.h"

namespace burnish::loop {

// One load or store of a buffer that the threads of a parallel loop share, as seen from inside that
// loop.
struct SharedAccess {
  BufferId buffer;
  bool write;
  const StmtNode* stmt;
  Aff at;                  // over variables and stand-ins
  std::vector<Aff> facts;  // that hold there
  std::map<Prover::Id, Prover::Range> ranges;
  std::vector<Prover::AtomId> quotients;  // that vary within the loop
};

// Whether iterations p < p' never meet, `a` at p of the loop over `a_var` and `b` at p' of that
// over `b_var`. Ids in `outer` mean the same value in both iterations. (Two accesses in one loop,
// or in two loops, of one function or two, that have the same iterations.)
bool never_meet(const SharedAccess& a, VarId a_var, const SharedAccess& b, VarId b_var,
                const std::set<Prover::Id>& outer);

// A function that is one parallel loop over 0..extent: all accesses to its parameters.
struct SharedLoop {
  VarId var = 0;
  int64_t extent = 0;
  std::vector<SharedAccess> accesses;
};
std::optional<SharedLoop> shared_loop_of(const Function& f);

// Lets the prover assume what `condition` implies, or what its negation does.
void assume_condition(Prover& prover, const Expr& condition, bool holds);

// Statements outside parallel loops and parallel loops, in order: who reads what another wrote must
// wait at a barrier. Returns a reason, empty when all is well, and the statement that it is about.
std::pair<std::string, const StmtNode*> missing_barrier(const Function& f);

}  // namespace burnish::loop
