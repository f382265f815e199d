// What the parts of the verifier share. Private to src/loop.
#pragma once

#include <map>
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

// Whether iterations p < p' of the loop over `var` never meet, `a` at p and `b` at p'. Ids in
// `outer` mean the same value in both iterations.
bool never_meet(const SharedAccess& a, const SharedAccess& b, VarId var,
                const std::set<Prover::Id>& outer);

// The facts that `condition` implies, or that its negation does: forms that are >= 0.
std::vector<Aff> facts_of(Prover& prover, const Expr& condition, bool holds);

// Statements outside parallel loops and parallel loops, in order: who reads what another wrote must
// wait at a barrier. Returns a reason, empty when all is well, and the statement that it is about.
std::pair<std::string, const StmtNode*> missing_barrier(const Function& f);

}  // namespace burnish::loop
