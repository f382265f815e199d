// The constants of a program as a library keeps them: one section.
#pragma once

#include <cstddef>
#include <vector>

#include "loop/program.h"

namespace burnish {

// InternalError for a constant whose place or bytes make no sense.
int64_t weights_bytes(const Program& p);
std::vector<std::byte> weights_of(const Program& p);

}  // namespace burnish
