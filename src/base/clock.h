// Time that passes, whatever is done to the clock on the wall.
#pragma once

#include <chrono>

namespace burnish {

using Clock = std::chrono::steady_clock;

// Seconds.
inline double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace burnish
