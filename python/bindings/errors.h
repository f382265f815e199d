// The runtime's status codes as exceptions.
#pragma once

#include <burnish/error.h>
#include <burnish/runtime.h>

#include <new>
#include <string>

namespace burnish::python {

inline void check(burnish_status status) {
  switch (status) {
    case BURNISH_OK: return;
    case BURNISH_ERROR_USER:
    case BURNISH_ERROR_FAULT: throw UserError(burnish_last_error());
    case BURNISH_ERROR_UNSUPPORTED: throw Unsupported(burnish_last_error());
    case BURNISH_ERROR_MEMORY: throw std::bad_alloc();
    case BURNISH_ERROR_INTERNAL: throw InternalError(burnish_last_error());
  }
  throw InternalError("the runtime gave status " + std::to_string(static_cast<int>(status)));
}

}  // namespace burnish::python
