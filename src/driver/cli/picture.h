// Pictures as inputs: PNG or JPEG, resized to the input's height and width.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace burnish::cli {

struct Picture {
  int height = 0, width = 0;
  std::vector<uint8_t> rgb;  // height * width * 3
};

constexpr int64_t most_pixels = int64_t{1} << 28;

// A JPEG is turned as its Exif data say. UserError: neither PNG nor JPEG, damaged, or more than most_pixels.
Picture read_picture(const std::filesystem::path& path);

struct PictureOptions {  // value = (byte - mean) * scale
  float mean[3] = {0, 0, 0};
  float scale[3] = {1, 1, 1};
  bool bgr = false;
};
// "mean=127.5,scale=0.0078,bgr"; mean and scale take one number, or three separated by '/'. UserError.
PictureOptions parse_picture_options(std::string_view text);

// Planes of height x width floats, red first unless bgr: linear interpolation between pixel centres along axes that
// grow, a triangle filter as wide as the step along those that shrink.
std::vector<float> to_planes(const Picture& p, int height, int width, const PictureOptions& options);

}  // namespace burnish::cli
