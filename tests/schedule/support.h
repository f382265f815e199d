// Lowers a schedule, runs it in the interpreter (poisoned memory, bounds, races), and compares with
// the formula.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "bench/chain/chain.h"
#include "loop/interpreter.h"
#include "schedule/schedule.h"
#include "te/builder.h"
#include "te/evaluate.h"

namespace burnish::schedule_test {

// A group and a schedule of it. `oracle`, where set, is another group over the same inputs that
// means the same.
struct Case {
  StageGroup group;
  Schedule schedule;
  std::optional<StageGroup> oracle;
  bool odd = false;  // so odd that the verifier may not prove its threads apart; the interpreter
                     // still checks them
  Case(StageGroup g, Schedule s) : group(std::move(g)), schedule(std::move(s)) {}
  explicit Case(const StageGroup& g) : group(g), schedule(g) {}
};

uint64_t seed();  // of this run; printed by failing checks
// Of so many random cases those for a build that sanitizers make about five times slower.
constexpr int cases(int n) {
#ifdef __SANITIZE_ADDRESS__
  return (n + 3) / 4;
#else
  return n;
#endif
}
Tensor random_tensor(const Stage& s, std::mt19937_64& random);
Function lowered(const Schedule& s);
// `what` names the case in messages.
void expect_same(const Case& c, const std::string& what);
void expect_refused(const Result<>& r, const std::string& part);
void expect_lowering_refused(const Schedule& s, const std::string& part);

}  // namespace burnish::schedule_test
