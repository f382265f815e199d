// How failures travel inside the runtime: thrown as Failure, caught at the C interface by `guard`.
#pragma once

#include <burnish/runtime.h>

#include <exception>
#include <new>
#include <string>
#include <utility>

namespace burnish::runtime {

struct Failure {
  burnish_status status;
  std::string text;
};

// printf-style; the text starts in lower case and says what to do.
[[noreturn, gnu::format(printf, 2, 3)]] void fail(burnish_status status, const char* format, ...);

// What burnish_last_error() returns on this thread. Longer texts are cut. Allocates nothing.
const char* last_error();
burnish_status set_last_error(burnish_status status, const char* text);

// Runs a body of the C interface: whatever it throws becomes a status and a text.
template <class Body> burnish_status guard(Body&& body) noexcept {
  try {
    std::forward<Body>(body)();
    return BURNISH_OK;
  } catch (const Failure& f) {
    return set_last_error(f.status, f.text.c_str());
  } catch (const std::bad_alloc&) {
    return set_last_error(BURNISH_ERROR_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return set_last_error(BURNISH_ERROR_INTERNAL, e.what());
  }
}

}  // namespace burnish::runtime
