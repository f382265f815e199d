// The few functions of XGBoost's C API that we use, from a library that is found when it is first
// needed: XGBoost is no dependency of Burnish, and both Debian's 1.7 and the 3.x of Python's
// packages serve.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace burnish::search {

struct XgboostLibrary {
  using Matrix = void*;
  using Booster = void*;

  std::string path;
  int major = 0, minor = 0, patch = 0;

  // All return 0, or -1 with the reason in last_error().
  const char* (*last_error)() = nullptr;
  int (*set_global_config)(const char* json) = nullptr;
  int (*matrix_create)(const float* data, uint64_t rows, uint64_t columns, float missing,
                       Matrix* out) = nullptr;
  int (*matrix_free)(Matrix) = nullptr;
  int (*matrix_set_float_info)(Matrix, const char* field, const float* values,
                               uint64_t n) = nullptr;
  int (*matrix_set_uint_info)(Matrix, const char* field, const unsigned* values,
                              uint64_t n) = nullptr;
  int (*booster_create)(const Matrix* matrices, uint64_t n, Booster* out) = nullptr;
  int (*booster_free)(Booster) = nullptr;
  int (*booster_set_param)(Booster, const char* name, const char* value) = nullptr;
  int (*booster_update)(Booster, int iteration, Matrix train) = nullptr;
  int (*booster_features)(Booster, uint64_t* out) = nullptr;
  int (*booster_predict)(Booster, Matrix, const char* json, const uint64_t** shape,
                         uint64_t* dimensions, const float** out) = nullptr;
  int (*booster_save)(Booster, const char* json, uint64_t* length, const char** bytes) = nullptr;
  int (*booster_load)(Booster, const void* bytes, uint64_t length) = nullptr;
};

// Where the library may be, likeliest first: BURNISH_XGBOOST alone when that is set, else the
// system's names, then Python's packages (beside this code, of the active virtual environment, on
// PYTHONPATH).
std::vector<std::string> xgboost_candidates();

// The first candidate that loads and has every function. The reason says what was tried and how to
// install it. The library stays loaded: its threads and destructors outlive any handle of ours.
Result<std::shared_ptr<const XgboostLibrary>> open_xgboost();

}  // namespace burnish::search
