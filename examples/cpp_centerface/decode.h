// From CenterFace's four maps to faces.
#pragma once

#include <array>
#include <span>
#include <vector>

struct Point {
  float x, y;
};

struct Face {
  float x1, y1, x2, y2;  // pixels of the network's input
  float score;           // 0..1
  std::array<Point, 5> landmarks;  // eyes, nose, corners of the mouth
};

// The outputs at a quarter of the input's size, each [channels, height, width]:
// heatmap 1, scale 2 (log of height and width in cells), offset 2 (y and x within the cell), landmarks 10 (y, x five times).
struct Maps {
  std::span<const float> heatmap, scale, offset, landmarks;
  int height, width;
};

// Faces with a score above `threshold`; of those that overlap by more than `overlap` (intersection over union) the best.
// Sorted by score, best first.
std::vector<Face> decode(const Maps& maps, float threshold = 0.5f, float overlap = 0.3f);
