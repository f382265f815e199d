#include "driver/cli/picture.h"

#include <png.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "driver/cli/jpeg.h"

namespace burnish::cli {

namespace {

Picture read_png(const std::string& bytes, const std::string& name) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, bytes.data(), bytes.size())) {
    fail_user("cannot read {} as PNG: {}", name, image.message);
  }
  image.format = PNG_FORMAT_RGB;
  if (int64_t{image.width} * image.height > most_pixels) {
    png_image_free(&image);
    fail_user("{} has {}x{} pixels, more than can be read", name, image.width, image.height);
  }
  Picture p{static_cast<int>(image.height), static_cast<int>(image.width), {}};
  p.rgb.resize(PNG_IMAGE_SIZE(image));
  if (!png_image_finish_read(&image, nullptr, p.rgb.data(), 0, nullptr)) {
    fail_user("cannot read {} as PNG: {}", name, image.message);
  }
  return p;
}

// One axis of a resized picture: the pixels that one of its pixels is made of.
struct Taps {
  size_t first = 0;
  std::vector<float> weights;  // sum to 1
};

// A triangle around the pixel's centre, as wide as the step between centres, one pixel at least: where the picture
// grows, linear interpolation. What lies beyond the border has no weight.
std::vector<Taps> taps_of(int from, int to) {
  std::vector<Taps> taps(to);
  const double step = static_cast<double>(from) / to, radius = std::max(step, 1.0);
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * step - 0.5;
    const int first = std::max(static_cast<int>(std::floor(centre - radius)) + 1, 0);
    const int last = std::min(static_cast<int>(std::ceil(centre + radius)) - 1, from - 1);
    double sum = 0;
    for (int k = first; k <= last; ++k) sum += 1 - std::abs(k - centre) / radius;
    taps[i].first = static_cast<size_t>(first);
    for (int k = first; k <= last; ++k) {
      taps[i].weights.push_back(static_cast<float>((1 - std::abs(k - centre) / radius) / sum));
    }
  }
  return taps;
}

void parse_numbers(std::string_view text, float (&out)[3]) {
  const std::vector<std::string> parts = split_text(text, '/');
  require(parts.size() == 1 || parts.size() == 3, "'{}' should be one number or three separated by '/'", text);
  for (size_t i = 0; i < 3; ++i) {
    const std::string& part = parts[parts.size() == 1 ? 0 : i];
    auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), out[i]);
    require(error == std::errc() && end == part.data() + part.size(), "'{}' is not a number", part);
  }
}

}  // namespace

Picture read_picture(const std::filesystem::path& path) {
  const std::string bytes = read_file(path, uint64_t{1} << 30);
  if (bytes.starts_with("\x89PNG")) return read_png(bytes, path.string());
  require(bytes.starts_with("\xff\xd8"), "{} is neither PNG nor JPEG", path.string());
  return read_jpeg(bytes, path.string());
}

PictureOptions parse_picture_options(std::string_view text) {
  PictureOptions o;
  for (const std::string& part : split_text(text, ',')) {
    if (part == "bgr") {
      o.bgr = true;
    } else if (part.starts_with("mean=")) {
      parse_numbers(std::string_view(part).substr(5), o.mean);
    } else if (part.starts_with("scale=")) {
      parse_numbers(std::string_view(part).substr(6), o.scale);
    } else {
      fail_user("'{}' is no option of a picture: choose among mean=, scale= and bgr", part);
    }
  }
  return o;
}

// A picture that grows is interpolated between pixel centres; one that shrinks is averaged, so that every pixel counts.
std::vector<float> to_planes(const Picture& p, int height, int width, const PictureOptions& options) {
  std::vector<float> out(size_t{3} * height * width);
  const std::vector<Taps> rows = taps_of(p.height, height), columns = taps_of(p.width, width);
  std::vector<float> row(size_t{3} * p.width);
  for (int y = 0; y < height; ++y) {
    std::fill(row.begin(), row.end(), 0.f);
    for (size_t k = 0; k < rows[y].weights.size(); ++k) {
      const uint8_t* from = p.rgb.data() + (rows[y].first + k) * row.size();
      const float w = rows[y].weights[k];
      for (size_t i = 0; i < row.size(); ++i) row[i] += w * static_cast<float>(from[i]);
    }
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        float value = 0;
        for (size_t k = 0; k < columns[x].weights.size(); ++k) {
          value += columns[x].weights[k] * row[(columns[x].first + k) * 3 + c];
        }
        const int plane = options.bgr ? 2 - c : c;
        out[(size_t(plane) * height + y) * width + x] = (value - options.mean[plane]) * options.scale[plane];
      }
    }
  }
  return out;
}

}  // namespace burnish::cli
