#include "driver/cli/jpeg.h"

#include <jpeglib.h>
#include <spdlog/spdlog.h>

#include <csetjmp>
#include <cstdint>
#include <cstdio>

#include "base/error.h"

namespace burnish::cli {

namespace {

struct JpegErrors {
  jpeg_error_mgr manager;
  std::jmp_buf escape;
  char text[JMSG_LENGTH_MAX] = "";
  bool too_large = false;
};

// What a decoded file holds; `orientation` as Exif counts.
struct Decoded {
  Picture picture;
  int orientation = 1;
  bool cmyk = false, inverted = false;
};

// libjpeg reports errors by longjmp: nothing here owns memory but `d`, which outlives the jump.
bool decode(const std::string& bytes, Decoded& d, JpegErrors& errors) {
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
  jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&info, TRUE);
  Picture& p = d.picture;
  p.height = static_cast<int>(info.image_height);
  p.width = static_cast<int>(info.image_width);
  errors.too_large = int64_t{p.width} * p.height > most_pixels;
  if (errors.too_large) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  for (jpeg_saved_marker_ptr m = info.marker_list; m != nullptr; m = m->next) {
    const std::string_view segment(reinterpret_cast<const char*>(m->data), m->data_length);
    if (d.orientation == 1) d.orientation = exif_orientation(segment);
  }
  d.cmyk = info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK;
  d.inverted = info.saw_Adobe_marker;  // Adobe writes the light that is left, not the ink
  info.out_color_space = d.cmyk ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info);
  const size_t row_bytes = (d.cmyk ? size_t{4} : size_t{3}) * info.output_width;
  p.rgb.resize(row_bytes * info.output_height);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = p.rgb.data() + row_bytes * info.output_scanline;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

// Ink to light, in place: each of cyan, magenta and yellow takes its colour, black takes all.
void cmyk_to_rgb(std::vector<uint8_t>& bytes, bool inverted) {
  const size_t pixels = bytes.size() / 4;
  for (size_t i = 0; i < pixels; ++i) {
    const auto light = [&](size_t c) { return inverted ? bytes[4 * i + c] : 255 - bytes[4 * i + c]; };
    const int black = light(3);
    const uint8_t rgb[3] = {static_cast<uint8_t>((light(0) * black + 127) / 255),
                            static_cast<uint8_t>((light(1) * black + 127) / 255),
                            static_cast<uint8_t>((light(2) * black + 127) / 255)};
    std::copy(rgb, rgb + 3, bytes.begin() + static_cast<std::ptrdiff_t>(3 * i));
  }
  bytes.resize(3 * pixels);
}

// Numbers of a TIFF block, in its byte order; 0 beyond its end.
struct Tiff {
  std::string_view bytes;
  bool big_endian;

  uint32_t number(size_t at, int count) const {
    if (at > bytes.size() || bytes.size() - at < static_cast<size_t>(count)) return 0;
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) {
      const auto byte = static_cast<uint8_t>(bytes[at + static_cast<size_t>(big_endian ? i : count - 1 - i)]);
      value = value << 8 | byte;
    }
    return value;
  }
};

}  // namespace

int exif_orientation(std::string_view segment) {
  constexpr std::string_view head("Exif\0\0", 6);
  if (!segment.starts_with(head)) return 1;
  segment.remove_prefix(head.size());
  if (!segment.starts_with("II") && !segment.starts_with("MM")) return 1;
  const Tiff tiff{segment, segment[0] == 'M'};
  if (tiff.number(2, 2) != 42) return 1;
  const size_t directory = tiff.number(4, 4);
  const uint32_t entries = tiff.number(directory, 2);
  constexpr uint32_t orientation = 0x0112, short_type = 3;
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + size_t{12} * i;
    if (entry + 12 > segment.size()) break;
    if (tiff.number(entry, 2) != orientation || tiff.number(entry + 2, 2) != short_type) continue;
    const uint32_t value = tiff.number(entry + 8, 2);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Picture upright(Picture p, int orientation) {
  if (orientation <= 1 || orientation > 8) return p;
  const bool swapped = orientation >= 5;
  Picture out{swapped ? p.width : p.height, swapped ? p.height : p.width, {}};
  out.rgb.resize(p.rgb.size());
  // Where the row and the column of the upright picture run in the file's: backwards?
  const bool down = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const int row = swapped ? x : y, column = swapped ? y : x;
      const int from_row = down ? p.height - 1 - row : row, from_column = right ? p.width - 1 - column : column;
      const uint8_t* from = p.rgb.data() + (size_t(from_row) * p.width + from_column) * 3;
      std::copy(from, from + 3, out.rgb.data() + (size_t(y) * out.width + x) * 3);
    }
  }
  return out;
}

Picture read_jpeg(const std::string& bytes, const std::string& name) {
  Decoded d;
  JpegErrors errors;
  const bool decoded = decode(bytes, d, errors);
  require(!errors.too_large, "{} has {}x{} pixels, more than can be read", name, d.picture.width, d.picture.height);
  require(decoded, "cannot read {} as JPEG: {}", name, errors.text);
  if (*errors.text) spdlog::warn("{} is damaged: {}", name, errors.text);
  if (d.cmyk) cmyk_to_rgb(d.picture.rgb, d.inverted);
  return upright(std::move(d.picture), d.orientation);
}

}  // namespace burnish::cli
