// Pieces of the text form that errors and the parser share with to_text. Private to src/loop.
#pragma once

#include <string>
#include <string_view>

#include "loop/program.h"

namespace burnish::loop {

// Words that begin a statement or a part of a function; buffers of these names are quoted.
inline constexpr std::string_view keywords[] = {
    "for",   "parallel", "unroll", "vectorize", "let",     "alloc", "if",  "else",
    "while", "barrier",  "call",   "vars",      "buffers", "in",    "func"};

// The statement's first line, for messages: "E[16*y + c] = X[c] + 1.0", "for y in 0..8".
std::string line_text(const Function& f, const StmtNode& s);

}  // namespace burnish::loop
