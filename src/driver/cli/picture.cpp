#include "driver/cli/picture.h"

#include <jpeglib.h>
#include <png.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csetjmp>
#include <cstdio>

#include "base/error.h"
#include "base/text.h"

namespace burnish::cli {

namespace {

constexpr int64_t most_pixels = int64_t{1} << 28;

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

struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf escape;
  char text[JMSG_LENGTH_MAX] = "";
  bool too_large = false;
};

// libjpeg reports errors by longjmp: nothing here owns memory but `p`, which outlives the jump.
bool decode_jpeg(const std::string& bytes, Picture& p, JpegErrors& errors) {
  jpeg_decompress_struct info;
  info.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = [](j_common_ptr c) {
    auto* e = reinterpret_cast<JpegErrors*>(c->err);
    c->err->format_message(c, e->text);
    std::longjmp(e->escape, 1);
  };
  errors.manager.output_message = [](j_common_ptr c) {  // a warning: the picture is damaged, but readable
    c->err->format_message(c, reinterpret_cast<JpegErrors*>(c->err)->text);
  };
  jpeg_create_decompress(&info);
  if (setjmp(errors.escape)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_read_header(&info, TRUE);
  errors.too_large = int64_t{info.image_width} * info.image_height > most_pixels;
  if (errors.too_large) {
    p.height = static_cast<int>(info.image_height);
    p.width = static_cast<int>(info.image_width);
    jpeg_destroy_decompress(&info);
    return false;
  }
  info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&info);
  p.height = static_cast<int>(info.output_height);
  p.width = static_cast<int>(info.output_width);
  p.rgb.resize(size_t{3} * info.output_height * info.output_width);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = p.rgb.data() + size_t{3} * info.output_width * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
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
  Picture p;
  JpegErrors errors;
  const bool decoded = decode_jpeg(bytes, p, errors);
  require(!errors.too_large, "{} has {}x{} pixels, more than can be read", path.string(), p.width, p.height);
  require(decoded, "cannot read {} as JPEG: {}", path.string(), errors.text);
  if (*errors.text) spdlog::warn("{} is damaged: {}", path.string(), errors.text);
  return p;
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

std::vector<float> to_planes(const Picture& p, int height, int width, const PictureOptions& options) {
  std::vector<float> out(size_t{3} * height * width);
  const float step_y = static_cast<float>(p.height) / static_cast<float>(height);
  const float step_x = static_cast<float>(p.width) / static_cast<float>(width);
  for (int y = 0; y < height; ++y) {
    const float fy = std::clamp((static_cast<float>(y) + 0.5f) * step_y - 0.5f, 0.f, static_cast<float>(p.height - 1));
    const int y0 = static_cast<int>(fy), y1 = std::min(y0 + 1, p.height - 1);
    for (int x = 0; x < width; ++x) {
      const float fx = std::clamp((static_cast<float>(x) + 0.5f) * step_x - 0.5f, 0.f, static_cast<float>(p.width - 1));
      const int x0 = static_cast<int>(fx), x1 = std::min(x0 + 1, p.width - 1);
      const float wy = fy - static_cast<float>(y0), wx = fx - static_cast<float>(x0);
      for (int c = 0; c < 3; ++c) {
        auto at = [&](int yy, int xx) { return static_cast<float>(p.rgb[(size_t(yy) * p.width + xx) * 3 + c]); };
        const float top = at(y0, x0) + (at(y0, x1) - at(y0, x0)) * wx;
        const float bottom = at(y1, x0) + (at(y1, x1) - at(y1, x0)) * wx;
        const int plane = options.bgr ? 2 - c : c;
        out[(size_t(plane) * height + y) * width + x] =
            (top + (bottom - top) * wy - options.mean[plane]) * options.scale[plane];
      }
    }
  }
  return out;
}

}  // namespace burnish::cli
