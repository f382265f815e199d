// Other engines' times by layer, and which kernels they belong to.
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "driver/roofline.h"

namespace burnish {

std::vector<PeerProfile> read_peer_profiles(const std::filesystem::path& path) {
  const std::string text = read_file(path, uint64_t{64} << 20);
  std::vector<PeerProfile> all;
  try {
    const auto root = nlohmann::json::parse(text);
    const auto& given = root.at("threads");
    const int64_t threads = given.is_number_integer() ? given.get<int64_t>() : 0;
    require(threads >= 1 && threads <= 4096,
            "{} is no profile of bench/peer_profile.py: \"threads\" is no number from 1 to 4096",
            path.string());
    for (const auto& [engine, json] : root.at("engines").items()) {
      PeerProfile p{.engine = engine,
                    .threads = static_cast<int>(threads),
                    .run_seconds = json.at("run_seconds").get<double>(),
                    .layers = {}};
      for (const auto& layer : json.at("layers")) {
        p.layers.push_back({.name = layer.at("name").get<std::string>(),
                            .sources = layer.at("sources").get<std::vector<std::string>>(),
                            .seconds = layer.at("seconds").get<double>()});
      }
      all.push_back(std::move(p));
    }
  } catch (const nlohmann::json::exception& e) {
    fail_user("{} is no profile of bench/peer_profile.py: {}", path.string(), e.what());
  }
  return all;
}

PeerMatch match(std::span<const ProfiledKernel> kernels, const PeerProfile& peer) {
  // Sets of kernels and layers, joined by the nodes that they came from.
  const size_t n = kernels.size();
  std::vector<size_t> parent(n + peer.layers.size());
  std::iota(parent.begin(), parent.end(), size_t{0});
  const auto root = [&](size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  std::map<std::string_view, size_t> owner;
  for (size_t k = 0; k < n; ++k) {
    for (const std::string& s : kernels[k].sources) {
      const auto [it, is_new] = owner.emplace(s, k);
      // Kernels of one node are compared together.
      if (!is_new) parent[root(k)] = root(it->second);
    }
  }
  for (size_t l = 0; l < peer.layers.size(); ++l) {
    for (const std::string& s : peer.layers[l].sources) {
      if (const auto it = owner.find(s); it != owner.end()) parent[root(n + l)] = root(it->second);
    }
  }
  PeerMatch m;
  m.group_of.assign(n, PeerMatch::npos);
  std::map<size_t, Match> groups;
  std::map<size_t, bool> matched;
  for (size_t k = 0; k < n; ++k) {
    Match& g = groups[root(k)];
    g.kernels.push_back(k);
    g.ours += kernels[k].seconds;
  }
  for (size_t l = 0; l < peer.layers.size(); ++l) {
    const auto it = groups.find(root(n + l));
    if (it == groups.end()) {
      m.unmatched += peer.layers[l].seconds;
      continue;
    }
    it->second.theirs += peer.layers[l].seconds;
    matched[it->first] = true;
  }
  for (auto& [at, group] : groups) {
    if (!matched[at]) continue;
    for (const size_t k : group.kernels) m.group_of[k] = m.groups.size();
    m.groups.push_back(std::move(group));
  }
  return m;
}

}  // namespace burnish
