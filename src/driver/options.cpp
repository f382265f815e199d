#include "driver/options.h"

#include <burnish/runtime.h>

#include "base/error.h"

namespace burnish {

ImportOptions import_options(const CompileOptions& o) {
  ImportOptions i;
  for (const auto& [name, shape] : o.shapes) i.shapes[name] = shape;
  i.python = o.python_messages;
  return i;
}

std::shared_ptr<const Target> target_of(const CompileOptions& o) {
  require(o.threads >= 0 && o.threads <= 1024, "threads is {}: give 1 to 1024, or 0 for all CPUs", o.threads);
  std::string text = o.target.empty() ? "native" : o.target;
  if (!o.precision.empty()) text += (text.find(':') == text.npos ? ":" : ",") + ("precision=" + o.precision);
  return make_target(text, o.threads > 0 ? o.threads : static_cast<int>(burnish_cpu_count()));
}

}  // namespace burnish
