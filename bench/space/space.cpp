// The space of one group's schedules on this machine: times the default, the points that the draft likes best, and random
// ones, and says how well the draft orders them.
//   bench_space FILE... [--threads N] [--best N] [--random N] [--seed N] [--rounds N] [--cold] [--all] [--point "rows=7 ..."]
//               [--log LOG] [--replay] [--print] [--recorded]
// FILE: the output of `burnish lower MODEL --task NAME`, or its stages alone. --cold: constants come from memory, as they
// do in a model larger than the caches. --all prints every point. Answers are compared with the default's. --log appends what
// was measured to a file; --replay measures nothing and judges the draft by such a file. --print
// prints the schedule and the loops of the point, or of the default, as bench_loops reads them. --recorded compares the
// default with the schedule that stands in FILE.
#include <burnish/abi.h>
#include <dlfcn.h>
#include <emmintrin.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "loop/program.h"
#include "target/target.h"

using namespace burnish;

namespace {

using Clock = std::chrono::steady_clock;

// Zeroed memory on large pages, never given back.
float* pages(int64_t bytes) {
  const size_t size = (static_cast<size_t>(bytes) + (4 << 20)) >> 21 << 21;
  void* p = mmap(nullptr, size + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(p != MAP_FAILED, "no memory for {} bytes", size);
  auto* at = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(p) + (2 << 20) - 1) >> 21 << 21);
  madvise(at, size, MADV_HUGEPAGE);
  return at;
}

double own_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// The threads of one run: they wait for work without sleeping.
class Team {
 public:
  explicit Team(unsigned threads) : threads_(threads) {
    for (unsigned t = 1; t < threads; ++t) {
      others_.emplace_back([this, t] {
        for (uint64_t turn = 1;; ++turn) {
          while (turn_.load(std::memory_order_acquire) < turn) _mm_pause();
          if (stop_) return;
          run(t);
        }
      });
    }
  }
  ~Team() {
    stop_ = true;
    turn_.fetch_add(1);
    for (std::thread& t : others_) t.join();
  }
  double seconds(const burnish_entry& entry, const burnish_frame& frame) {
    entry_ = &entry;
    frame_ = &frame;
    // One thread's own time leaves out what others take of the machine.
    const double own = own_seconds();
    const auto start = Clock::now();
    turn_.fetch_add(1, std::memory_order_release);
    run(0);
    if (threads_ == 1) return own_seconds() - own;
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  void wait() {
    const uint64_t round = round_.load();
    if (arrived_.fetch_add(1) + 1 == threads_) {
      arrived_ = 0;
      round_.fetch_add(1);
    } else {
      while (round_.load(std::memory_order_acquire) == round) _mm_pause();
    }
  }
  void run(unsigned t) {
    burnish_host host{this, [](void* c, uint32_t) { static_cast<Team*>(c)->wait(); }, nullptr, nullptr};
    entry_->run(frame_, t, &host);
    wait();
  }

  unsigned threads_;
  std::atomic<uint64_t> turn_ = 0, round_ = 0;
  std::atomic<unsigned> arrived_ = 0;
  std::atomic<bool> stop_ = false;
  const burnish_entry* entry_ = nullptr;
  const burnish_frame* frame_ = nullptr;
  std::vector<std::thread> others_;
};

struct Candidate {
  Point point;
  double draft = 0, best = 1e300;
  const burnish_entry* entry = nullptr;
  std::vector<void*> tensors;
  burnish_frame frame{};
};

int64_t place_of(int64_t element, const std::vector<int64_t>& shape, const std::vector<PhysicalDim>& dims) {
  std::vector<int64_t> index(shape.size());
  for (size_t i = shape.size(); i-- > 0; element /= shape[i]) index[i] = element % shape[i];
  int64_t place = 0;
  for (const PhysicalDim& d : dims) {
    const int64_t i = index[d.dim.axis] / d.dim.div;
    place += (d.dim.mod ? i % d.dim.mod : i) * d.stride;
  }
  return place;
}

class Bench {
 public:
  Bench(StageGroup group, std::shared_ptr<const Target> target, uint64_t seed)
      : group_(std::move(group)), target_(std::move(target)), space_(target_->space(group_)) {
    require(space_ != nullptr, "there is nothing to choose for {}", group_.name);
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<float> unit(-0.5, 0.5);
    for (StageId i : group_.inputs) {
      require(group_[i].dtype == DType::F32, "{} is {}: only f32 is measured", group_[i].name, name_of(group_[i].dtype));
      std::vector<float>& v = values_.emplace_back(static_cast<size_t>(elements(i)));
      for (float& x : v) x = unit(random);
    }
  }
  const Space& space() const { return *space_; }
  const StageGroup& group() const { return group_; }

