#include "loop/program.h"

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

VarId Function::fresh(std::string var_name) {
  check(vars.size() < std::numeric_limits<VarId>::max(), "{} has too many variables", name);
  vars.push_back(std::move(var_name));
  return VarId(vars.size() - 1);
}

}  // namespace burnish
