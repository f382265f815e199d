// Executes loop programs directly: the definition of "correct". Checks every access against its
// buffer, every read against what has been written (buffers start poisoned), and parallel loops for
// races.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loop/program.h"

namespace burnish {

struct InterpretOptions {
  bool in_double =
      false;  // floats are computed and kept in fp64: buffers of float types hold doubles
  bool check_races = true;  // two iterations of a parallel loop touch one element, one of them
                            // writing: InternalError
  int64_t max_steps = int64_t{1} << 40;
};

// `args`: one a parameter, `size` elements of the buffer's dtype (F64 for float dtypes when
// in_double). InternalError: access outside a buffer, read of an element never written, race; names
// function and statement. A vectorized loop is executed as vector code does it: statement by
// statement, all lanes read before any writes.
void interpret(const Function& f, const std::vector<void*>& args,
               const InterpretOptions& options = {});

// `inputs`, `outputs`: dense row-major, in the program's order. Also InternalError: a step reads a
// place of the arena that another tensor has taken since, an output is not written whole, steps
// without a barrier between them race.
void interpret(const Program& p, const std::vector<const void*>& inputs,
               const std::vector<void*>& outputs, const InterpretOptions& options = {});

// Elements that a run stores to the first buffer of this name: tests count work with it (rows
// computed twice, warm-ups). Walks the loops without touching data; InternalError where the number
// depends on data.
int64_t count_stores(const Function& f, std::string_view buffer);

}  // namespace burnish
