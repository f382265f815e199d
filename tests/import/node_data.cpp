#include "node_data.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "evaluate_graph.h"
#include "import/import.h"
#include "import/onnx/tensor.h"

namespace burnish::test {

namespace fs = std::filesystem;

namespace {

std::vector<TensorPtr> read_set(const fs::path& folder, const std::string& stem) {
  std::vector<TensorPtr> tensors;
  for (int i = 0;; ++i) {
    const fs::path file = folder / fmt::format("{}_{}.pb", stem, i);
    if (!fs::exists(file)) return tensors;
    tensors.push_back(onnx::parse_tensor(read_file(file), file.string()));
  }
}

// Empty when equal within ONNX's own tolerance.
std::string difference(const Tensor& got, const Tensor& want) {
  if (got.dtype != want.dtype)
    return fmt::format("type {} instead of {}", name_of(got.dtype), name_of(want.dtype));
  if (got.shape != want.shape)
    return fmt::format("shape {} instead of {}", shape_text(got.shape), shape_text(want.shape));
  for (int64_t i = 0; i < want.size(); ++i) {
    const Scalar a = got.get(i), b = want.get(i);
    bool same = a.i == b.i;
    if (is_float(want.dtype)) {
      const double tolerance = 1e-3 * std::abs(b.f) + 1e-7;
      same = a.f == b.f || (std::isnan(a.f) && std::isnan(b.f)) || std::abs(a.f - b.f) <= tolerance;
    }
    if (!same) {
      return is_float(want.dtype) ? fmt::format("element {} is {} instead of {}", i, a.f, b.f)
                                  : fmt::format("element {} is {} instead of {}", i, a.i, b.i);
    }
  }
  return "";
}

// Whether the first input is a shape or a bound rather than data: ConstantOfShape, Range, the
// windows.
bool decides_shape(const std::vector<TensorPtr>& inputs) {
  if (inputs.size() == 1) return is_int(inputs[0]->dtype) && inputs[0]->shape.size() <= 1;
  return std::all_of(inputs.begin(), inputs.end(),
                     [](const TensorPtr& t) { return t->shape.empty(); });
}

// What is handed to a compiled model, and what has to be known when it is compiled: shapes, axes
// and the like that the test passes as inputs. Nothing is a constant unless the import asks for it.
struct Imported {
  Graph graph;
  std::vector<size_t> fed;  // which of the test's inputs remain
};

Imported import_for(const fs::path& model, const std::vector<TensorPtr>& inputs) {
  const std::vector<DeclaredTensor> declared = declared_inputs(model);
  require(declared.size() >= inputs.size(), "{} inputs for {} declared ones", inputs.size(),
          declared.size());
  for (bool fixed : {false, true}) {
    ImportOptions options;
    Imported result;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (fixed && i > 0 && inputs[i]->shape.size() <= 1 && inputs[i]->size() <= 64) {
        options.constants[declared[i].name] = inputs[i];
      } else if (fixed && i == 0 && decides_shape(inputs)) {
        options.constants[declared[i].name] = inputs[i];
      } else {
        options.shapes[declared[i].name] = inputs[i]->shape;
        result.fed.push_back(i);
      }
    }
    try {
      result.graph = import_model(model, options);
      return result;
    } catch (const Unsupported&) {
      if (fixed) throw;
    }
  }
  fail_user("unreachable");
}

}  // namespace

NodeResult run_node_test(const fs::path& folder, bool compute) {
  try {
    std::vector<fs::path> sets;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.is_directory()) sets.push_back(entry.path());
    }
    std::sort(sets.begin(), sets.end());
    require(!sets.empty(), "there is no data");
    const std::vector<TensorPtr> first = read_set(sets[0], "input");
    const Imported imported = import_for(folder / "model.onnx", first);
    if (!compute) return {Outcome::Passed, ""};
    for (const fs::path& set : sets) {
      const std::vector<TensorPtr> want = read_set(set, "output");
      const std::vector<TensorPtr> all = read_set(set, "input");
      std::vector<TensorPtr> fed;
      for (size_t i : imported.fed) fed.push_back(all.at(i));
      const std::vector<TensorPtr> got = evaluate_graph(imported.graph, fed);
      require(got.size() == want.size(), "{} outputs instead of {}", got.size(), want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        const std::string text = difference(*got[i], *want[i]);
        if (!text.empty()) return {Outcome::Wrong, fmt::format("output {}: {}", i, text)};
      }
    }
    return {Outcome::Passed, ""};
  } catch (const Unsupported& e) {
    return {Outcome::Unsupported, e.what()};
  } catch (const UserError& e) {
    return {Outcome::Refused, e.what()};
  } catch (const InternalError& e) {
    return {Outcome::Wrong, e.what()};
  }
}

fs::path onnx_data_folder() {
  if (const char* given = std::getenv("BURNISH_ONNX_DATA")) return given;
  const fs::path lib = fs::path(BURNISH_SOURCE_DIR) / "build" / "venv" / "lib";
  if (!fs::exists(lib)) return {};
  for (const auto& python : fs::directory_iterator(lib)) {
    const fs::path data = python.path() / "site-packages" / "onnx" / "backend" / "test" / "data";
    if (fs::exists(data / "node")) return data;
  }
  return {};
}

std::vector<fs::path> node_tests(const fs::path& data, const std::string& kind) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(data / kind)) {
    if (entry.is_directory() && fs::exists(entry.path() / "model.onnx"))
      folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace burnish::test
