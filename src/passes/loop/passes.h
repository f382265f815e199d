// The passes on programs, one file each under its name.
#pragma once

#include "loop/program.h"
#include "passes/context.h"

namespace burnish {

Program elide_copies(const Program& p, const Context& c);
Program join_steps(const Program& p, const Context& c);
Program drop_barriers(const Program& p, const Context& c);
Program plan_arena(const Program& p, const Context& c);
Program place_weights(const Program& p, const Context& c);

}  // namespace burnish
