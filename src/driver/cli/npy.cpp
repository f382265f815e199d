#include "driver/cli/npy.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/text.h"

namespace burnish::cli {

namespace {

constexpr std::pair<DType, std::string_view> codes[] = {
    {DType::Bool, "|b1"}, {DType::I8, "|i1"},  {DType::U8, "|u1"},  {DType::I16, "<i2"},
    {DType::U16, "<u2"},  {DType::I32, "<i4"}, {DType::U32, "<u4"}, {DType::I64, "<i8"},
    {DType::U64, "<u8"},  {DType::F16, "<f2"}, {DType::F32, "<f4"}, {DType::F64, "<f8"}};

// The text between the quotes or brackets after 'key': in the header's dictionary.
std::string_view field(std::string_view header, std::string_view key, char open, char close) {
  auto at = header.find(fmt::format("'{}'", key));
  if (at == std::string_view::npos) return {};
  at = header.find(open, header.find(':', at));
  if (at == std::string_view::npos) return {};
  auto end = header.find(close, at + 1);
  if (end == std::string_view::npos) return {};
  return header.substr(at + 1, end - at - 1);
}

template <class T>
T read(const Array& a, int64_t i) {
  T value;
  std::memcpy(&value, a.bytes.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

float bfloat_value(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

double half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double value = exponent == 31 ? (fraction ? NAN : INFINITY)
                 : exponent == 0 ? std::ldexp(fraction, -24)
                                 : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -value : value;
}

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

int64_t Array::size() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

double element(const Array& a, int64_t i) {
  switch (a.dtype) {
    case DType::Bool: return read<uint8_t>(a, i) != 0;
    case DType::I8: return read<int8_t>(a, i);
    case DType::U8: return read<uint8_t>(a, i);
    case DType::I16: return read<int16_t>(a, i);
    case DType::U16: return read<uint16_t>(a, i);
    case DType::I32: return read<int32_t>(a, i);
    case DType::U32: return read<uint32_t>(a, i);
    case DType::I64: return static_cast<double>(read<int64_t>(a, i));
    case DType::U64: return static_cast<double>(read<uint64_t>(a, i));
    case DType::F16: return half_value(read<uint16_t>(a, i));
    case DType::BF16: return bfloat_value(read<uint16_t>(a, i));
    case DType::TF32:
    case DType::F32: return read<float>(a, i);
    case DType::F64: return read<double>(a, i);
  }
  fail_unsupported("{} has no numbers", name_of(a.dtype));
}

Array bfloat_as_float(const Array& a) {
  Array w{DType::F32, a.shape, std::vector<std::byte>(static_cast<size_t>(a.size()) * sizeof(float))};
  for (int64_t i = 0; i < a.size(); ++i) {
    const float v = bfloat_value(read<uint16_t>(a, i));
    std::memcpy(w.bytes.data() + i * 4, &v, 4);
  }
  return w;
}

Array read_npy(const std::filesystem::path& path) {
  const std::string file = read_file(path, uint64_t{16} << 30);
  auto wrong = [&](std::string_view why) { fail_user("{} is not a .npy file that can be read: {}", path.string(), why); };
  if (file.size() < 10 || file.compare(0, 6, "\x93NUMPY") != 0) wrong("no NumPy signature");
  const int major = file[6];
  size_t length = 0, start = major == 1 ? 10 : 12;
  if (file.size() < start) wrong("truncated");
  if (major == 1) {
    uint16_t n;
    std::memcpy(&n, file.data() + 8, 2);
    length = n;
  } else {
    uint32_t n;
    std::memcpy(&n, file.data() + 8, 4);
    length = n;
  }
  if (length > file.size() - start) wrong("truncated header");
  const std::string_view header = std::string_view(file).substr(start, length);
  const std::string_view descr = field(header, "descr", '\'', '\'');
  Array a;
  bool known = false;
  for (auto& [t, code] : codes) {
    if (descr == code || (descr.size() == 3 && size_of(t) == 1 && descr.substr(1) == code.substr(1))) {
      a.dtype = t;
      known = true;
    }
  }
  if (!known) wrong(fmt::format("dtype '{}' is not supported", descr));
  if (header.find("'fortran_order': True") != std::string_view::npos) wrong("its order is Fortran's; save it with np.ascontiguousarray");
  int64_t count = 1;
  for (const std::string& part : split_text(field(header, "shape", '(', ')'), ',')) {
    const std::string_view digits = trim(part);
    if (digits.empty()) continue;
    int64_t d = 0;
    for (char c : digits) {
      if (c < '0' || c > '9' || d > (int64_t{1} << 40)) wrong("bad shape");
      d = d * 10 + (c - '0');
    }
    if (__builtin_mul_overflow(count, d, &count)) wrong("its shape overflows");
    a.shape.push_back(d);
  }
  const size_t data = file.size() - start - length;
  if (count < 0 || static_cast<uint64_t>(count) > data / size_of(a.dtype)) wrong("its data is shorter than its shape says");
  a.bytes.resize(static_cast<size_t>(count) * size_of(a.dtype));
  std::memcpy(a.bytes.data(), file.data() + start + length, a.bytes.size());
  return a;
}

std::string npy_text(DType t, const std::vector<int64_t>& shape, const void* data) {
  std::string_view code;
  for (auto& [d, c] : codes) {
    if (d == t) code = c;
  }
  require(!code.empty(), "NumPy has no {}", name_of(t));
  std::string dims;
  int64_t count = 1;
  for (int64_t d : shape) {
    dims += fmt::format("{}, ", d);
    count *= d;
  }
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", code, dims);
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string out = "\x93NUMPY";
  out += '\x01';
  out += '\0';
  put(out, static_cast<uint16_t>(header.size()));
  out += header;
  out.append(static_cast<const char*>(data), static_cast<size_t>(count) * size_of(t));
  return out;
}

// A zip archive whose entries are stored: local header and data of each, then the central directory.
void write_npz(const std::filesystem::path& path, const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out, directory;
  for (const auto& [name, data] : files) {
    require(data.size() < 0xffffffffu && out.size() < 0xffffffffu, "{} would be larger than a zip file may be; write a folder instead", path.string());
    const auto crc = static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(data.data()), data.size()));
    const uint32_t size = static_cast<uint32_t>(data.size()), at = static_cast<uint32_t>(out.size());
    std::string common;  // version, flags, method, time, date, crc, sizes, name length, extra length
    put(common, uint16_t{20});
    put(common, uint16_t{0});
    put(common, uint16_t{0});
    put(common, uint16_t{0});
    put(common, uint16_t{0x21});
    put(common, crc);
    put(common, size);
    put(common, size);
    put(common, static_cast<uint16_t>(name.size()));
    put(common, uint16_t{0});
    out += "PK\x03\x04" + common + name + data;
    directory += "PK\x01\x02";
    put(directory, uint16_t{20});
    directory += common;
    put(directory, uint16_t{0});
    put(directory, uint16_t{0});
    put(directory, uint16_t{0});
    put(directory, uint32_t{0});
    put(directory, at);
    directory += name;
  }
  const auto start = static_cast<uint32_t>(out.size());
  out += directory;
  out += "PK\x05\x06";
  put(out, uint32_t{0});
  put(out, static_cast<uint16_t>(files.size()));
  put(out, static_cast<uint16_t>(files.size()));
  put(out, static_cast<uint32_t>(directory.size()));
  put(out, start);
  put(out, uint16_t{0});
  write_file(path, out);
}

}  // namespace burnish::cli
