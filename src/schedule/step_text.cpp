// Steps as text: name(stage, argument, ...), one a line. The form is the record's, so it never
// changes meaning.
#include <charconv>

#include "base/text.h"
#include "schedule/schedule.h"

namespace burnish {
namespace {

struct TailName {
  Tail tail;
  const char* name;
};
constexpr TailName kTails[] = {{Tail::Guard, "guard"},
                               {Tail::Exact, "exact"},
                               {Tail::Tail, "tail"},
                               {Tail::Balanced, "balanced"},
                               {Tail::Overlap, "overlap"},
                               {Tail::Whole, "whole"}};

std::string text(const step::Split& x) {
  const char* tail = "guard";
  for (auto& t : kTails)
    if (t.tail == x.tail) tail = t.name;
  return fmt::format("split({}, {}, {}, {})", x.stage, x.loop, x.factor, tail);
}
std::string text(const step::SplitParts& x) {
  return fmt::format("split_parts({}, {}, {})", x.stage, x.loop, x.parts);
}
std::string text(const step::Fuse& x) {
  return fmt::format("fuse({}, {}, {})", x.stage, x.outer, x.inner);
}
std::string text(const step::Reorder& x) {
  return fmt::format("reorder({}, {})", x.stage, join(x.loops, ", "));
}
std::string text(const step::Unroll& x) { return fmt::format("unroll({}, {})", x.stage, x.loop); }
std::string text(const step::Vectorize& x) {
  return fmt::format("vectorize({}, {}{})", x.stage, x.loop, x.apart ? ", apart" : "");
}
std::string text(const step::Parallel& x) {
  return fmt::format("parallel({}, {})", x.stage, x.loop);
}
std::string text(const step::Bind& x) {
  return fmt::format("bind({}, {}{})", x.stage, x.loop, x.threads ? fmt::format(", {}", x.threads) : "");
}
std::string text(const step::Tensorize& x) { return fmt::format("tensorize({}, {})", x.stage, x.loop); }
std::string text(const step::ComputeAt& x) {
  return fmt::format("compute_at({}, {}, {})", x.stage, x.at_stage, x.at_loop);
}
std::string text(const step::StoreAt& x) {
  return fmt::format("store_at({}, {}, {})", x.stage, x.at_stage, x.at_loop);
}
std::string text(const step::StoreRoot& x) { return fmt::format("store_root({})", x.stage); }
std::string text(const step::Flatten& x) {
  std::string s = fmt::format("flatten({}, {}", x.stage, x.multiple);
  if (x.lanes > 1 || !x.inner.empty()) s += fmt::format(", {}", x.lanes);
  if (!x.inner.empty()) s += ", " + x.inner;
  return s + ")";
}
std::string text(const step::Expand& x) { return fmt::format("expand({})", x.stage); }
std::string text(const step::Narrow& x) { return fmt::format("narrow({}, {})", x.stage, x.most); }
std::string text(const step::Inline& x) { return fmt::format("inline({})", x.stage); }
std::string text(const step::CacheRead& x) {
  return fmt::format("cache_read({}{}{}{})", x.stage, x.reader.empty() ? "" : ", ", x.reader, x.dtype ? fmt::format(", {}", name_of(*x.dtype)) : "");
}
std::string text(const step::CacheWrite& x) { return fmt::format("cache_write({})", x.stage); }
std::string text(const step::AbsorbAddend& x) {
  return fmt::format("absorb_addend({})", x.stage);
}
std::string text(const step::MergeEpilogue& x) {
  return fmt::format("merge_epilogue({})", x.stage);
}
std::string text(const step::RFactor& x) {
  return fmt::format("rfactor({}, {}, {}{}{})", x.stage, x.axis, x.factor, !x.lanes ? "" : x.guard ? ", guarded" : ", lanes",
                     x.together > 1 ? fmt::format(", {}", x.together) : "");
}
std::string text(const step::SetScope& x) {
  return fmt::format("set_scope({}, {})", x.stage, name_of(x.scope));
}
std::string text(const step::Pack& x) {
  std::string s = fmt::format("pack({}", x.stage);
  for (const LayoutDim& d : x.layout) s += ", " + layout_text({d}, {});
  return s + ")";
}
std::string text(const step::FoldStorage& x) {
  return fmt::format("fold_storage({}, {}, {})", x.stage, x.axis, x.factor);
}
std::string text(const step::StorageAlign& x) {
  return fmt::format("storage_align({}, {})", x.stage, x.pad);
}
std::string text(const step::JoinAxes& x) { return fmt::format("join_axes({}, {}, {})", x.stage, x.outer, x.inner); }
std::string text(const step::Swizzle& x) { return fmt::format("swizzle({}, {})", x.stage, x.bytes); }
std::string text(const step::MultiBuffer& x) {
  return fmt::format("multi_buffer({}, {})", x.stage, x.slots);
}
std::string text(const step::Prefetch& x) {
  return fmt::format("prefetch({}, {})", x.stage, x.bytes);
}
std::string text(const step::Partition& x) {
  std::string s = fmt::format("partition({}, {}", x.stage, x.loop);
  for (int64_t c : x.cuts) s += fmt::format(", {}", c);
  return s + ")";
}
std::string text(const step::GuardInit& x) { return fmt::format("guard_init({})", x.stage); }
std::string text(const step::GuardHalo& x) { return fmt::format("guard_halo({})", x.stage); }

// The arguments of one step, taken from the front.
class Arguments {
 public:
  Arguments(std::string_view line, std::string_view inside) : line_(line) {
    if (trim(inside).empty()) return;
    for (const std::string& a : split_text(inside, ',')) all_.emplace_back(trim(a));
  }
  size_t left() const { return all_.size() - next_; }
  std::string name() {
    require(left() > 0, "step '{}' has too few arguments", line_);
    std::string s = all_[next_++];
    require(!s.empty(), "step '{}' has an empty argument", line_);
    return s;
  }
  int64_t number() { return number(name()); }
  int64_t number(std::string_view s) const {
    int64_t v = 0;
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
    require(error == std::errc() && end == s.data() + s.size(), "step '{}': '{}' is no number",
            line_, s);
    return v;
  }
  std::vector<std::string> names() {
    std::vector<std::string> r;
    while (left() > 0) r.push_back(name());
    return r;
  }
  // 1/16%4+8: axis, division, modulus, padding
  LayoutDim dim() {
    std::string s = name();
    size_t at = s.find_first_of("/%+");
    int64_t axis = number(std::string_view(s).substr(0, at));
    require(axis >= 0 && axis < 64, "step '{}': a layout has no axis {}", line_, axis);
    LayoutDim d{static_cast<uint32_t>(axis)};
    while (at != std::string::npos) {
      size_t end = s.find_first_of("/%+", at + 1);
      int64_t v =
          number(std::string_view(s).substr(at + 1, end == std::string::npos ? end : end - at - 1));
      require(v >= 1 && v < (int64_t{1} << 40), "step '{}': {} in a layout", line_, v);
      (s[at] == '/' ? d.div : s[at] == '%' ? d.mod : d.pad) = v;
      at = end;
    }
    return d;
  }
  void end() const { require(left() == 0, "step '{}' has too many arguments", line_); }

