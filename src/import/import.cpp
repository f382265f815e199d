#include "import/import.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <new>
#include <utility>

#include "base/error.h"
#include "import/onnx/importer.h"
#include "import/onnx/inputs.h"
#include "import/onnx/model_file.h"
#include "onnx.pb.h"

namespace burnish {

namespace {

using Imported = std::pair<Graph, std::vector<UnsupportedOp>>;

// An error says what is wrong with one node or input. Gaps, which no other shape and no repair of
// the file would close, are looked for then, and go first.
template <class F>
auto gaps_first(onnx::Importer& importer, const onnx_pb::ModelProto& model, F import)
    -> decltype(import()) {
  try {
    return import();
  } catch (const UserError&) {
    importer.find_unknown_operators(model);
    if (importer.gaps().empty()) throw;
    return {{}, importer.gaps()};
  } catch (const Unsupported& e) {
    importer.find_unknown_operators(model);
    if (importer.gaps().empty()) throw;
    throw Unsupported(fmt::format("{}; and {}", e.what(), unsupported_text(importer.gaps())));
  }
}

Imported import_bytes(std::string_view bytes, std::string_view name,
                      const std::filesystem::path& folder, const ImportOptions& options) {
  const ErrorContext context(fmt::format("importing {}", name));
  try {
    const auto model = onnx::parse_model(bytes, name);
    onnx::Importer importer(folder, options);
    return gaps_first(importer, *model, [&] {
      Graph graph = importer.run(*model);
      return std::pair{std::move(graph), importer.gaps()};
    });
  } catch (const std::bad_alloc&) {
    fail_user("there is not enough memory for the model");
  }
}

[[noreturn]] void throw_gaps(std::string_view name, const std::vector<UnsupportedOp>& gaps) {
  throw Unsupported(fmt::format("{}: {}", name, unsupported_text(gaps)));
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

}  // namespace

Graph import_model(std::string_view bytes, std::string_view name,
                   const std::filesystem::path& folder, const ImportOptions& options) {
  auto [graph, gaps] = import_bytes(bytes, name, folder, options);
  if (!gaps.empty()) throw_gaps(name, gaps);
  return std::move(graph);
}

Graph import_model(const std::filesystem::path& file, const ImportOptions& options) {
  const onnx::MappedFile mapped(file, options.max_file_bytes);
  return import_model(mapped.bytes(), file.string(), folder_of(file), options);
}

std::vector<DeclaredTensor> declared_inputs(const std::filesystem::path& file,
                                            const ImportOptions& options) {
  const onnx::MappedFile mapped(file, options.max_file_bytes);
  const ErrorContext context(fmt::format("reading {}", file.string()));
  return onnx::declared_inputs(onnx::parse_model(mapped.bytes(), file.string())->graph());
}

std::optional<ModelOutline> outline_of_open_model(std::string_view bytes, std::string_view name,
                                                  const std::filesystem::path& folder,
                                                  const ImportOptions& options) {
  const ErrorContext context(fmt::format("reading {}", name));
  const auto model = onnx::parse_model(bytes, name);
  onnx::Importer importer(folder, options);
  using Outlined = std::pair<std::optional<ModelOutline>, std::vector<UnsupportedOp>>;
  auto [outline, gaps] = gaps_first(importer, *model, [&]() -> Outlined {
    auto found = importer.outline(*model);
    return {std::move(found), importer.gaps()};
  });
  if (!gaps.empty()) throw_gaps(name, gaps);
  return std::move(outline);
}

std::optional<ModelOutline> outline_of_open_model(const std::filesystem::path& file,
                                                  const ImportOptions& options) {
  const onnx::MappedFile mapped(file, options.max_file_bytes);
  return outline_of_open_model(mapped.bytes(), file.string(), folder_of(file), options);
}

std::vector<UnsupportedOp> find_unsupported(const std::filesystem::path& file,
                                            const ImportOptions& options) {
  const onnx::MappedFile mapped(file, options.max_file_bytes);
  return import_bytes(mapped.bytes(), file.string(), folder_of(file), options).second;
}

std::string unsupported_text(const std::vector<UnsupportedOp>& ops) {
  constexpr size_t shown = 8;
  size_t nodes = 0;
  std::string lines;
  for (const UnsupportedOp& op : ops) {
    nodes += op.nodes.size();
    const std::vector<std::string> first(
        op.nodes.begin(),
        op.nodes.begin() + static_cast<std::ptrdiff_t>(std::min(shown, op.nodes.size())));
    lines += fmt::format("\n  {} ({}x): {}; {}{}", op.op, op.nodes.size(), op.reason,
                         fmt::join(first, ", "), op.nodes.size() > shown ? ", …" : "");
  }
  return fmt::format("{} of its nodes cannot be compiled:{}", nodes, lines);
}

}  // namespace burnish
