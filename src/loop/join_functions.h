// Several functions as one.
#pragma once

#include <span>
#include <string>

#include "loop/program.h"

namespace burnish {

// The bodies after one another, without barriers between them: of functions that do not depend on
// one another. Parameters are those of the first, then those of the second, and so on.
Function joined(std::span<const Function* const> functions, std::string name);

}  // namespace burnish
