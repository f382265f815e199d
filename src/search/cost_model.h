// A learned cost of candidates: trained on what was measured, asked for the order of what was not.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "search/task.h"

namespace burnish::search {

// A fixed number of figures about one lowered candidate; the same for every task and target.
using Features = std::vector<float>;
const std::vector<std::string>& feature_names();
Features features_of(const Function& f, const Machine& m, double draft_us);

struct Sample {
  Features features;
  double seconds;    // of one run; infinite: the candidate failed
  uint32_t group;    // samples of one task: only these are compared with one another
  float weight = 1;  // of the group: its first sample's counts
};

// Transfer is training on everything: features mean the same in every task, and candidates are
// compared within theirs only, so earlier tasks teach what the task at hand has not shown yet. All
// of `local` (samples of the task at hand), then of the other groups of `earlier` an equal share,
// together at most `most` samples, at a lower weight: what was measured here counts more. With
// `local` empty this is the global model, which orders tasks that were never measured.
constexpr float transfer_weight = 0.5f;
std::vector<Sample> with_transfer(std::span<const Sample> local, std::span<const Sample> earlier,
                                  size_t most = 4000);

class CostModel {
 public:
  virtual ~CostModel() = default;
  virtual std::string_view name() const = 0;
  // Learns from all samples anew. The same samples in the same order give the same model. Untrained
  // afterwards when no two samples of a task differ. UserError with the library's words when it
  // fails.
  virtual void train(std::span<const Sample> samples) = 0;
  virtual bool trained() const = 0;
  // Higher is faster; comparable within one task.
  virtual std::vector<float> predict(std::span<const Features> candidates) const = 0;
  virtual std::string save() const = 0;           // bytes
  virtual void load(std::string_view bytes) = 0;  // UserError when they are none of this model's
};

// XGBoost's library, found at run time (BURNISH_XGBOOST, the system's, a Python package's). A
// reason when there is none.
Result<std::unique_ptr<CostModel>> make_xgboost(uint64_t seed);

}  // namespace burnish::search
