// Frames and payloads: what is written reads back, what is damaged is refused, wherever it is cut.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "search/measure/messages.h"
#include "search/measure/protocol.h"

namespace burnish::search {
namespace {

uint64_t seed() {
  static const uint64_t s = std::getenv("BURNISH_SEED") ? std::strtoull(std::getenv("BURNISH_SEED"), nullptr, 10)
                                                        : std::random_device{}();
  return s;
}

TEST(Protocol, FramesReadBackHoweverTheyAreCut) {
  std::mt19937_64 random(seed());
  std::vector<Message> sent;
  std::string stream;
  for (uint32_t i = 0; i < 50; ++i) {
    Message m{static_cast<MessageType>(1 + random() % 10), i * 77777777u, std::string(random() % 3000, '\0')};
    for (char& c : m.payload) c = static_cast<char>(random());
    stream += frame(m);
    sent.push_back(std::move(m));
  }
  FrameReader reader;
  std::vector<Message> got;
  for (size_t at = 0; at < stream.size();) {
    const size_t n = std::min<size_t>(random() % 500, stream.size() - at);
    reader.feed(std::string_view(stream).substr(at, n));
    at += n;
    while (auto m = reader.next()) got.push_back(std::move(*m));
  }
  EXPECT_EQ(reader.broken(), "");
  ASSERT_EQ(got.size(), sent.size()) << "seed " << seed();
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].type, sent[i].type);
    EXPECT_EQ(got[i].request, sent[i].request);
    EXPECT_EQ(got[i].payload, sent[i].payload);
  }
}

std::string why_broken(std::string bytes) {
  FrameReader r;
  r.feed(bytes);
  EXPECT_FALSE(r.next());
  r.feed(frame({MessageType::Ready, 1, {}}));  // nothing is believed after that
  EXPECT_FALSE(r.next());
  return r.broken();
}

TEST(Protocol, NonsenseIsRefused) {
  const std::string good = frame({MessageType::Build, 7, "payload"});
  auto with = [&](size_t at, char c) {
    std::string s = good;
    s[at] = c;
    return s;
  };
  EXPECT_NE(why_broken(with(0, 'X')).find("begin no message"), std::string::npos);
  EXPECT_NE(why_broken("Hello").find("begin no message"), std::string::npos);  // before a header is complete
  EXPECT_NE(why_broken(with(4, 99)).find("version 99"), std::string::npos);
  EXPECT_NE(why_broken(with(6, 0)).find("type 0"), std::string::npos);
  EXPECT_NE(why_broken(with(6, 11)).find("type 11"), std::string::npos);
  EXPECT_NE(why_broken(with(15, 0x7f)).find("bytes"), std::string::npos);  // 2 GB
}

const Built kernel = {.library = std::string("\x7f""ELF\0\xff", 6),
                      .parameters = {{.name = "in0", .dtype = DType::F16, .shape = {1, 24, 17, 30},
                                      .layout = {{0}, {2}, {3}, {1, 1, 0, 8}}},
                                     {.name = "w", .shape = {40, 24}, .layout = {{0, 16}, {1}, {0, 1, 16}}, .constant = true},
                                     {.name = "scalar", .dtype = DType::I64, .output = true}},
                      .tolerance = {1e-5, 0.001}};

void expect_same(const Built& a, const Built& b) {
  EXPECT_EQ(a.library, b.library);
  EXPECT_EQ(a.parameters, b.parameters);
  EXPECT_EQ(a.tolerance.relative, b.tolerance.relative);
  EXPECT_EQ(a.tolerance.outliers, b.tolerance.outliers);
}

template <class T>
T again(const T& m) {
  T out;
  decode(encode(m), out);
  return out;
}

