// Searching for faster code, as Python sees it.
#pragma once

#include <nanobind/nanobind.h>

namespace burnish::python {

void bind_tuning(nanobind::module_& module);

}  // namespace burnish::python
