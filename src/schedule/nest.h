// The declarations of a schedule about one stage: its loops, where it is computed and stored, and
// how.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "schedule/schedule.h"

namespace burnish {

using LoopId = uint32_t;  // row in Nest::loops; the axes come first, then the reduce axes
inline constexpr LoopId kNoLoop = ~LoopId{0};

struct Loop {
  std::string name;
  LoopKind kind = LoopKind::Serial;
  bool reduce = false;
  LoopId parent = kNoLoop;                  // the loop that this one is half of
  LoopId outer = kNoLoop, inner = kNoLoop;  // of a loop that was split
  int64_t factor = 0;
  Tail tail = Tail::Guard;
  LoopId first = kNoLoop, second = kNoLoop;  // of a fused loop: the two that it stands for
  std::vector<int64_t> cuts = {};            // partition: where new segments begin
  bool apart = false;                        // vectorize: each lane loads by itself
  int64_t threads = 0;                       // bind: at least so many, of which the first have iterations

  bool is_split() const { return outer != kNoLoop; }
  bool is_fused() const { return first != kNoLoop; }
};

struct Place {
  std::string stage, loop;
  friend bool operator==(const Place&, const Place&) = default;
};

enum class Stored : uint8_t { WhereComputed, At, Root };

struct Nest {
  std::vector<Loop> loops;
  std::vector<LoopId> order;     // the leaves, outermost first
  std::optional<Place> compute;  // none: root
  Stored stored = Stored::WhereComputed;
  Place store;                 // Stored::At
  std::optional<Scope> scope;  // none: thread inside parallel loops, shared outside
  std::vector<int64_t> fold;   // by axis: -1 not folded, 0 as many as are alive, else the factor
  int64_t pad = 0;             // storage_align
  int64_t swizzle = 0;         // bytes of a row; 0: none
  int64_t slots = 1;           // multi_buffer
  int64_t prefetch = 0;        // bytes ahead of each load; 0: none
  bool guard_init = false;
  bool guard_halo = false;

  bool in_registers() const { return scope && burnish::in_registers(*scope); }
  std::optional<LoopId> leaf(std::string_view name) const;
  size_t position(LoopId leaf) const;    // in order; order.size() when it is none
  bool untouched(const Stage& s) const;  // no loop was split, fused or moved
};

Nest plain_nest(const Stage& s);

}  // namespace burnish
