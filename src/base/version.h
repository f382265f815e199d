#pragma once

namespace burnish {
inline constexpr const char* version_text = "0.1.0";
}
