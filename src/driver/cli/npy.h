// NumPy's array files: .npy read and written, .npz written (stored, not compressed).
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "expr/dtype.h"

namespace burnish::cli {

struct Array {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
  int64_t size() const;
};

// Element i as a number; bool is 0 or 1.
double element(const Array& a, int64_t i);
Array bfloat_as_float(const Array& a);

// UserError: not a .npy file, truncated, Fortran order, or a dtype that Burnish has not.
Array read_npy(const std::filesystem::path& path);
std::string npy_text(DType t, const std::vector<int64_t>& shape, const void* data);
void write_npz(const std::filesystem::path& path, const std::vector<std::pair<std::string, std::string>>& files);

}  // namespace burnish::cli
