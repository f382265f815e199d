// Attention (src/ops/attention.cpp) in one nest: of a block of query rows the scores and their
// exponentials stay in the caches near the core.
#pragma once

#include <optional>

#include "target/llvm/space.h"

namespace burnish::llvm_target {

// The stages by what they are, over the axes [batch..., query, key]; of `acc` and `out` [batch...,
// query, value].
struct AttentionStages {
  StageId out = 0;
  StageId acc = 0;      // exponentials times values
  StageId inverse = 0;  // one over the sum
  StageId sum = 0, exp = 0, max = 0;
  StageId scores = 0;    // products with the mask; else the products themselves
  StageId products = 0;  // queries times keys
  StageId queries = 0;   // an input, or a computed stage
  uint32_t row = 0;      // the axis of queries; keys and values are the one after it
};
std::optional<AttentionStages> attention_stages(const StageGroup& g, StageId out);

struct AttentionChoice {
  int64_t block = 32;   // query rows that are computed together: the lanes of scores
  int64_t keys = 12;    // rows of the tile of scores: keys
  int64_t rows = 12;    // rows of the tile of the output: queries
  int64_t vectors = 2;  // vectors of values of that tile
  int64_t shared = 1;   // loops that threads share as one
  friend bool operator==(const AttentionChoice&, const AttentionChoice&) = default;
};

// Null when the group is no attention.
std::unique_ptr<Space> attention_space(const Schedule& inlined, StageId out, const Machine& m);
// Is one nest better than a kernel for each of its stages?
bool attention_pays(const StageGroup& g, const Machine& m);

}  // namespace burnish::llvm_target
