// Private to c_like: loads that a kernel's results need besides their sums, before those.
#pragma once

#include "loop/program.h"

namespace burnish::c_like {

Function with_early_loads(const Function& f);

}  // namespace burnish::c_like
