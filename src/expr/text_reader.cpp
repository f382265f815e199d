// Tokens.
#include <array>
#include <charconv>

#include "expr/text.h"
#include "expr/text_tables.h"

namespace burnish {

namespace {

constexpr std::array<std::string_view, 9> long_punctuation = {
    "..", "==", "!=", "<=", ">=", "<<", ">>", "->", "+="};

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// What stands between the quotes of a token that `scan_quoted` accepted.
std::string unescaped(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\') {
      out += s[i];
    } else if (s[++i] == 'n') {
      out += '\n';
    } else if (s[i] == 'x') {
      out += static_cast<char>(hex_value(s[i + 1]) * 16 + hex_value(s[i + 2]));
      i += 2;
    } else {
      out += s[i];
    }
  }
  return out;
}

// Length of the quoted text at the start of `s`, quotes included; 0 when it does not end or has a
// bad escape.
size_t scan_quoted(std::string_view s) {
  for (size_t i = 1; i < s.size(); ++i) {
    if (s[i] == s[0]) return i + 1;
    if (s[i] == '\n') return 0;
    if (s[i] != '\\') continue;
    if (++i >= s.size()) return 0;
    if (s[i] == 'x') {
      if (i + 2 >= s.size() || hex_value(s[i + 1]) < 0 || hex_value(s[i + 2]) < 0) return 0;
      i += 2;
    } else if (s[i] != s[0] && s[i] != '\\' && s[i] != 'n') {
      return 0;
    }
  }
  return 0;
}

size_t scan_word(std::string_view s, size_t i) {
  while (i < s.size() &&
         (continues_word(s[i]) || (s[i] == '.' && i + 1 < s.size() && continues_word(s[i + 1])))) {
    ++i;
  }
  return i;
}

size_t scan_digits(std::string_view s, size_t i) {
  while (i < s.size() && is_digit(s[i])) ++i;
  return i;
}

size_t scan_number(std::string_view s) {
  size_t i = scan_digits(s, 0);
  if (i + 1 < s.size() && s[i] == '.' && is_digit(s[i + 1])) i = scan_digits(s, i + 1);
  if (i < s.size() && s[i] == 'e') {
    size_t j = i + 1;
    if (j < s.size() && (s[j] == '+' || s[j] == '-')) ++j;
    if (j < s.size() && is_digit(s[j])) i = scan_digits(s, j);
  }
  while (i < s.size() && continues_word(s[i])) ++i;  // the suffix
  return i;
}

// The #position that makes a name distinct.
size_t scan_position(std::string_view s, size_t i) {
  if (i + 1 < s.size() && s[i] == '#' && is_digit(s[i + 1])) return scan_digits(s, i + 1);
  return i;
}

}  // namespace

std::string plain_name(std::string_view text) {
  if (text.empty()) return {};
  if (text[0] == '\'') {
    size_t n = scan_quoted(text);
    return n < 2 ? std::string(text) : unescaped(text.substr(1, n - 2));
  }
  return std::string(text.substr(0, text.find('#')));
}

TextReader::TextReader(std::string_view text, std::string what)
    : text_(text), what_(std::move(what)) {
  advance();
}

void TextReader::fail_with(const std::string& text) const {
  fail_user("{}, line {}: {}", what_, token_line_, text);
}

void TextReader::skip_space() {
  while (at_ < text_.size()) {
    char c = text_[at_];
    if (c == '\n') ++line_;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      ++at_;
    } else if (text_.substr(at_, 2) == "//") {
      while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    } else {
      return;
    }
  }
}

void TextReader::advance() {
  skip_space();
  token_line_ = line_;
  std::string_view rest = text_.substr(at_);
  if (rest.empty()) {
    token_ = {Kind::End, "the end"};
    return;
  }
  size_t n = 1;
  Kind kind = Kind::Punct;
  if (starts_word(rest[0])) {
    kind = Kind::Word;
    n = scan_position(rest, scan_word(rest, 0));
  } else if (is_digit(rest[0])) {
    kind = Kind::Number;
    n = scan_number(rest);
  } else if (rest[0] == '\'' || rest[0] == '"') {
    kind = rest[0] == '"' ? Kind::String : Kind::Quoted;
    n = scan_quoted(rest);
    if (!n)
      fail("a quoted text that does not end on its line, or has an escape other than "
           "\\n, \\xHH and those of quote and backslash");
    if (kind == Kind::Quoted) n = scan_position(rest, n);
  } else {
    for (std::string_view p : long_punctuation) {
      if (rest.starts_with(p)) n = p.size();
    }
    auto c = static_cast<unsigned char>(rest[0]);
    if (c <= 0x20 || c >= 0x7f) fail("byte 0x{:02x} is not part of the text form", c);
  }
  token_ = {kind, rest.substr(0, n)};
  at_ += n;
}

bool TextReader::at(std::string_view token) const {
  return (token_.kind == Kind::Word || token_.kind == Kind::Punct) && token_.text == token;
}

bool TextReader::at_definition() {
  if (!at("%")) return false;
  TextReader ahead = *this;
  ahead.advance();
  if (ahead.token_.kind != Kind::Number) return false;
  ahead.advance();
  return ahead.at("=");
}

bool TextReader::accept(std::string_view token) {
  if (!at(token)) return false;
  advance();
  return true;
}

void TextReader::expect(std::string_view token) {
  if (!accept(token)) fail("expected '{}', found '{}'", token, found());
}

std::string TextReader::name(std::string_view what) {
  if (!at_name()) fail("expected {}, found '{}'", what, found());
  std::string out(token_.text);
  advance();
  return out;
}

std::string TextReader::word(std::string_view what) {
  if (token_.kind != Kind::Word) fail("expected {}, found '{}'", what, found());
  return name(what);
}

std::string TextReader::string() {
  if (token_.kind != Kind::String) fail("expected a text in double quotes, found '{}'", found());
  std::string out = unescaped(token_.text.substr(1, token_.text.size() - 2));
  advance();
  return out;
}

std::string_view TextReader::number() {
  if (!at_number()) fail("expected a number, found '{}'", found());
  std::string_view out = token_.text;
  advance();
  return out;
}

int64_t TextReader::integer(std::string_view what) {
  std::string digits = accept("-") ? "-" : "";
  if (!at_number()) fail("expected {}, found '{}'", what, found());
  digits += token_.text;
  int64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    fail("'{}' is not {} of 64 bits", digits, what);
  }
  advance();
  return value;
}

DType TextReader::dtype() {
  std::string name = word("a dtype");
  auto t = dtype_named(name);
  if (!t) fail("'{}' is not a dtype", name);
  return *t;
}

}  // namespace burnish