 private:
  std::string_view line_;
  std::vector<std::string> all_;
  size_t next_ = 0;
};

Tail tail_named(std::string_view line, std::string_view name) {
  for (auto& t : kTails)
    if (name == t.name) return t.tail;
  fail_user("step '{}': there is no tail {}; use guard, exact, tail, balanced or overlap", line,
            name);
}

Scope scope_named(std::string_view line, std::string_view name) {
  for (Scope s : {Scope::Param, Scope::Shared, Scope::Thread, Scope::Stack, Scope::Register, Scope::Warp})
    if (name == name_of(s)) return s;
  fail_user("step '{}': there is no scope {}", line, name);
}

}  // namespace

std::string to_text(const ScheduleStep& s) {
  return std::visit([](const auto& x) { return text(x); }, s);
}

ScheduleStep parse_step(std::string_view raw) {
  std::string_view line = trim(raw);
  size_t open = line.find('(');
  require(open != std::string_view::npos && line.back() == ')',
          "'{}' is no step; write name(stage, ...)", line);
  std::string_view name = trim(line.substr(0, open));
  Arguments a(line, line.substr(open + 1, line.size() - open - 2));
  auto step = [&]() -> ScheduleStep {
    std::string stage = a.name();
    auto loop_step = [&](auto x) -> ScheduleStep {
      x.stage = stage;
      x.loop = a.name();
      return x;
    };
    auto stage_step = [&](auto x) -> ScheduleStep {
      x.stage = stage;
      return x;
    };
    if (name == "split") {
      step::Split x{stage, a.name(), 0};
      x.factor = a.number();
      if (a.left()) x.tail = tail_named(line, a.name());
      return x;
    }
    if (name == "split_parts") {
      step::SplitParts x{stage, a.name(), 0};
      x.parts = a.number();
      return x;
    }
    if (name == "fuse") {
      step::Fuse x{stage, a.name(), {}};
      x.inner = a.name();
      return x;
    }
    if (name == "reorder") return step::Reorder{stage, a.names()};
    if (name == "unroll") return loop_step(step::Unroll{});
    if (name == "vectorize") {
      step::Vectorize x{stage, a.name()};
      if (!a.left()) return x;
      const std::string kind = a.name();
      require(kind == "apart", "{}: '{}' should be apart", line, kind);
      x.apart = true;
      return x;
    }
    if (name == "parallel") return loop_step(step::Parallel{});
    if (name == "bind") {
      step::Bind x{stage, a.name()};
      if (a.left()) x.threads = a.number();
      return x;
    }
    if (name == "tensorize") return loop_step(step::Tensorize{});
    if (name == "compute_at" || name == "store_at") {
      std::string at = a.name(), loop = a.name();
      if (name == "compute_at") return step::ComputeAt{stage, at, loop};
      return step::StoreAt{stage, at, loop};
    }
    if (name == "store_root") return stage_step(step::StoreRoot{});
    if (name == "flatten") {
      step::Flatten x{stage, 1};
      x.multiple = a.number();
      if (a.left()) x.lanes = a.number();
      if (a.left()) x.inner = a.name();
      return x;
    }
    if (name == "expand") return stage_step(step::Expand{});
    if (name == "narrow") return step::Narrow{stage, a.number()};
    if (name == "inline") return stage_step(step::Inline{});
    if (name == "cache_read") {
      step::CacheRead x{stage, a.left() ? a.name() : ""};
      if (!a.left()) return x;
      const std::string type = a.name();
      x.dtype = dtype_named(type);
      require(x.dtype.has_value(), "step '{}': there is no dtype {}", line, type);
      return x;
    }
    if (name == "cache_write") return stage_step(step::CacheWrite{});
    if (name == "merge_epilogue") return stage_step(step::MergeEpilogue{});
    if (name == "absorb_addend") return stage_step(step::AbsorbAddend{});
    if (name == "rfactor") {
      step::RFactor x{stage, a.name(), 0};
      x.factor = a.number();
      if (a.left()) {
        const std::string kind = a.name();
        require(kind == "lanes" || kind == "guarded", "{}: '{}' should be lanes or guarded", line, kind);
        x.lanes = true;
        x.guard = kind == "guarded";
        if (a.left()) x.together = a.number();
      }
      return x;
    }
    if (name == "set_scope") return step::SetScope{stage, scope_named(line, a.name())};
    if (name == "pack") {
      step::Pack x{stage, {}};
      while (a.left()) x.layout.push_back(a.dim());
      return x;
    }
    if (name == "fold_storage") {
      step::FoldStorage x{stage, a.name()};
      if (a.left()) x.factor = a.number();
      return x;
    }
    if (name == "storage_align") return step::StorageAlign{stage, a.number()};
    if (name == "join_axes") {
      step::JoinAxes x{stage, a.name(), {}};
      x.inner = a.name();
      return x;
    }
    if (name == "swizzle") return step::Swizzle{stage, a.number()};
    if (name == "multi_buffer") return step::MultiBuffer{stage, a.number()};
    if (name == "double_buffer") return stage_step(step::MultiBuffer{});  // of records that were made before there were more
    if (name == "prefetch") return step::Prefetch{stage, a.number()};
    if (name == "partition") {
      step::Partition x{stage, a.name(), {}};
      while (a.left()) x.cuts.push_back(a.number());
      return x;
    }
    if (name == "guard_init") return stage_step(step::GuardInit{});
    if (name == "guard_halo") return stage_step(step::GuardHalo{});
    fail_user("there is no step {}", name);
  }();
  a.end();
  return step;
}

}  // namespace burnish
