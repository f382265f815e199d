// burnish._core: running compiled networks.
#include "model.h"

#include <nanobind/nanobind.h>

NB_MODULE(_core, module) {
  namespace nb = nanobind;
  using namespace burnish;
  module.doc() = "Running compiled networks: Burnish's runtime.";
  module.attr("__version__") = burnish_version();
  const auto error = nb::exception<Error>(module, "Error", PyExc_RuntimeError);
  nb::exception<UserError>(module, "UserError", error).attr("__doc__") =
      "The model, the file or the call is at fault; the message says what to do.";
  nb::exception<Unsupported>(module, "Unsupported", error).attr("__doc__") =
      "A known gap: an operator or attribute that is not supported, or a library for another CPU or ABI.";
  nb::exception<InternalError>(module, "InternalError", error).attr("__doc__") = "Burnish is at fault.";
  python::bind_model(module);
  python::bind_session(module);
  python::bind_timing(module);
}
