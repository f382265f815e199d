// Regions: which part of a stage is needed at a point of the walk. Every bound is affine in the
// open loops.
#pragma once

#include <vector>

#include "base/error.h"
#include "expr/interval.h"
#include "te/stage.h"

namespace burnish::lowering {

// Thrown inside lowering, returned by lower() as a Reason: the schedule does not fit.
struct Refused {
  std::string text;
};
template <class... Args>
[[noreturn]] void refuse_schedule(fmt::format_string<Args...> text, Args&&... args) {
  throw Refused{fmt::format(text, std::forward<Args>(args)...)};
}

// One axis: [max(lo, clo...), min(lo + ext, chi...)). One clip a slope: without that, the lists
// multiply at each union.
struct Span {
  Aff lo;
  int64_t ext = 0;
  std::vector<Aff> clo, chi;
  bool whole = false;  // not derived from the index: all that it may reach

  Span() = default;
  Span(Aff lo, int64_t ext) : lo(std::move(lo)), ext(ext) {}
  Aff end() const { return lo + Aff(ext); }
  void clip_low(const Aff& a);   // keep what is >= a
  void clip_high(const Aff& a);  // keep what is < a
  Span moved(const Aff& by) const;
};

// The axes of a stage, then its reduce axes. Empty: nothing is needed.
using Box = std::vector<Span>;

// What `index` covers while each variable covers its span; `span_of` finds a variable's span. Atoms
// with loaded values cover the whole axis [0, extent), as does what is not monotone.
struct AxisSpans {
  const std::vector<Axis>* axes;
  const std::vector<Axis>* raxes;
  const Box* box;
  const Span* find(VarId v) const;
};
Span span_through(const Index& index, const AxisSpans& spans, int64_t extent, const Ranges& ranges);

// The smallest span that holds both; Refused when they move differently with the open loops.
Span hull(const Span& a, const Span& b);

}  // namespace burnish::lowering
