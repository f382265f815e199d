#include "loop/program.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace burnish {

std::string_view name_of(Scope s) {
  switch (s) {
  case Scope::Param: return "param";
  case Scope::Shared: return "shared";
  case Scope::Thread: return "thread";
  case Scope::Stack: return "stack";
  case Scope::Register: return "register";
  case Scope::Warp: return "warp";
  }
  return "?";
}

BufferId Function::add_buffer(Buffer b) {
  check(b.size >= 0, "buffer {} of {} elements", b.name, b.size);
  check(buffers.size() < std::numeric_limits<BufferId>::max(), "{} has too many buffers", name);
  BufferId id = BufferId(buffers.size());
  if (b.scope == Scope::Param) params.push_back(id);
  buffers.push_back(std::move(b));
  return id;
}

int64_t own_elements(const Buffer& b) {
  return b.pitch ? (b.size - b.run) / b.pitch * b.run + b.run : b.size;
}

Footprint footprint(const Buffer& b, int64_t first_byte) {
  int64_t bytes = size_of(b.dtype);
  return {first_byte, first_byte + b.size * bytes, b.run * bytes, b.pitch * bytes};
}

bool meet(const Footprint& a, const Footprint& b) {
  if (a.first >= b.last || b.first >= a.last) return false;
  if (a.pitch == 0 && b.pitch == 0) return true;
  if (a.pitch != 0 && b.pitch != 0 && a.pitch != b.pitch) return true;
  // Runs repeat alike: b's first one lies between two of a's, or not.
  int64_t pitch = std::max(a.pitch, b.pitch);
  int64_t run_a = a.pitch ? a.run : a.last - a.first, run_b = b.pitch ? b.run : b.last - b.first;
  int64_t from = floor_mod(b.first - a.first, pitch);
  return from < run_a || from + run_b > pitch;
}

VarId Function::fresh(std::string var_name) {
  check(vars.size() < std::numeric_limits<VarId>::max(), "{} has too many variables", name);
  vars.push_back(std::move(var_name));
  return VarId(vars.size() - 1);
}

}  // namespace burnish
