#include "support.h"

#include <cmath>
#include <cstdlib>

namespace burnish::schedule_test {

uint64_t seed() {
  const char* text = std::getenv("BURNISH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

Tensor random_tensor(const Stage& s, std::mt19937_64& random) {
  Tensor t(s.dtype, s.shape());
  std::uniform_real_distribution<double> real(-1, 1);
  std::uniform_int_distribution<int64_t> integer(-3, 3);
  for (int64_t i = 0; i < t.size(); ++i) {
    Scalar v{s.dtype};
    if (is_float(s.dtype))
      v.f = static_cast<float>(real(random));
    else
      v.i = integer(random);
    t.set(i, v);
  }
  return t;
}

namespace {

// Element of the physical buffer for each logical element, row-major.
std::vector<int64_t> places(const Stage& s) {
  auto dims = physical(s.layout, s.shape());
  auto shape = s.shape();
  int64_t n = 1;
  for (int64_t e : shape) n *= e;
  std::vector<int64_t> at;
  std::vector<int64_t> index(shape.size());
  for (int64_t i = 0; i < n; ++i) {
    int64_t rest = i;
    for (size_t a = shape.size(); a-- > 0;) {
      index[a] = rest % shape[a];
      rest /= shape[a];
    }
    int64_t place = 0;
    for (auto& d : dims) {
      int64_t k = index[d.dim.axis] / d.dim.div;
      place += (d.dim.mod ? k % d.dim.mod : k) * d.stride;
    }
    at.push_back(place);
  }
  return at;
}

}  // namespace

Function lowered(const Schedule& s) {
  auto f = lower(s);
  if (!f) throw std::runtime_error("refused: " + f.reason());
  // Tests look at a function before they run it.
  static std::string verified;
  if (std::string text = to_text(*f); text != verified) {
    verify(*f);
    verified = std::move(text);
  }
  return std::move(*f);
}

void expect_same(const Case& c, const std::string& what) {
  SCOPED_TRACE(what + ", seed " + std::to_string(seed()));
  std::mt19937_64 random(seed());
  auto f = lower(c.schedule);
  ASSERT_TRUE(f.ok()) << f.reason();
  try {
    verify(*f);
  } catch (const std::exception& e) {
    bool unproved =
        std::string(e.what()).find("are not proved to touch different places") != std::string::npos;
    ASSERT_TRUE(c.odd && unproved) << e.what() << "\n" << to_text(*f) << c.schedule.to_text();
  }
  const StageGroup& g = c.schedule.group();
  std::vector<Tensor> inputs;
  for (StageId s : c.group.inputs) inputs.push_back(random_tensor(c.group[s], random));
  std::vector<const Tensor*> views;
  for (const Tensor& t : inputs) views.push_back(&t);
  const StageGroup& meaning = c.oracle ? *c.oracle : c.group;
  std::vector<Tensor> expected = evaluate(meaning, views, true);

  std::vector<std::vector<std::byte>> memory;
  std::vector<void*> args;
  // In the layouts that steps have given parameters, by the axes that these had before.
  const auto parameter = [&](StageId now, StageId before) {
    Stage s = g[now];
    s.axes = c.schedule.given()[before].axes;
    return s;
  };
  auto bytes_of = [&](const Stage& s) {
    return static_cast<size_t>(physical_size(s.layout, s.shape()) *
                               (is_float(s.dtype) ? 8 : size_of(s.dtype)));
  };
  for (size_t i = 0; i < g.inputs.size(); ++i) {
    const Stage s = parameter(g.inputs[i], c.schedule.given().inputs[i]);
    memory.emplace_back(bytes_of(s));
    auto at = places(s);
    for (size_t k = 0; k < at.size(); ++k) {
      Scalar v = inputs[i].get(static_cast<int64_t>(k));
      if (is_float(s.dtype))
        reinterpret_cast<double*>(memory.back().data())[at[k]] = v.f;
      else
        std::memcpy(memory.back().data() + static_cast<size_t>(at[k] * size_of(s.dtype)), &v.i,
                    static_cast<size_t>(size_of(s.dtype)));
    }
  }
  for (StageId o : g.outputs) memory.emplace_back(bytes_of(g[o]));
  for (auto& m : memory) args.push_back(m.data());
  try {
    interpret(*f, args, {.in_double = true});
  } catch (const std::exception& e) {
    FAIL() << e.what() << "\n" << to_text(*f) << c.schedule.to_text();
  }
  for (size_t o = 0; o < g.outputs.size(); ++o) {
    const Stage s = parameter(g.outputs[o], c.schedule.given().outputs[o]);
    auto at = places(s);
    double worst = 0, largest = 1e-9;
    for (size_t k = 0; k < at.size(); ++k) {
      Scalar want = expected[o].get(static_cast<int64_t>(k));
      const std::byte* from = memory[g.inputs.size() + o].data();
      double got = 0, reference = is_float(s.dtype) ? want.f : static_cast<double>(want.i);
      if (is_float(s.dtype)) {
        got = reinterpret_cast<const double*>(from)[at[k]];
      } else {
        int64_t v = 0;
        std::memcpy(&v, from + static_cast<size_t>(at[k] * size_of(s.dtype)),
                    static_cast<size_t>(size_of(s.dtype)));
        int shift = 64 - 8 * size_of(s.dtype);
        got = static_cast<double>(v << shift >> shift);
      }
      double error = std::abs(got - reference);
      if (!(error <= worst)) worst = error;
      largest = std::max(largest, std::abs(reference));
    }
    EXPECT_LT(worst / largest, 1e-12) << "output " << s.name << "\n"
                                      << to_text(*f) << c.schedule.to_text();
  }
}

void expect_refused(const Result<>& r, const std::string& part) {
  ASSERT_FALSE(r.ok()) << "was accepted, expected: " << part;
  EXPECT_NE(r.reason().find(part), std::string::npos) << r.reason();
}

void expect_lowering_refused(const Schedule& s, const std::string& part) {
  auto f = lower(s);
  ASSERT_FALSE(f.ok()) << "was accepted, expected: " << part;
  EXPECT_NE(f.reason().find(part), std::string::npos) << f.reason();
}

}  // namespace burnish::schedule_test
