// What loading a library would make the system's loader do besides mapping it.
#pragma once

#include <burnish/artifact_format.h>

#include <string>

namespace burnish::runtime {

// A library of ours imports nothing and runs nothing while it is loaded: no needed libraries, no
// undefined symbols, no initialisers, no resolver functions, no relocated code. Returns "", or the
// end of the sentence "PATH ...".
std::string check_self_contained(std::span<const std::byte> file, const artifact::Layout& layout);

}  // namespace burnish::runtime
