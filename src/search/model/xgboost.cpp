// The learned model: gradient-boosted trees with a pairwise rank objective (Burges 2010; as in
// AutoTVM, Chen et al. 2018). What is learned is which of two candidates of one task is faster, not
// how long either takes: times of different tasks need no common scale, and noise between near
// equals costs nothing.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>

#include "base/text.h"
#include "search/cost_model.h"
#include "search/model/relevance.h"
#include "search/model/xgboost_library.h"

namespace burnish::search {

namespace {

constexpr int rounds = 40;
constexpr std::string_view magic = "burnish xgboost model 1\n";

struct MatrixHandle {
  const XgboostLibrary& x;
  XgboostLibrary::Matrix handle = nullptr;
  explicit MatrixHandle(const XgboostLibrary& library) : x(library) {}
  MatrixHandle(const MatrixHandle&) = delete;
  MatrixHandle& operator=(const MatrixHandle&) = delete;
  ~MatrixHandle() {
    if (handle) x.matrix_free(handle);
  }
};

struct BoosterHandle {
  const XgboostLibrary& x;
  XgboostLibrary::Booster handle = nullptr;
  explicit BoosterHandle(const XgboostLibrary& library) : x(library) {}
  BoosterHandle(const BoosterHandle&) = delete;
  BoosterHandle& operator=(const BoosterHandle&) = delete;
  ~BoosterHandle() {
    if (handle) x.booster_free(handle);
  }
};

// Little-endian, whatever the machine.
void put_u64(std::string& out, uint64_t v) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(v >> (8 * i)));
}

uint64_t get_u64(std::string_view bytes) {
  uint64_t v = 0;
  for (int i = 7; i >= 0; --i) v = v << 8 | static_cast<unsigned char>(bytes[i]);
  return v;
}

// A model knows features by position: another list of names is another model.
uint64_t names_hash() { return hash_bytes(join(feature_names(), "\n")); }

class Xgboost final : public CostModel {
 public:
  Xgboost(std::shared_ptr<const XgboostLibrary> library, uint64_t seed)
      : x_(std::move(library)), seed_(seed) {}

  std::string_view name() const override { return "xgboost"; }
  bool trained() const override { return booster_ != nullptr; }

