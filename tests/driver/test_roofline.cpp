#include "driver/roofline.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "base/text.h"
#include "driver/html_fault.h"

namespace burnish {
namespace {

constexpr Roofs roofs{.macs_per_second = 50e9,
                      .bytes_per_second = 20e9,
                      .l2_bytes_per_second = 100e9,
                      .l3_bytes_per_second = 80e9,
                      .l1_bytes = 32 << 10,
                      .l2_bytes = 1 << 20,
                      .l3_bytes = 32 << 20};

TEST(Roofline, ArgumentsPassTheLevelsThatTheyComeFrom) {
  const std::vector<Touch> touches = {{1000, 1000},          // still in level 1
                                      {100'000, 200'000},    // in level 2
                                      {400'000, 5'000'000},  // in level 3
                                      {2'000'000, 100'000'000}};
  const Floor f = floor_of(1'000'000, touches, roofs);
  EXPECT_DOUBLE_EQ(f.compute, 1e6 / 50e9);
  EXPECT_DOUBLE_EQ(f.l2, 2.5e6 / 100e9);
  EXPECT_DOUBLE_EQ(f.l3, 2.4e6 / 80e9);
  EXPECT_DOUBLE_EQ(f.memory, 2e6 / 20e9);
  EXPECT_DOUBLE_EQ(f.seconds(), f.memory);
  EXPECT_EQ(f.bound(), "memory");
  EXPECT_EQ(floor_of(1'000'000'000, touches, roofs).bound(), "compute");
  EXPECT_EQ(floor_of(0, std::vector<Touch>{{100'000, 200'000}}, roofs).bound(), "L2");
}

TEST(Roofline, WhatIsNotKnownBoundsNothing) {
  const std::vector<Touch> touches = {{1000, 1'000'000'000}};
  EXPECT_EQ(floor_of(0, touches, {}).seconds(), 0);
  const Roofs no_caches{.bytes_per_second = 20e9};
  EXPECT_EQ(floor_of(0, touches, no_caches).seconds(), 0);
  // No level 3: what level 2 does not hold comes from memory.
  Roofs two = roofs;
  two.l3_bytes = 0;
  two.l3_bytes_per_second = 0;
  EXPECT_EQ(floor_of(0, std::vector<Touch>{{400'000, 5'000'000}}, two).bound(), "memory");
}

ProfiledKernel kernel(size_t step, std::vector<std::string> sources, double seconds) {
  return {.step = step,
          .name = "k" + std::to_string(step),
          .sources = std::move(sources),
          .macs = 100'000,
          .bytes = 4096,
          .floor = {.compute = seconds / 4},
          .seconds = seconds,
          .least = seconds};
}

TEST(Roofline, LayersGoToTheKernelsOfTheirNodes) {
  const std::vector<ProfiledKernel> kernels = {kernel(0, {"a", "b"}, 1), kernel(1, {"c"}, 2),
                                               kernel(2, {"d"}, 3), kernel(3, {"e"}, 4)};
  const PeerProfile peer{.engine = "p",
                         .threads = 1,
                         .run_seconds = 9,
                         .layers = {{"a", {"a"}, 10},
                                    {"b", {"b"}, 20},
                                    {"c+d", {"c", "d"}, 40},
                                    {"reorder", {}, 80},
                                    {"unknown", {"z"}, 160}}};
  const PeerMatch m = match(kernels, peer);
  ASSERT_EQ(m.groups.size(), 2u);
  EXPECT_EQ(m.groups[m.group_of[0]].theirs, 30);
  EXPECT_EQ(m.group_of[1], m.group_of[2]);
  EXPECT_EQ(m.groups[m.group_of[1]].theirs, 40);
  EXPECT_EQ(m.groups[m.group_of[1]].ours, 5);
  EXPECT_EQ(m.group_of[3], PeerMatch::npos);
  EXPECT_EQ(m.unmatched, 240);
}

TEST(Roofline, KernelsOfOneNodeAreComparedTogether) {
  const std::vector<ProfiledKernel> kernels = {kernel(0, {"a"}, 1), kernel(1, {"a", "b"}, 2),
                                               kernel(2, {"c"}, 4)};
  const PeerProfile peer{
      .engine = "p", .threads = 1, .run_seconds = 9, .layers = {{"a", {"a"}, 10}, {"c", {"c"}, 20}}};
  const PeerMatch m = match(kernels, peer);
  ASSERT_EQ(m.groups.size(), 2u);
  EXPECT_EQ(m.groups[m.group_of[0]].kernels, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(m.groups[m.group_of[0]].ours, 3);
  EXPECT_EQ(m.groups[m.group_of[0]].theirs, 10);
  EXPECT_EQ(m.groups[m.group_of[2]].theirs, 20);
  EXPECT_EQ(m.unmatched, 0);
}

TEST(Roofline, NothingIsLostInRandomMatches) {
  const uint32_t seed = 7;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 50; ++round) {
    std::vector<ProfiledKernel> kernels;
    std::vector<std::string> nodes;
    for (size_t k = 0; k < 1 + random() % 8; ++k) {
      std::vector<std::string> sources;
      for (size_t i = 0; i < 1 + random() % 3; ++i) {
        // Some nodes have become several kernels.
        const bool shared = !nodes.empty() && random() % 4 == 0;
        if (!shared) nodes.push_back("n" + std::to_string(nodes.size()));
        sources.push_back(shared ? nodes[random() % nodes.size()] : nodes.back());
      }
      kernels.push_back(kernel(k, sources, 1 + double(random() % 100)));
    }
    PeerProfile peer{.engine = "p", .layers = {}};
    double all = 0;
    for (int l = 0; l < 10; ++l) {
      PeerLayer layer{.name = "l", .sources = {}, .seconds = 1 + double(random() % 100)};
      for (size_t i = 0; i < random() % 3; ++i)
        layer.sources.push_back(nodes[random() % nodes.size()]);
      all += layer.seconds;
      peer.layers.push_back(std::move(layer));
    }
    const PeerMatch m = match(kernels, peer);
    double theirs = m.unmatched;
    for (const Match& g : m.groups) {
      theirs += g.theirs;
      double ours = 0;
      for (const size_t k : g.kernels) {
        ours += kernels[k].seconds;
        EXPECT_EQ(&m.groups[m.group_of[k]], &g);
      }
      EXPECT_DOUBLE_EQ(g.ours, ours);
    }
    EXPECT_DOUBLE_EQ(theirs, all);
  }
}

Roofline plausible() {
  Roofline r{.model = "m.onnx",
             .target = "llvm:cpu=znver4,threads=2",
             .threads = 2,
             .run_seconds = 11e-3,
             .roofs = roofs,
             .kernels = {},
             .peers = {}};
  for (size_t k = 0; k < 12; ++k)
    r.kernels.push_back(kernel(k, {"node" + std::to_string(k)}, 1e-4 * double(k + 1)));
  r.kernels[3].floor = {.memory = 5e-4};  // above what was measured: caches kept it
  r.peers.push_back(
      {.engine = "other",
       .threads = 2,
       .run_seconds = 12e-3,
       .layers = {{"x", {"node1", "node2"}, 7e-4}, {"y", {"node5"}, 5e-4}, {"z", {}, 1e-4}}});
  return r;
}

TEST(Roofline, TextHasTheLargestGapFirstAndTheSums) {
  const std::string text = roofline_text(plausible());
  EXPECT_LT(text.find("k11: node11"), text.find("k10: node10"));
  EXPECT_NE(
      text.find("12 kernels: floors 2.350 ms, measured 7.800 ms, a whole run 11.000 ms, 2 threads"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("700.0/2"), std::string::npos) << text;
  EXPECT_NE(text.find("other: 3 layers 1.300 ms (0.100 ms of them belong to no kernel)"),
            std::string::npos)
      << text;
}

TEST(Roofline, SaysWhenSomethingElseRan) {
  Roofline r = plausible();
  EXPECT_EQ(roofline_text(r).find("not quiet"), std::string::npos);
  for (ProfiledKernel& k : r.kernels) k.least = k.seconds / 2;
  EXPECT_NE(roofline_text(r).find("least times are 3.900 ms"), std::string::npos);
  const std::string html = roofline_html(r);
  EXPECT_NE(html.find("was not quiet"), std::string::npos);
  EXPECT_EQ(fault_of(html), "");
}

TEST(Roofline, JsonAddsUp) {
  const auto j = nlohmann::json::parse(roofline_json(plausible()));
  double floors = 0, seconds = 0;
  for (const auto& k : j["kernels"]) {
    floors += k["floor_seconds"].get<double>();
    seconds += k["seconds"].get<double>();
  }
  EXPECT_DOUBLE_EQ(j["floor_seconds"].get<double>(), floors);
  EXPECT_DOUBLE_EQ(j["kernel_seconds"].get<double>(), seconds);
  EXPECT_EQ(j["kernels"][2]["peers"]["other"]["steps"], nlohmann::json({1, 2}));
  EXPECT_FALSE(j["kernels"][0].contains("peers"));
}

TEST(Roofline, HtmlIsWellFormedAndLoadsNothing) {
  const std::string html = roofline_html(plausible());
  EXPECT_EQ(fault_of(html), "");
  for (const char* part : {"Roofline of m.onnx", "7.800 ms in 12 kernels", "2.350 ms", "<svg",
                           "other", "for 2 kernels"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  for (const char* part : {"<script", " src=", "href=", "url(", "@import", "nan", "inf\""})
    EXPECT_EQ(html.find(part), std::string::npos) << part;
}

TEST(Roofline, NamesCannotBecomeMarkup) {
  const std::string evil = "</td><script>alert(\"1\")</script>&nbsp;\x01\xff'";
  Roofline r = plausible();
  r.model = r.target = r.kernels[0].name = r.peers[0].engine = evil;
  r.kernels[11].sources = {evil};
  const std::string html = roofline_html(r);
  EXPECT_EQ(fault_of(html), "");
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_TRUE(nlohmann::json::accept(roofline_json(r)));
}

TEST(Roofline, NoKernelsIsNoFault) {
  EXPECT_EQ(fault_of(roofline_html({})), "");
  EXPECT_NO_THROW(static_cast<void>(roofline_text({})));
}

TEST(Roofline, FilesOfOtherThingsAreRefused) {
  const TemporaryFolder folder;
  const auto path = folder.path / "peers.json";
  for (const char* text :
       {"no JSON", "{}", R"({"threads": 1e300, "engines": {}})", R"({"threads": 0, "engines": {}})",
        R"({"threads": 4097, "engines": {}})", R"({"threads": 18446744073709551615, "engines": {}})",
        R"({"threads": 1, "engines": {"x": {"run_seconds": "long", "layers": []}}})",
        R"({"threads": 1, "engines": {"x": {"run_seconds": 1, "layers": [{"name": 3}]}}})"}) {
    write_file(path, text);
    EXPECT_THROW(read_peer_profiles(path), UserError) << text;
  }
  write_file(path, R"({"threads": 2, "engines": {"x": {"run_seconds": 1.5, "layers": [
      {"name": "l", "sources": ["a"], "seconds": 0.5}]}}})");
  const auto all = read_peer_profiles(path);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].engine, "x");
  EXPECT_EQ(all[0].threads, 2);
  EXPECT_EQ(all[0].layers.at(0).sources, std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace burnish
