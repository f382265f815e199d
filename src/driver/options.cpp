#include "driver/options.h"

#include <sched.h>

#include <algorithm>
#include <thread>

#include "base/error.h"

namespace burnish {

namespace {

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

ImportOptions import_options(const CompileOptions& o) {
  ImportOptions i;
  for (const auto& [name, shape] : o.shapes) i.shapes[name] = shape;
  i.python = o.python_messages;
  return i;
}

std::shared_ptr<const Target> target_of(const CompileOptions& o) {
  require(o.threads >= 0 && o.threads <= 1024, "threads is {}: give 1 to 1024, or 0 for all CPUs", o.threads);
  return make_target(o.target, o.threads > 0 ? o.threads : available_cpus());
}

}  // namespace burnish