  void train(std::span<const Sample> samples) override {
    // XGBoost wants the samples of one group side by side; within a group their order stays.
    std::vector<size_t> order(samples.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return samples[a].group < samples[b].group; });
    const std::vector<float> relevance = relevance_of(samples);
    std::vector<float> data, labels, weights;
    std::vector<unsigned> groups;
    const size_t columns = feature_names().size();
    data.reserve(samples.size() * columns);
    for (size_t n = 0; n < order.size(); ++n) {
      const Sample& s = samples[order[n]];
      append(data, s.features);
      labels.push_back(relevance[order[n]]);
      if (n == 0 || samples[order[n - 1]].group != s.group) {
        groups.push_back(0);
        weights.push_back(s.weight);
      }
      ++groups.back();
    }
    if (std::adjacent_find(labels.begin(), labels.end(), std::not_equal_to<>()) == labels.end()) {
      booster_ = nullptr;  // nothing measured that differs: nothing to learn
      return;
    }
    MatrixHandle m(*x_);
    call(x_->matrix_create(data.data(), samples.size(), columns,
                           std::numeric_limits<float>::quiet_NaN(), &m.handle),
         "taking samples");
    call(x_->matrix_set_float_info(m.handle, "label", labels.data(), labels.size()),
         "taking labels");
    call(x_->matrix_set_uint_info(m.handle, "group", groups.data(), groups.size()),
         "taking groups");
    call(x_->matrix_set_float_info(m.handle, "weight", weights.data(), weights.size()),
         "taking weights");
    auto booster = std::make_unique<BoosterHandle>(*x_);
    call(x_->booster_create(&m.handle, 1, &booster->handle), "beginning a model");
    set_parameters(booster->handle);
    for (int i = 0; i < rounds; ++i)
      call(x_->booster_update(booster->handle, i, m.handle), "training");
    booster_ = std::move(booster);
  }

  std::vector<float> predict(std::span<const Features> candidates) const override {
    if (candidates.empty()) return {};
    require(trained(), "the model has not been trained: measure some candidates first");
    std::vector<float> data;
    const size_t columns = feature_names().size();
    data.reserve(candidates.size() * columns);
    for (const Features& f : candidates) append(data, f);
    MatrixHandle m(*x_);
    call(x_->matrix_create(data.data(), candidates.size(), columns,
                           std::numeric_limits<float>::quiet_NaN(), &m.handle),
         "taking candidates");
    const uint64_t* shape = nullptr;
    uint64_t dimensions = 0;
    const float* out = nullptr;
    call(
        x_->booster_predict(
            booster_->handle, m.handle,
            R"({"type": 1, "training": false, "iteration_begin": 0, "iteration_end": 0, "strict_shape": false})",
            &shape, &dimensions, &out),
        "predicting");
    uint64_t n = 1;
    for (uint64_t d = 0; d < dimensions; ++d) n *= shape[d];
    require(n == candidates.size(), "XGBoost ({}) predicted {} values for {} candidates", x_->path,
            n, candidates.size());
    return {out, out + n};
  }

  std::string save() const override {
    std::string out(magic);
    put_u64(out, names_hash());
    std::string_view payload;
    if (trained()) {
      uint64_t length = 0;
      const char* bytes = nullptr;
      call(x_->booster_save(booster_->handle, R"({"format": "ubj"})", &length, &bytes), "saving");
      payload = {bytes, length};
    }
    put_u64(out, payload.size());
    put_u64(out, hash_bytes(payload));
    out += payload;
    return out;
  }

  void load(std::string_view bytes) override {
    require(bytes.starts_with(magic),
            "not a saved cost model: it begins with other bytes than '{}'",
            magic.substr(0, magic.size() - 1));
    bytes.remove_prefix(magic.size());
    require(bytes.size() >= 24, "the saved cost model ends after {} bytes: train it anew",
            bytes.size() + magic.size());
    const uint64_t names = get_u64(bytes), size = get_u64(bytes.substr(8)),
                   hash = get_u64(bytes.substr(16));
    bytes.remove_prefix(24);
    require(
        names == names_hash(),
        "the saved cost model was trained on other features than this version's: train it anew");
    require(size == bytes.size() && hash == hash_bytes(bytes),
            "the saved cost model is damaged ({} bytes where {} were written, or changed ones): "
            "train it anew",
            bytes.size(), size);
    if (bytes.empty()) {
      booster_ = nullptr;
      return;
    }
    auto booster = std::make_unique<BoosterHandle>(*x_);
    call(x_->booster_create(nullptr, 0, &booster->handle), "beginning a model");
    call(x_->booster_load(booster->handle, bytes.data(), bytes.size()), "loading");
    // Loading may have started threads for itself; what follows runs on ours.
    call(x_->booster_set_param(booster->handle, "nthread", "1"), "setting nthread");
    uint64_t features = 0;
    call(x_->booster_features(booster->handle, &features), "counting features");
    require(features == feature_names().size(),
            "the saved cost model has {} features where {} are expected: train it anew", features,
            feature_names().size());
    booster_ = std::move(booster);
  }

 private:
  void call(int status, std::string_view doing) const {
    if (status == 0) return;
    const char* why = x_->last_error();
    std::string text = why ? why : "no reason given";
    // "[time] file:line: message", then a stack trace.
    text = std::string(trim(text.substr(0, text.find("Stack trace"))));
    std::replace(text.begin(), text.end(), '\n', ' ');
    fail_user("XGBoost {}.{}.{} ({}) failed while {}: {}", x_->major, x_->minor, x_->patch,
              x_->path, doing, text);
  }

  static void append(std::vector<float>& data, const Features& f) {
    check(f.size() == feature_names().size(), "a candidate has {} features where {} are expected",
          f.size(), feature_names().size());
    data.insert(data.end(), f.begin(), f.end());
  }

  void set_parameters(XgboostLibrary::Booster b) const {
    auto set = [&](const char* name, const std::string& value) {
      call(x_->booster_set_param(b, name, value.c_str()), fmt::format("setting {}", name));
    };
    set("booster", "gbtree");
    set("objective", "rank:pairwise");
    set("tree_method", "hist");
    set("nthread", "1");  // sums in one order: the same samples give the same model
    set("seed", std::to_string(seed_ & 0x7fffffff));
    set("max_depth", "6");
    set("max_bin", "64");
    set("eta", "0.2");
    set("min_child_weight", "1");
    set("lambda", "1");
    set("colsample_bytree", "0.3");  // many features say nearly the same
    if (x_->major >= 2) {
      // As 1.x does: every candidate against others taken at random, not the leaders against all.
      set("lambdarank_pair_method", "mean");
      set("lambdarank_num_pair_per_sample", "4");
      set("lambdarank_normalization", "false");
      set("lambdarank_score_normalization", "false");
    } else {
      set("num_pairsample", "4");
    }
  }

  std::shared_ptr<const XgboostLibrary> x_;
  uint64_t seed_;
  std::unique_ptr<BoosterHandle> booster_;
};

}  // namespace

Result<std::unique_ptr<CostModel>> make_xgboost(uint64_t seed) {
  auto library = open_xgboost();
  if (!library) return Reason{library.reason()};
  // No lines of its own on the user's terminal.
  (*library)->set_global_config(R"({"verbosity": 0})");
  return std::unique_ptr<CostModel>(std::make_unique<Xgboost>(*library, seed));
}

}  // namespace burnish::search
