// Fields of the metadata's JSON: every value checked as it is taken, every refusal named.
#pragma once

#include "failure.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace burnish::runtime {

using Json = nlohmann::json;

[[noreturn]] inline void damaged(const std::string& what) {
  fail(BURNISH_ERROR_USER, "has malformed metadata: %s; compile the model anew", what.c_str());
}

// A field of an object, with what a message needs to name it.
class Field {
 public:
  Field(const Json& object, const char* key, std::string where = {})
      : name_(where + '"' + key + '"') {
    const auto it = object.find(key);
    value_ = it == object.end() ? nullptr : &*it;
  }

  bool present() const { return value_ != nullptr; }
  const std::string& name() const { return name_; }

  std::uint64_t count(std::uint64_t limit) const {
    const Json& v = get();
    if (!v.is_number_unsigned()) damaged(name_ + " is not a whole number from 0 on");
    const auto n = v.get<std::uint64_t>();
    if (n > limit)
      damaged(name_ + " is " + std::to_string(n) + ", more than " + std::to_string(limit));
    return n;
  }

  std::string text() const { return text_of(get(), name_); }

  bool truth() const {
    const Json& v = get();
    if (!v.is_boolean()) damaged(name_ + " is neither true nor false");
    return v.get<bool>();
  }

  const Json& object() const {
    const Json& v = get();
    if (!v.is_object()) damaged(name_ + " is not an object");
    return v;
  }

  const Json& array() const {
    const Json& v = get();
    if (!v.is_array()) damaged(name_ + " is not a list");
    return v;
  }

  std::vector<std::string> texts() const {
    std::vector<std::string> out;
    for (const Json& v : array()) out.push_back(text_of(v, "an element of " + name_));
    return out;
  }

 private:
  static std::string text_of(const Json& v, const std::string& name) {
    if (!v.is_string()) damaged(name + " is not a text");
    const auto& text = v.get_ref<const std::string&>();
    if (text.find('\0') != std::string::npos) damaged(name + " contains a zero byte");
    return text;
  }
  const Json& get() const {
    if (!value_) damaged(name_ + " is missing");
    return *value_;
  }

  const Json* value_;
  std::string name_;
};

}  // namespace burnish::runtime
