// The text form of expressions and indices, which the text forms of stages and loops are made of.
//
//   16*y + c - 3              an affine form
//   8*{y + 3 + (ids[i]) / 4 % 16}   an atom of an index: 8 * (((y + 3 + ids[i]) / 4) mod 16), floor
//   division X[y - 1, c else 0.0]      a load, with its fill; X:i8[...] where the dtype is not the
//   buffer's own [16*y + c]                an affine form as a value 1.5 -2i32 0.1f64 true inf
//   nan_f16    constants: f32 and i64 (no point, no exponent) carry no suffix a + b - c * d / e  ==
//   != < <= > >=  & ^ |  << >>    with the precedence that C gives them; & | also on bools max(a,
//   b) floormod(a, b) exp(a) select(c, a, b) f64(a) acc @name:f32(a, b)    other operations, casts,
//   calls %0 = exp(X[i])            definitions, written before what uses them: subexpressions that
//   occur more than once.
//                             An expression with much sharing therefore has a short text, and
//                             sharing is kept.
//
// Names that are no identifiers ([A-Za-z_][A-Za-z0-9_.]*) stand in single quotes. Space and line
// breaks are free; comments run from // to the end of the line.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "expr/expr.h"

namespace burnish {

// `name` as it stands in text: itself, or quoted when it is no identifier or one of `reserved` (may
// be empty).
std::string quoted_name(std::string_view name, std::span<const std::string_view> reserved = {});
// Names as they stand in text, one each, all different: those that occur twice get #position
// appended.
std::vector<std::string> distinct_names(const std::vector<std::string>& names,
                                        std::span<const std::string_view> reserved = {});
// Removes the #position that distinct_names appended; what TextReader::name gave becomes the name
// itself.
std::string plain_name(std::string_view text);

struct WriteNames {
  std::function<std::string(VarId)> var;      // as in text: quoted_name or distinct_names
  std::function<std::string(uint32_t)> from;  // the stage or buffer of a load
  std::function<DType(uint32_t)> from_dtype;
  DType acc = DType::F32;  // dtype of the accumulator that `acc` means without a suffix
};

std::string to_text(const Aff& a, const WriteNames& names);

// Writes expressions of one statement or stage.
class ExprWriter {
 public:
  explicit ExprWriter(WriteNames names) : names_(std::move(names)) {}
  // Looks for sharing in what will be written until the next call, and returns the definitions to
  // write before: one "%n = ..." each.
  std::vector<std::string> define(std::span<const Expr> exprs, std::span<const Index> indices = {});
  std::string text(const Expr& e) const { return text(e, 0); }
  std::string text(const Index& i) const;
  std::string text(const Aff& a) const { return to_text(a, names_); }

 private:
  std::string text(const Expr& e, int precedence) const;
  std::string node_text(const Expr& e, int precedence) const;
  WriteNames names_;
  std::unordered_map<const ExprNode*, int> number_;
};

// Definitions and expression on one line, separated by "; ".
std::string to_text(const Expr& e, const WriteNames& names);

// Reads tokens. Errors are UserErrors "<what>, line 3: expected ..., found ...".
class TextReader {
 public:
  TextReader(std::string_view text, std::string what);

  bool at_end() const { return token_.kind == Kind::End; }
  bool at(std::string_view token) const;  // a word or punctuation; quoted names are never words
  bool at_definition();                   // `%number =`
  bool at_name() const { return token_.kind == Kind::Word || token_.kind == Kind::Quoted; }
  bool at_number() const { return token_.kind == Kind::Number; }
  bool accept(std::string_view token);
  void expect(std::string_view token);
  std::string name(std::string_view what = "a name");  // as in text, quotes and #position included
  std::string word(std::string_view what);             // an unquoted word
  std::string string();                                // "text" with \" \\ \n \xHH
  int64_t integer(std::string_view what = "an integer");  // with an optional minus
  std::string_view number();                              // the literal with its suffix
  DType dtype();
  std::string_view found() const { return token_.text; }  // the token that stands next

  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) const {
    fail_with(fmt::format(text, std::forward<Args>(args)...));
  }
  [[noreturn]] void fail_with(const std::string& text) const;
  void require_that(bool ok, std::string_view text) const {
    if (!ok) fail("{}", text);
  }

 private:
  enum class Kind : uint8_t { Word, Quoted, Number, String, Punct, End };
  struct Token {
    Kind kind = Kind::End;
    std::string_view text;
  };
  void advance();
  void skip_space();

  std::string_view text_;
  std::string what_;
  size_t at_ = 0;
  int line_ = 1, token_line_ = 1;
  Token token_;
};

// "text" as TextReader::string reads it.
std::string string_text(std::string_view s);

struct ReadNames {
  std::function<std::optional<VarId>(std::string_view)> var;  // names as in text
  std::function<std::optional<std::pair<uint32_t, DType>>(std::string_view)> from;
  DType acc = DType::F32;
};

class ExprReader {
 public:
  // Text may come from anywhere: what the stack of a recursion over the expression can bear, and of
  // reading it.
  static constexpr int max_depth = 1000, max_nesting = 2000;

  ExprReader(TextReader& reader, ReadNames names) : in_(reader), names_(std::move(names)) {}
  void definitions();  // those that stand here
  void forget();       // definitions hold for one statement
  Expr expr();
  Index index();
  Aff aff();

 private:
  struct Sized {
    Expr e;
    int depth = 1;
  };
  struct SizedIndex {
    Index index;
    int depth = 0;
  };
  Sized binary_from(int precedence);
  Sized primary();
  Sized named();
  Sized number(bool negative);
  Sized literal(std::string_view text, bool negative);
  Sized load_from(const std::string& name, std::optional<DType> type);
  Sized make(BinaryOp op, Sized a, Sized b);
  Sized make(UnaryOp op, Sized a);
  std::vector<Sized> arguments(size_t count);
  SizedIndex sized_index();
  Atom atom(int& depth);
  void term(Index& out, int64_t sign, int& depth);
  int deeper(int depth) const;
  int64_t coefficient(int64_t sign);
  friend struct Nested;

  TextReader& in_;
  ReadNames names_;
  std::unordered_map<int64_t, Sized> defined_;
  int nesting_ = 0;
};

// Reads one expression with its definitions, and nothing after it.
Expr parse_expr(std::string_view text, const ReadNames& names);

}  // namespace burnish