  // Nothing when lowering refuses; why is counted.
  std::optional<Candidate> build(const Point& p) {
    Candidate c{.point = p, .draft = space_->draft_us(p)};
    return build(std::move(c), space_->schedule(p));
  }
  std::optional<Candidate> build(Candidate c, Result<Schedule> s) {
    if (!s) return refused(s.reason());
    auto f = lower(*s);
    if (!f) return refused(f.reason());
    Program program;
    program.functions.push_back(*f);
    Step step{.function = 0};
    for (size_t i = 0; i < f->params.size(); ++i) {
      const Buffer& b = f->buffers[f->params[i]];
      step.args.push_back(static_cast<uint32_t>(program.tensors.size()));
      (b.written ? program.outputs : program.inputs).push_back(step.args.back());
      program.tensors.push_back({.name = b.name, .kind = b.written ? TensorKind::Output : TensorKind::Input,
                                 .dtype = b.dtype, .size = b.size});
      c.tensors.push_back(i < group_.inputs.size() ? packed(i, packed_layout(*s, s->group().inputs[i])) : output(i, b));
    }
    program.steps.push_back(step);
    const auto start = Clock::now();
    const std::string bytes = target_->build(program, "{}");
    build_seconds += std::chrono::duration<double>(Clock::now() - start).count();
    ++built;
    const std::string path =
        (std::filesystem::temp_directory_path() / fmt::format("space-{}-{}.so", getpid(), ++libraries)).string();
    write_file(path, bytes);
    void* handle = dlopen(path.c_str(), RTLD_NOW);
    std::filesystem::remove(path);
    require(handle != nullptr, "cannot load {}", path);
    c.entry = reinterpret_cast<burnish_model_entry_fn>(dlsym(handle, BURNISH_ENTRY_SYMBOL))();
    const MemoryNeeds needs = target_->memory(program);
    const uint64_t stride = (static_cast<uint64_t>(needs.scratch_bytes) + 4095) / 4096 * 4096;
    memory(arena_, arena_bytes_, needs.arena_bytes);
    memory(scratch_, scratch_bytes_, static_cast<int64_t>(stride) * target_->machine().threads);
    c.frame = {nullptr, arena_, nullptr, scratch_, stride, nullptr, static_cast<uint32_t>(target_->machine().threads), 0};
    return c;
  }

  double time(Candidate& c, Team& team, bool cold) {
    c.frame.tensors = c.tensors.data();
    c.frame.arena = arena_;
    c.frame.scratch = scratch_;
    if (cold) {
      for (size_t i = 0; i < group_.inputs.size(); ++i) {
        if (group_[group_.inputs[i]].kind != StageKind::Constant) continue;
        const char* at = static_cast<const char*>(c.tensors[i]);
        for (int64_t b = 0; b < elements(group_.inputs[i]) * 4; b += 64) _mm_clflush(at + b);
      }
      _mm_mfence();
    }
    const double t = team.seconds(*c.entry, c.frame);
    c.best = std::min(c.best, t);
    return t;
  }

