// Transforms of Winograd convolution (Cook-Toom): F(m, r), m outputs of a correlation with r taps
// from m + r - 1 products.
//
//   y = At ((G g) * (Bt d))        g: r taps, d: m + r - 1 inputs, y: m outputs
//
// Polynomials are evaluated at m + r - 2 points and infinity. Lavin, Gray: Fast Algorithms for
// Convolutional Neural Networks; Barabasz et al.: Error Analysis and Improving the Accuracy of
// Winograd Convolution (the choice of points).
#pragma once

#include <cstdint>
#include <vector>

#include "te/evaluate.h"

namespace burnish::ops {

using Matrix = std::vector<std::vector<double>>;  // rows

struct WinogradTransforms {
  Matrix input;    // Bt, (m + r - 1) x (m + r - 1)
  Matrix weights;  // G,  (m + r - 1) x r
  Matrix output;   // At, m x (m + r - 1)
};

// For r = 3 and m = 2 (points 0, 1, -1) or 4 (0, +-sqrt(1/2), +-sqrt(2): less than half the error
// of 0, +-1, +-2).
WinogradTransforms winograd_transforms(int64_t m);

// The transformed weights G w Gt [i, j, k, c] of weights [c, k, 3, 3], f32; computed in fp64,
// rounded once.
TensorPtr winograd_weights(const Tensor& w, int64_t m);

}  // namespace burnish::ops
