// How far two right answers to one group may lie apart.
//
// Schedules change the order of sums, and where a product and a sum are rounded as one. An element that was summed over
// K terms, through all reductions on its way, is off by about eps * sqrt(K) of the size of its terms; elements near
// zero are small only because large terms cancelled, so the yardstick is the larger of the element and the root mean
// square of the tensor:
//
//   |got - expected| <= 64 * eps * sqrt(1 + K) * max(|expected|, rms)
//
// which is 8e-6 without sums and 3e-4 for 2048 terms of f32; with 16-bit floats in the group, 4 of their eps more. Wrong
// loops are off by about rms. NaN and infinities must be the same; integers, too.
// Where a formula makes steps (rounds a float, or makes an integer of it), a tiny difference can become a whole step:
// one element in 1000, and always one, may then be off by more.
#pragma once

#include "search/measure/messages.h"

namespace burnish::search {

// `factor_epsilon`: what factors of sums of products lose beyond their type (Machine), 16 of which are allowed.
Tolerance tolerance_of(const StageGroup& g, double factor_epsilon = 0);

}  // namespace burnish::search