  // Largest difference of the output from the first candidate's.
  double difference(const Candidate& c) {
    const auto* got = static_cast<const float*>(c.tensors.back());
    if (wanted_.empty()) wanted_.assign(got, got + output_size_);
    double most = 0;
    for (int64_t i = 0; i < output_size_; ++i) {
      const double w = wanted_[static_cast<size_t>(i)];
      const bool same = got[i] == wanted_[static_cast<size_t>(i)] || (std::isnan(got[i]) && std::isnan(w));
      if (!same) most = std::max(most, std::isfinite(got[i]) ? std::fabs(got[i] - w) / (1 + std::fabs(w)) : 1e30);
    }
    return most;
  }

  static inline int libraries = 0;  // the loader takes two files of one name for one
  int built = 0;
  double build_seconds = 0;
  std::map<std::string, int> reasons;

 private:
  std::optional<Candidate> refused(const std::string& why) {
    ++reasons[why];
    return std::nullopt;
  }
  int64_t elements(StageId s) const {
    int64_t n = 1;
    for (int64_t e : group_[s].shape()) n *= e;
    return n;
  }
  static void memory(void*& at, int64_t& have, int64_t need) {
    if (need <= have && at) return;
    have = need + 4096;
    at = pages(have);
  }
  void* packed(size_t i, const Layout& layout) {
    const StageId s = group_.inputs[i];
    std::vector<std::string> axes;
    for (const Axis& a : group_[s].axes) axes.push_back(a.name);
    float*& at = packed_[{i, layout_text(layout, axes)}];
    if (at) return at;
    at = pages(physical_size(layout, group_[s].shape()) * 4 + 256);
    const std::vector<PhysicalDim> dims = physical(layout, group_[s].shape());
    for (int64_t e = 0; e < elements(s); ++e) at[place_of(e, group_[s].shape(), dims)] = values_[i][static_cast<size_t>(e)];
    return at;
  }
  void* output(size_t i, const Buffer& b) {
    float*& at = packed_[{i, ""}];
    if (!at) at = pages(b.size * 4 + 256);
    output_size_ = b.size;
    return at;
  }

  StageGroup group_;
  std::shared_ptr<const Target> target_;
  std::unique_ptr<Space> space_;
  std::vector<std::vector<float>> values_;
  std::map<std::pair<size_t, std::string>, float*> packed_;
  std::vector<float> wanted_;
  int64_t output_size_ = 0;
  void* arena_ = nullptr;
  void* scratch_ = nullptr;
  int64_t arena_bytes_ = 0, scratch_bytes_ = 0;
};

std::optional<Point> partial_point(const Space& s, std::string_view text) {
  Point p = s.default_point();
  for (const std::string& word : split_text(text, ' ')) {
    const size_t eq = word.find('=');
    for (size_t i = 0; i < s.knobs().size(); ++i) {
      const Knob& k = s.knobs()[i];
      if (k.name != word.substr(0, eq)) continue;
      const auto at = std::ranges::find(k.values, std::atoll(word.c_str() + eq + 1));
      if (at == k.values.end()) return std::nullopt;
      p[i] = static_cast<uint16_t>(at - k.values.begin());
    }
  }
  return p;
}

struct Options {
  std::vector<std::string> files, points;
  int threads = 2, best = 24, random = 24, rounds = 12;
  uint64_t seed = 1;
  bool cold = false, all = false, print = false, replay = false, recorded = false;
  std::string log;
};

// How well the draft orders what was measured; all[0] is the default.
void judge(const std::string& name, const Space& space, const std::vector<Candidate>& all, const Options& o) {
  std::vector<const Candidate*> order;
  for (const Candidate& c : all) order.push_back(&c);
  std::ranges::sort(order, {}, &Candidate::best);
  double pairs = 0, right = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (std::fabs(all[i].best / all[j].best - 1) < 0.02) continue;  // a tie
      ++pairs;
      right += (all[i].draft < all[j].draft) == (all[i].best < all[j].best);
    }
  }
  std::vector<const Candidate*> by_draft = order;
  std::ranges::stable_sort(by_draft, {}, &Candidate::draft);
  double top8 = 1e300;
  for (size_t i = 0; i < std::min<size_t>(8, by_draft.size()); ++i) top8 = std::min(top8, by_draft[i]->best);
  const double best = order[0]->best;
  std::printf("%-34s default %8.1f us, best %8.1f (%.2fx), the draft's first %8.1f (%.2fx), best of its 8 %8.1f; pairs %3.0f%%\n",
              name.c_str(), all[0].best * 1e6, best * 1e6, all[0].best / best, by_draft[0]->best * 1e6,
              all[0].best / by_draft[0]->best, top8 * 1e6, pairs > 0 ? 100 * right / pairs : 100.0);
  if (o.replay && !o.all) return;
  std::printf("    default %8.1f (draft %8.1f)  %s\n", all[0].best * 1e6, all[0].draft, text_of(space, all[0].point).c_str());
  for (size_t i = 0; i < (o.all ? order.size() : std::min<size_t>(3, order.size())); ++i) {
    std::printf("    %8.1f (draft %8.1f)  %s\n", order[i]->best * 1e6, order[i]->draft, text_of(space, order[i]->point).c_str());
  }
  std::printf("    the draft's first %8.1f (draft %8.1f)  %s\n", by_draft[0]->best * 1e6, by_draft[0]->draft,
              text_of(space, by_draft[0]->point).c_str());
}

