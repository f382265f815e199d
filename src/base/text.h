// Small helpers on text and whole files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace burnish {

std::vector<std::string> split_text(std::string_view text, char separator);
std::string_view trim(std::string_view text);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// The shortest decimal text that reads back as the same value. "inf", "-inf", "nan" for the others.
std::string number_text(double value);

// The value of an environment variable; empty where it is not set.
std::string environment(const char* name);

// Reads a whole file. UserError when it cannot be read or is larger than `limit` bytes.
std::string read_file(const std::filesystem::path& path, uint64_t limit = uint64_t{1} << 40);

// Writes a whole file or none: temporary file beside it, fsync, rename. UserError when that fails.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// 64-bit FNV-1a of bytes, for names of cached things and hashes in text; not for security.
uint64_t hash_bytes(std::string_view bytes, uint64_t seed = 0xcbf29ce484222325u);

}  // namespace burnish
