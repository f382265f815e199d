// The exceptions of Burnish, shared by the compiler and by the C++ interface of the runtime.
// A message starts in lower case, names the values that it is about, and says what to do.
#ifndef BURNISH_ERROR_H
#define BURNISH_ERROR_H

#include <stdexcept>

namespace burnish {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The user's model, file or call is at fault.
struct UserError : Error {
  using Error::Error;
};

// A known gap, or a library for another CPU, ABI or system.
struct Unsupported : Error {
  using Error::Error;
};

// Burnish is at fault.
struct InternalError : Error {
  using Error::Error;
};

}  // namespace burnish
#endif
