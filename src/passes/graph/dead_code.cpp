// Drops nodes whose outputs nobody reads.
#include "passes/graph/passes.h"

namespace burnish {

Graph dead_code(const Graph& g, const Context&) { return without_dead_code(g); }

}  // namespace burnish
