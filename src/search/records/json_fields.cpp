#include "search/records/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace burnish::search {

namespace {

constexpr int most_depth = 32;

bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > most_depth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

// Other languages write these for numbers that JSON has not.
bool at_non_number(std::string_view text, size_t byte) {
  const size_t start = byte < 4 ? 0 : byte - 4;
  const std::string_view near = text.substr(std::min(start, text.size()), 12);
  for (const char* word : {"NaN", "nan", "Inf", "inf", "-Inf", "-inf"}) {
    if (near.find(word) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

std::string shortened(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80)
    --most;  // whole characters
  return std::string(text.substr(0, most)) + "...";
}

std::string shown(const Json& value) {
  return shortened(value.dump(-1, ' ', true, Json::error_handler_t::replace));
}

Result<Json> parse_json(std::string_view text) {
  if (too_deep(text)) return refuse("nested more than {} deep", most_depth);
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::parse_error& e) {
    if (e.byte > text.size())
      return refuse("no whole JSON value: it ends too early, after {} bytes", text.size());
    if (at_non_number(text, e.byte))
      return refuse("NaN and infinity are no numbers (at byte {})", e.byte);
    if (std::string_view(e.what()).find("ill-formed UTF-8") != std::string_view::npos) {
      return refuse("not UTF-8 (at byte {})", e.byte);
    }
    return refuse("not JSON (at byte {})", e.byte);
  } catch (const Json::out_of_range&) {
    return refuse("a number is larger than a double holds");
  }
}

const Json& Fields::at(const char* name) const {
  const auto it = object.find(name);
  if (it == object.end()) throw BadField{fmt::format("the field \"{}\" is missing", name)};
  return *it;
}

std::string Fields::text(const char* name, size_t most) const {
  const Json& value = at(name);
  if (!value.is_string())
    throw BadField{fmt::format("\"{}\" is {}, which is no text", name, shown(value))};
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > most)
    throw BadField{fmt::format("\"{}\" has {} bytes, more than {}", name, text.size(), most)};
  if (text.find('\0') != std::string::npos)
    throw BadField{fmt::format("\"{}\" has a zero byte in it", name)};
  return text;
}

int64_t Fields::integer(const char* name, int64_t least, int64_t most) const {
  const Json& value = at(name);
  if (!value.is_number_integer())
    throw BadField{fmt::format("\"{}\" is {}, which is no integer", name, shown(value))};
  const bool fits =
      !value.is_number_unsigned() || value.get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
  if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most) {
    throw BadField{fmt::format("\"{}\" is {}, not from {} to {}", name, shown(value), least, most)};
  }
  return value.get<int64_t>();
}

uint64_t Fields::natural(const char* name) const {
  const Json& value = at(name);
  if (!value.is_number_unsigned())
    throw BadField{fmt::format("\"{}\" is {}, which is no natural number", name, shown(value))};
  return value.get<uint64_t>();
}

double Fields::number(const char* name) const {
  const Json& value = at(name);
  if (!value.is_number())
    throw BadField{fmt::format("\"{}\" is {}, which is no number", name, shown(value))};
  return value.get<double>();
}

bool Fields::flag(const char* name) const {
  const Json& value = at(name);
  if (!value.is_boolean())
    throw BadField{
        fmt::format("\"{}\" is {}, which is neither true nor false", name, shown(value))};
  return value.get<bool>();
}

}  // namespace burnish::search
