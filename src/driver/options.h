// What compile() and tune() make of their options.
#pragma once

#include <burnish/compiler.h>

#include <memory>

#include "import/import.h"
#include "target/target.h"

namespace burnish {

ImportOptions import_options(const CompileOptions& o);
// The target for options.threads threads, or for all CPUs this process may use. UserError.
std::shared_ptr<const Target> target_of(const CompileOptions& o);

}  // namespace burnish
