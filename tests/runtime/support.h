// Test models: compiled from C here, with the notes that the compiler would write.
#pragma once

#include <burnish/runtime.h>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace burnish::test {

using Bytes = std::vector<std::byte>;

// Metadata of models/affine.c and models/rounds.c, for this machine.
std::string affine_metadata();
std::string rounds_metadata();
std::string replaced(std::string text, const std::string& from, const std::string& to);

// models/<name>.c as a linked and stamped library.
Bytes compile_model(const std::string& name, const std::string& metadata,
                    const std::string& flags = "");
// What comes before "inputs" in the metadata of a library for this machine.
std::string metadata_head();
Bytes affine();
Bytes rounds();
// Writes other metadata over a library's own and stamps it.
Bytes with_metadata(Bytes library, const std::string& metadata);
void stamp(Bytes& library);

// A folder that goes away with the test.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void write_file(const std::string& path, std::span<const std::byte> bytes);
Bytes read_file(const std::string& path);

struct Release {
  void operator()(burnish_model* m) const { burnish_model_release(m); }
  void operator()(burnish_session* s) const { burnish_session_release(s); }
  void operator()(burnish_pool* p) const { burnish_pool_release(p); }
};
using ModelHandle = std::unique_ptr<burnish_model, Release>;
using SessionHandle = std::unique_ptr<burnish_session, Release>;
using PoolHandle = std::unique_ptr<burnish_pool, Release>;

// Fail the test when the runtime refuses.
ModelHandle load(std::span<const std::byte> library);
SessionHandle new_session(const ModelHandle& model, std::uint32_t threads,
                          burnish_pool* pool = nullptr, std::int32_t spin_us = 0, bool pin = false);
PoolHandle new_pool(std::uint32_t threads);

// The status and text with which loading is refused ("" when it is not).
struct Refusal {
  burnish_status status = BURNISH_OK;
  std::string text;
};
Refusal refusal(std::span<const std::byte> library);

// A run of models/rounds.c and what it must give.
std::vector<std::uint32_t> rounds_input(std::uint32_t seed);
std::vector<std::uint32_t> rounds_expected(const std::vector<std::uint32_t>& x);
// True when a run with this seed gives the expected values.
bool run_rounds(burnish_session* session, std::uint32_t seed);
// y of models/affine.c for x = 1..6 and k = 10.
std::vector<float> run_affine(const ModelHandle& model);

}  // namespace burnish::test
