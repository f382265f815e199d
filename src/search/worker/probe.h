// A fixed piece of work that is timed beside candidates: when its time changes, the machine did.
#pragma once

namespace burnish::search {

// Seconds of arithmetic in registers and of walking through memory, the best of three; takes about a tenth of a millisecond.
double probe();

}  // namespace burnish::search
