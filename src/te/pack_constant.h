// The bytes of a constant in the layout that a schedule wants.
#pragma once

#include <memory>
#include <vector>

#include "te/evaluate.h"

namespace burnish {

// Unused elements (padding) are zero.
std::shared_ptr<const std::vector<std::byte>> pack_constant(const Tensor& t, const Layout& layout);

}  // namespace burnish
