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
  double seconds;      // of one run; infinite: the candidate failed
  uint32_t group;      // samples of one task: only these are compared with one another
};

class CostModel {
 public:
  virtual ~CostModel() = default;
  virtual std::string_view name() const = 0;
  // Learns from all samples anew. The same samples in the same order give the same model.
  virtual void train(std::span<const Sample> samples) = 0;
  virtual bool trained() const = 0;
  // Higher is faster; comparable within one task.
  virtual std::vector<float> predict(std::span<const Features> candidates) const = 0;
  virtual std::string save() const = 0;             // bytes
  virtual void load(std::string_view bytes) = 0;    // UserError when they are none of this model's
};

// XGBoost's library, found at run time (BURNISH_XGBOOST, the system's, a Python package's). A reason when there is none.
Result<std::unique_ptr<CostModel>> make_xgboost(uint64_t seed);

}  // namespace burnish::search
