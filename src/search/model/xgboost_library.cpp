#include "search/model/xgboost_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace burnish::search {

namespace {

namespace fs = std::filesystem;

void add_if_present(std::vector<std::string>& out, const fs::path& packages) {
  const fs::path file = packages / "xgboost" / "lib" / "libxgboost.so";
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return;
  if (std::find(out.begin(), out.end(), file.string()) == out.end()) out.push_back(file.string());
}

// lib/python3.*/site-packages of a virtual environment or prefix.
void add_prefix(std::vector<std::string>& out, const std::string& prefix) {
  if (prefix.empty()) return;
  std::error_code error;
  std::vector<fs::path> versions;
  for (fs::directory_iterator i(fs::path(prefix) / "lib", error), end; !error && i != end;
       i.increment(error)) {
    if (i->path().filename().string().starts_with("python3")) versions.push_back(i->path());
  }
  std::sort(versions.rbegin(),
            versions.rend());  // newest first, and the same order on every file system
  for (const fs::path& v : versions) add_if_present(out, v / "site-packages");
}

// Burnish's Python package stands in site-packages; so does XGBoost's.
void add_neighbours(std::vector<std::string>& out) {
  Dl_info self{};
  if (!dladdr(reinterpret_cast<const void*>(&open_xgboost), &self) || !self.dli_fname) return;
  std::error_code error;
  fs::path folder = fs::weakly_canonical(self.dli_fname, error).parent_path();
  for (int up = 0; !error && up < 3 && folder.has_relative_path();
       ++up, folder = folder.parent_path()) {
    add_if_present(out, folder);
  }
}

template <class F> bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

Result<std::shared_ptr<const XgboostLibrary>> load(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* why = dlerror();
    return refuse("{}", why ? why : "cannot be loaded");
  }
  auto x = std::make_shared<XgboostLibrary>();
  x->path = path;
  void (*version)(int*, int*, int*) = nullptr;
  const char* missing = nullptr;
  auto need = [&](const char* name, auto& function) {
    if (!find(handle, name, function) && !missing) missing = name;
  };
  need("XGBoostVersion", version);
  need("XGBGetLastError", x->last_error);
  need("XGBSetGlobalConfig", x->set_global_config);
  need("XGDMatrixCreateFromMat", x->matrix_create);
  need("XGDMatrixFree", x->matrix_free);
  need("XGDMatrixSetFloatInfo", x->matrix_set_float_info);
  need("XGDMatrixSetUIntInfo", x->matrix_set_uint_info);
  need("XGBoosterCreate", x->booster_create);
  need("XGBoosterFree", x->booster_free);
  need("XGBoosterSetParam", x->booster_set_param);
  need("XGBoosterUpdateOneIter", x->booster_update);
  need("XGBoosterGetNumFeature", x->booster_features);
  need("XGBoosterPredictFromDMatrix", x->booster_predict);
  need("XGBoosterSaveModelToBuffer", x->booster_save);
  need("XGBoosterLoadModelFromBuffer", x->booster_load);
  if (missing) {
    dlclose(handle);
    return refuse("{} has no function {}: XGBoost 1.6 or newer is needed", path, missing);
  }
  version(&x->major, &x->minor, &x->patch);
  return std::shared_ptr<const XgboostLibrary>(std::move(x));
}

}  // namespace

std::vector<std::string> xgboost_candidates() {
  if (std::string given = environment("BURNISH_XGBOOST"); !given.empty()) return {given};
  std::vector<std::string> out = {"libxgboost.so", "libxgboost.so.0", "libxgboost.so.1"};
  add_neighbours(out);
  add_prefix(out, environment("VIRTUAL_ENV"));
  add_prefix(out, environment("CONDA_PREFIX"));
  for (const std::string& folder : split_text(environment("PYTHONPATH"), ':')) {
    if (!folder.empty()) add_if_present(out, folder);
  }
  return out;
}

Result<std::shared_ptr<const XgboostLibrary>> open_xgboost() {
  std::string tried;
  for (const std::string& path : xgboost_candidates()) {
    auto library = load(path);
    if (library) return library;
    tried += fmt::format("{}{}", tried.empty() ? "" : "; ", library.reason());
  }
  return refuse("no XGBoost library was found ({}); install it (Debian: apt install libxgboost0; "
                "Python: pip install "
                "xgboost) or set BURNISH_XGBOOST to the path of libxgboost.so",
                tried);
}

}  // namespace burnish::search
