// What a library says about itself, before its code runs: the JSON of docs/artifact.md.
#pragma once

#include <string>

#include "loop/program.h"
#include "target/target.h"

namespace burnish {

std::string metadata_of(const Program& p, const Target& target);

}  // namespace burnish
