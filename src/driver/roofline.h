// How long each kernel of a model must take at least on this machine, beside what it takes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "driver/peak.h"
#include "loop/touches.h"

namespace burnish {

// Seconds that the multiply-adds take, and that what must come through each level takes. The
// largest is the floor: all of them may overlap.
struct Floor {
  double compute = 0, l2 = 0, l3 = 0, memory = 0;

  double seconds() const;
  std::string_view bound() const;  // "compute", "L2", "L3", "memory"
};

// An argument comes from the innermost cache that is larger than the bytes touched since its last
// use, and passes all levels inside that one.
Floor floor_of(int64_t macs, std::span<const Touch> touches, const Roofs& roofs);

struct ProfiledKernel {
  size_t step = 0;
  std::string name;
  std::vector<std::string> sources;  // nodes of the model
  int64_t macs = 0, bytes = 0;
  Floor floor;
  double seconds = 0, least = 0;  // median and minimum of its runs

  double gap() const { return seconds - floor.seconds(); }
};

// Another engine's times, by bench/peer_profile.py.
struct PeerLayer {
  std::string name;
  std::vector<std::string> sources;
  double seconds = 0;
};
struct PeerProfile {
  std::string engine;
  int threads = 0;
  double run_seconds = 0;  // of a whole run, not profiled
  std::vector<PeerLayer> layers;
};

// UserError where the file is none of these.
std::vector<PeerProfile> read_peer_profiles(const std::filesystem::path& path);

// Kernels and a peer's layers that came from the same nodes. Engines fuse differently: kernels that
// share a layer, directly or through others, are compared together.
struct Match {
  std::vector<size_t> kernels;  // places in the list, in order
  double ours = 0, theirs = 0;  // seconds
};
struct PeerMatch {
  std::vector<Match> groups;
  std::vector<size_t> group_of;  // by kernel; npos: no layer belongs to it
  double unmatched = 0;  // seconds of layers that belong to no kernel: conversions of layouts
  static constexpr size_t npos = static_cast<size_t>(-1);
};
PeerMatch match(std::span<const ProfiledKernel> kernels, const PeerProfile& peer);

struct Roofline {
  std::string model, target;
  int threads = 1;
  double run_seconds = 0;  // of a whole run, not profiled: its median
  Roofs roofs;
  std::vector<ProfiledKernel> kernels;  // in the order of the run
  std::vector<PeerProfile> peers;
};

double sum_of_floors(const Roofline& r);
double sum_of_kernels(const Roofline& r);  // of their medians
double sum_of_least(const Roofline& r);
// Medians far above the least times: something else ran meanwhile, and the gaps are too large.
bool disturbed(const Roofline& r);
// Places of the kernels, the largest gap first.
std::vector<size_t> by_gap(const Roofline& r);

std::string roofline_text(const Roofline& r);  // a table
std::string roofline_json(const Roofline& r);  // one object
std::string roofline_html(const Roofline& r);  // a file that needs nothing else

}  // namespace burnish