TEST(Protocol, PayloadsReadBack) {
  const search::Setup s = again(search::Setup{Role::Runner, "llvm:cpu=x", 3, uint64_t{5} << 40, 1 << 20, 0.005, 7, false});
  EXPECT_EQ(s.role, Role::Runner);
  EXPECT_EQ(s.target, "llvm:cpu=x");
  EXPECT_EQ(s.threads, 3);
  EXPECT_EQ(s.memory_bytes, uint64_t{5} << 40);
  EXPECT_EQ(s.l2_bytes, 1 << 20);
  EXPECT_EQ(s.min_time, 0.005);
  EXPECT_EQ(s.min_repeats, 7);
  EXPECT_FALSE(s.cold_weights);

  const BuildRequest b = again(BuildRequest{"hash", "text", "split(a, b, 3)\n", true, false});
  EXPECT_EQ(b.hash + b.workload + b.trace, "hashtextsplit(a, b, 3)\n");
  EXPECT_TRUE(b.plain);
  EXPECT_FALSE(b.verify);
  EXPECT_TRUE(again(BuildRequest{"", "", "", false, true}).verify);

  const BuildReply br = again(BuildReply{Status::Illegal, "no\xff utf-8", true, kernel, 0.25});
  EXPECT_EQ(br.status, Status::Illegal);
  EXPECT_EQ(br.message, "no\xff utf-8");
  EXPECT_TRUE(br.unknown);
  expect_same(br.built, kernel);
  EXPECT_EQ(br.seconds, 0.25);

  const RunRequest r = again(RunRequest{"hash", kernel, {}, true, 1e-3});
  expect_same(r.candidate, kernel);
  EXPECT_TRUE(r.reference.library.empty());
  EXPECT_TRUE(r.check);
  EXPECT_EQ(r.check_below, 1e-3);

  const RunReply rr = again(RunReply{Status::Wrong, "y[3]", {1e-3, 2e-6, 9e-4, 12}, true, 1e-5});
  EXPECT_EQ(rr.status, Status::Wrong);
  EXPECT_EQ(rr.timing.median, 1e-3);
  EXPECT_EQ(rr.timing.mad, 2e-6);
  EXPECT_EQ(rr.timing.min, 9e-4);
  EXPECT_EQ(rr.timing.repeats, 12);
  EXPECT_TRUE(rr.checked);
  EXPECT_EQ(rr.probe_seconds, 1e-5);

  const CompareRequest c = again(CompareRequest{{"a.so", "b.so"}, 2, 1.5, true});
  EXPECT_EQ(c.paths, (std::vector<std::string>{"a.so", "b.so"}));
  EXPECT_EQ(c.threads, 2);
  EXPECT_EQ(c.seconds, 1.5);
  EXPECT_TRUE(c.steps);

  const CompareReply cr = again(CompareReply{"why", {{{1, 2}, {3}}, {{}, {4, 5}}, {0, 1e-7}}});
  EXPECT_EQ(cr.failure, "why");
  EXPECT_EQ(cr.comparison.steps, (std::vector<std::vector<double>>{{1, 2}, {3}}));
  EXPECT_EQ(cr.comparison.runs, (std::vector<std::vector<double>>{{}, {4, 5}}));

  EXPECT_EQ(cr.comparison.deviation, (std::vector<double>{0, 1e-7}));

  EXPECT_EQ(again(Phase::Checking), Phase::Checking);
}

TEST(Protocol, DamagedPayloadsAreUserErrors) {
  std::mt19937_64 random(seed());
  const std::string good = encode(BuildReply{Status::Ok, "message", false, kernel, 0.25});
  BuildReply out;
  for (size_t n = 0; n < good.size(); ++n) {
    EXPECT_THROW(decode(std::string_view(good).substr(0, n), out), UserError) << n;
  }
  for (int i = 0; i < 3000; ++i) {
    std::string s = good;
    s[random() % s.size()] = static_cast<char>(random());
    try {
      decode(s, out);
    } catch (const UserError&) {
    }
  }
  RunReply r;
  EXPECT_THROW(decode(good, r), UserError);
  EXPECT_THROW(decode("", r), UserError);
}

}  // namespace
}  // namespace burnish::search