void measure(const std::string& file, const Options& o) {
  std::string text = read_file(file), recorded;
  if (size_t at = text.find("# schedule\n"); at != text.npos) {
    recorded = text.substr(at + 11, text.find("# loops\n") - at - 11);
  }
  if (size_t at = text.find("# stages\n"); at != text.npos) text = text.substr(at + 9);
  if (size_t at = text.find("# schedule\n"); at != text.npos) text = text.substr(0, at);
  auto target = make_target("native", o.threads);
  if (o.print) {
    Schedule s = target->default_schedule(parse_stages(text));
    if (!o.points.empty()) {
      const auto space = target->space(parse_stages(text));
      require(space != nullptr, "there is nothing to choose for {}", file);
      const auto point = partial_point(*space, o.points[0]);
      require(point.has_value(), "\"{}\" is no point of the space", o.points[0]);
      s = space->schedule(*point).expect("this point");
    }
    std::printf("# schedule\n%s\n# loops\n%s", s.to_text().c_str(), to_text(*lower(s)).c_str());
    return;
  }
  Bench bench(parse_stages(text), target, o.seed);
  const Space& space = bench.space();

  const std::string stem = std::filesystem::path(file).parent_path().stem().string() + "/" +
                           std::filesystem::path(file).stem().string();
  std::vector<Candidate> all;
  // Every legal point by its draft, best first.
  const int64_t size = size_of(space);
  std::vector<std::pair<double, Point>> drafted;
  std::mt19937_64 random(o.seed);
  const auto start = Clock::now();
  const int64_t looked = std::min<int64_t>(size, 200'000);
  for (int64_t i = 0; i < looked; ++i) {
    Point p = point_at(space, size <= looked ? i : static_cast<int64_t>(random() % static_cast<uint64_t>(size)));
    if (const double us = space.draft_us(p); std::isfinite(us)) drafted.emplace_back(us, std::move(p));
  }
  const double draft_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::sort(drafted.begin(), drafted.end());

  std::set<Point> seen;
  auto add = [&](const Point& p) {
    if (!seen.insert(p).second) return false;
    auto c = bench.build(p);
    if (c) all.push_back(std::move(*c));
    return c.has_value();
  };
  if (o.replay) {
    for (const std::string& line : split_text(read_file(o.log), '\n')) {
      const std::vector<std::string> parts = split_text(line, '|');
      if (parts.size() != 3 || parts[0] != stem) continue;
      const auto p = partial_point(space, parts[1]);
      if (!p || !std::isfinite(space.draft_us(*p))) continue;
      all.push_back({.point = *p, .draft = space.draft_us(*p), .best = std::atof(parts[2].c_str()) * 1e-6});
    }
    if (all.empty()) return;
    return judge(stem, space, all, o);
  }
  require(add(space.default_point()), "the default point of {} does not lower", file);
  for (const std::string& p : o.points) {
    const auto point = partial_point(space, p);
    require(point.has_value(), "\"{}\" is no point of the space", p);
    add(*point);
  }
  if (o.recorded) {
    Schedule r(bench.group());
    const auto replayed = r.replay(recorded);
    require(replayed.ok(), "the schedule in {} does not replay: {}", file, replayed.ok() ? "" : replayed.reason());
    auto c = bench.build(Candidate{.point = space.default_point()}, std::move(r));
    require(c.has_value(), "the schedule in {} does not lower", file);
    all.push_back(std::move(*c));
  }
  size_t drafts = 0;
  for (int n = 0; n < o.best && drafts < drafted.size(); ++drafts) n += add(drafted[drafts].second);
  for (int n = 0, tries = 0; n < o.random && tries < 50 * o.random && !drafted.empty(); ++tries) {
    n += add(drafted[random() % drafted.size()].second);
  }
  Team team(static_cast<unsigned>(o.threads));
  for (Candidate& c : all) {
    bench.time(c, team, false);
    if (const double d = bench.difference(c); d > 1e-3) {
      std::printf("WRONG by %g: %s\n", d, text_of(space, c.point).c_str());
    }
    c.best = 1e300;
  }
  for (int round = 0; round < o.rounds; ++round) {
    for (Candidate& c : all) {
      bench.time(c, team, o.cold);
      if (!o.cold) {
        for (int i = 0; i < 2; ++i) bench.time(c, team, false);
      }
    }
  }
  if (!o.log.empty()) {
    if (std::FILE* log = std::fopen(o.log.c_str(), "a")) {
      for (const Candidate& c : all) {
        std::fprintf(log, "%s|%s|%.3f\n", stem.c_str(), text_of(space, c.point).c_str(), c.best * 1e6);
      }
      std::fclose(log);
    }
  }
  if (o.recorded) {
    std::printf("%-60s default %9.1f us, recorded %9.1f us, %.2f\n", stem.c_str(), all[0].best * 1e6, all[1].best * 1e6,
                all[1].best / all[0].best);
    return;
  }
  judge(stem, space, all, o);
  std::printf("    %zu of %lld points are legal, the draft takes %.2f us each; %d built in %.1f ms each\n", drafted.size(),
              static_cast<long long>(size), draft_seconds / static_cast<double>(looked) * 1e6, bench.built,
              bench.build_seconds / bench.built * 1e3);
  for (const auto& [why, n] : bench.reasons) std::printf("    refused %d: %s\n", n, why.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) try {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    auto number = [&] { return i + 1 < argc ? std::atoi(argv[++i]) : 0; };
    if (a == "--threads") o.threads = number();
    else if (a == "--best") o.best = number();
    else if (a == "--random") o.random = number();
    else if (a == "--seed") o.seed = static_cast<uint64_t>(number());
    else if (a == "--rounds") o.rounds = number();
    else if (a == "--cold") o.cold = true;
    else if (a == "--all") o.all = true;
    else if (a == "--recorded") o.recorded = true;
    else if (a == "--print") o.print = true;
    else if (a == "--replay") o.replay = true;
    else if (a == "--log" && i + 1 < argc) o.log = argv[++i];
    else if (a == "--point" && i + 1 < argc) o.points.emplace_back(argv[++i]);
    else o.files.emplace_back(a);
  }
  require(!o.files.empty(), "usage: bench_space FILE... [--threads N] [--best N] [--random N] [--rounds N] [--cold] [--all]");
  for (const std::string& f : o.files) {
    try {
      measure(f, o);
    } catch (const UserError& e) {
      std::printf("%s: %s\n", f.c_str(), e.what());
    }
  }
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
