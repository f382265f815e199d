// From CenterFace's four output maps to faces.
#pragma once

#include <array>
#include <span>
#include <vector>

struct Point {
  float x, y;
};

struct Face {
  float x1, y1, x2, y2;            // pixels of the network's input
  float score;                     // 0 to 1
  std::array<Point, 5> landmarks;  // eyes, nose, corners of the mouth
};

// The outputs of the network, each `rows` x `columns` cells a channel, a quarter of the input's size.
struct Maps {
  std::span<const float> heat;       // 1 channel: how likely a face has its centre here
  std::span<const float> scale;      // 2: logarithm of height and width, in cells
  std::span<const float> offset;     // 2: of the centre within its cell, y and x
  std::span<const float> landmarks;  // 10: y and x of five points, in box heights and widths from its corner
  int rows, columns;
};

// Every cell above the threshold is a candidate; those that overlap a better one are dropped.
std::vector<Face> faces_of(const Maps& maps, float threshold = 0.5f, float overlap = 0.3f);
