// Builds programs to libraries, loads them, and runs them beside the interpreter.
#pragma once

#include <burnish/abi.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "loop/program.h"
#include "target/target.h"

namespace burnish::target_test {

// A model library, mapped by the system's loader.
class Library {
 public:
  explicit Library(const std::string& bytes);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  const burnish_entry& entry() const { return *entry_; }
  const std::string& path() const { return path_; }

  // Runs with inputs, then outputs; `steps_marked` collects what `mark` reports.
  int32_t run(const Program& p, const Target& t, const std::vector<void*>& tensors, unsigned threads,
              std::vector<uint32_t>* steps_marked = nullptr) const;

 private:
  std::string path_;
  void* handle_ = nullptr;
  const burnish_entry* entry_ = nullptr;
};

// One step that calls `f`; its parameters are the program's inputs and outputs in order.
Program program_of(const Function& f);

// Random bytes that are numbers of the type, floats in [-2, 2], integers small.
std::vector<std::byte> random_values(DType t, int64_t size, std::mt19937_64& random);

// Interpreter and native code on the same random inputs, for each of `targets` and thread counts. `tolerance` is
// relative to the larger of 1 and the value; integers must be equal. The interpreter's own types are used.
void expect_same(const Function& f, double tolerance = 1e-5,
                 const std::vector<std::string>& targets = {"llvm:cpu=x86-64", "llvm:cpu=x86-64-v3", "native"});
void expect_same(std::string_view text, double tolerance = 1e-5);

uint64_t seed();

}  // namespace burnish::target_test
