// Errors. A message starts in lower case, names the values it is about, and says what to do.
// Three exceptions leave the compiler (include/burnish/error.h); a failure that callers expect (an illegal schedule step) is a Result instead.
#pragma once

#include <burnish/error.h>
#include <fmt/core.h>

#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace burnish {

// Adds "while <what>" to the messages of errors that are raised below it by fail_user and check.
class ErrorContext {
 public:
  explicit ErrorContext(std::string what);
  ~ErrorContext();
  ErrorContext(const ErrorContext&) = delete;
  ErrorContext& operator=(const ErrorContext&) = delete;
};

// The text with the contexts that are open on this thread: "text (while importing node conv1)".
std::string with_context(std::string text);

[[noreturn]] void throw_user(std::string text);
[[noreturn]] void throw_unsupported(std::string text);
[[noreturn]] void throw_internal(std::string text, std::source_location where);

template <class... Args>
[[noreturn]] void fail_user(fmt::format_string<Args...> text, Args&&... args) {
  throw_user(fmt::format(text, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void fail_unsupported(fmt::format_string<Args...> text, Args&&... args) {
  throw_unsupported(fmt::format(text, std::forward<Args>(args)...));
}

// A format string that remembers where it was written.
template <class... Args>
struct Located {
  fmt::format_string<Args...> text;
  std::source_location where;
  template <class S>
  consteval Located(const S& s, std::source_location at = std::source_location::current())
      : text(s), where(at) {}
};

// An invariant of our own code: InternalError when it does not hold.
template <class... Args>
void check(bool ok, Located<std::type_identity_t<Args>...> text, Args&&... args) {
  if (!ok) [[unlikely]] {
    throw_internal(fmt::format(text.text, std::forward<Args>(args)...), text.where);
  }
}

// A condition on what the user gave: UserError when it does not hold.
template <class... Args>
void require(bool ok, fmt::format_string<Args...> text, Args&&... args) {
  if (!ok) [[unlikely]] {
    throw_user(fmt::format(text, std::forward<Args>(args)...));
  }
}

// Why something that callers expect to fail sometimes was refused.
struct Reason {
  std::string text;
};

template <class... Args>
Reason refuse(fmt::format_string<Args...> text, Args&&... args) {
  return Reason{fmt::format(text, std::forward<Args>(args)...)};
}

struct Done {};

// A value, or the reason why there is none.
template <class T = Done>
class [[nodiscard]] Result {
 public:
  Result(T value) : v_(std::move(value)) {}
  Result(Reason reason) : v_(std::move(reason)) {}
  explicit operator bool() const { return v_.index() == 0; }
  bool ok() const { return v_.index() == 0; }
  const std::string& reason() const { return std::get<Reason>(v_).text; }
  T& value() { return std::get<T>(v_); }
  const T& value() const { return std::get<T>(v_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  // The value; an InternalError where the caller was sure that there is one.
  T expect(std::string_view what, std::source_location where = std::source_location::current()) {
    if (!ok()) throw_internal(fmt::format("{}: {}", what, reason()), where);
    return std::move(value());
  }

 private:
  std::variant<T, Reason> v_;
};

}  // namespace burnish
