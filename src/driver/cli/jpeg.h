// JPEG to bytes: grey, RGB, YCC, CMYK and YCCK, turned as the camera says that they were taken.
#pragma once

#include <string>
#include <string_view>

#include "driver/cli/picture.h"

namespace burnish::cli {

// UserError: damaged, or more pixels than read_picture takes. `name` stands for the file in messages.
Picture read_jpeg(const std::string& bytes, const std::string& name);

// The orientation, 1 to 8, in an APP1 segment ("Exif", then a TIFF directory); 1, upright, where there is none.
int exif_orientation(std::string_view segment);

// A picture of that orientation, upright.
Picture upright(Picture p, int orientation);

}  // namespace burnish::cli
