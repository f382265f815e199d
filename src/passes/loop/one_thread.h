// Which steps threads do not share.
#pragma once

#include "loop/program.h"

namespace burnish {

// Whether thread 0 alone executes it: nothing in it is parallel.
bool on_one_thread(const Function& f);

}  // namespace burnish
