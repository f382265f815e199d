// What writing and reading expressions share. Private to the text form.
#pragma once

#include <string_view>

#include "expr/expr.h"

namespace burnish {

struct Infix {
  BinaryOp op;
  std::string_view sign;
  int precedence;
};

inline constexpr Infix infixes[] = {
    {BinaryOp::Or, "|", 1},   {BinaryOp::Xor, "^", 2},  {BinaryOp::And, "&", 3},
    {BinaryOp::Eq, "==", 4},  {BinaryOp::Ne, "!=", 4},  {BinaryOp::Lt, "<", 5},
    {BinaryOp::Le, "<=", 5},  {BinaryOp::Gt, ">", 5},   {BinaryOp::Ge, ">=", 5},
    {BinaryOp::Shl, "<<", 6}, {BinaryOp::Shr, ">>", 6}, {BinaryOp::Add, "+", 7},
    {BinaryOp::Sub, "-", 7},  {BinaryOp::Mul, "*", 8},  {BinaryOp::Div, "/", 8},
};

inline const Infix* infix_of(BinaryOp op) {
  for (const Infix& i : infixes) {
    if (i.op == op) return &i;
  }
  return nullptr;
}

constexpr bool starts_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool continues_word(char c) { return starts_word(c) || is_digit(c); }

}  // namespace burnish
