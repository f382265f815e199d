#include "base/error.h"

namespace burnish {

namespace {
// Contexts that are open on this thread, outermost first.
thread_local std::vector<std::string> open_contexts;
}  // namespace

ErrorContext::ErrorContext(std::string what) { open_contexts.push_back(std::move(what)); }
ErrorContext::~ErrorContext() { open_contexts.pop_back(); }

std::string with_context(std::string text) {
  for (auto it = open_contexts.rbegin(); it != open_contexts.rend(); ++it) {
    text += " (while " + *it + ")";
  }
  return text;
}

void throw_user(std::string text) { throw UserError(with_context(std::move(text))); }
void throw_unsupported(std::string text) { throw Unsupported(with_context(std::move(text))); }
void throw_internal(std::string text, std::source_location where) {
  std::string_view file = where.file_name();
  if (auto at = file.rfind("src/"); at != std::string_view::npos) file.remove_prefix(at);
  throw InternalError(
      with_context(fmt::format("internal error: {} [{}:{}]", text, file, where.line())));
}

}  // namespace burnish
