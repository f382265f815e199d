// Branches. A guarded load is an instruction that compilers know nothing of: they may take it in front of the branch or loop that it stands in
// (NVRTC does). So it is given that branch's condition, too.
#include <fmt/format.h>

#include "target/c_like/printer.h"

namespace burnish::c_like {

void Printer::open_if(const std::string& condition) {
  out_ += fmt::format("{}{}\n", branch_mark, branches_.size());
  open_branches_.push_back({branches_.size(), true});
  branches_.push_back({fmt::format("{:{}}const bool branch_{} = {}({});\n", "", 2 * indent_, branches_.size(), d_.unknown, condition)});
  open(fmt::format("if ({}) {{", condition));
}
void Printer::open_else() {
  open_branches_.back().holds = false;
  --indent_;
  open("} else {");
}
void Printer::close_if() {
  open_branches_.pop_back();
  close();
}

std::string Printer::and_branches(std::string condition) {
  if (d_.unknown.empty()) return condition;
  for (const OpenBranch& b : open_branches_) {
    branches_[b.number].used = true;
    condition = fmt::format("({}) & {}branch_{}", condition, b.holds ? "" : "!", b.number);
  }
  return condition;
}

std::string Printer::take() {
  std::string all;
  size_t from = 0;
  for (size_t mark; (mark = out_.find(branch_mark, from)) != std::string::npos;) {
    all.append(out_, from, mark - from);
    from = out_.find('\n', mark) + 1;
    const Branch& b = branches_[std::stoul(out_.substr(mark + 1, from - mark - 2))];
    if (b.used) all += b.declaration;
  }
  return all.append(out_, from);
}

}  // namespace burnish::c_like
