// Records for people: which ones to show, and their lines in tables.
#pragma once

#include <regex.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "search/records.h"

namespace burnish::cli {

// A POSIX extended regular expression. Unlike std::regex its depth does not grow with the text,
// which strangers wrote.
class Pattern {
 public:
  explicit Pattern(const std::string& text);  // CLI::ValidationError
  ~Pattern() { regfree(&compiled_); }
  Pattern(const Pattern&) = delete;
  bool matches(const std::string& text) const {
    return regexec(&compiled_, text.c_str(), 0, nullptr, 0) == 0;
  }

 private:
  regex_t compiled_;
};

// "conv_relu 1x16x16x16": the name and the output's shape, or the operator of another tool.
std::string task_name(const search::Record& r);

// Safe on a terminal, and at most `width` columns wide.
std::string printable(const std::string& text, size_t width);

std::string time_text(double seconds);  // 12.3 us
std::string date_text(int64_t when);    // 2026-11-23 02:47

// Columns as wide as their widest cell. The last one is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void print() const;
  size_t size() const { return rows_.size() - 1; }

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Targets are long: tables have their numbers, and a list follows.
class TargetNumbers {
 public:
  std::string number(const std::string& target);
  void print() const;

 private:
  std::vector<std::string> targets_;
};

}  // namespace burnish::cli
