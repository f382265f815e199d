// Private to c_like: loops of blocks that lie inside of the image.
#pragma once

#include "loop/program.h"

namespace burnish::c_like {

Function with_inside_loops(const Function& f);

}  // namespace burnish::c_like
