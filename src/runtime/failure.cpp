#include "failure.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace burnish::runtime {

namespace {
// A plain array: no destructor at thread exit, no allocation while an out-of-memory error is
// reported.
thread_local char text_of_last_error[2048];
}  // namespace

void fail(burnish_status status, const char* format, ...) {
  char text[2048];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  throw Failure{status, text};
}

const char* last_error() { return text_of_last_error; }

burnish_status set_last_error(burnish_status status, const char* text) {
  const std::size_t size = strnlen(text, sizeof text_of_last_error - 1);
  std::memcpy(text_of_last_error, text, size);
  text_of_last_error[size] = 0;
  return status;
}

}  // namespace burnish::runtime
