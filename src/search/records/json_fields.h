// Strict reading of JSON that strangers wrote: bounded, and every refusal says which field is wrong
// and what is in it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace burnish::search {

using Json = nlohmann::json;

// One value, nested at most 32 deep. A reason when it is no JSON.
Result<Json> parse_json(std::string_view text);

// A value's beginning, for messages.
std::string shortened(std::string_view text, size_t most = 60);
std::string shown(const Json& value);

// A field that is not as it should be. Caught where a line begins.
struct BadField {
  std::string reason;
};

struct Fields {
  const Json& object;

  const Json& at(const char* name) const;
  bool has(const char* name) const { return object.contains(name); }
  // Texts are UTF-8 without zero bytes, at most `most` bytes long.
  std::string text(const char* name, size_t most) const;
  int64_t integer(const char* name, int64_t least, int64_t most) const;
  uint64_t natural(const char* name) const;
  double number(const char* name) const;
  bool flag(const char* name) const;
};

}  // namespace burnish::search
