// Whether a report is well-formed, for tests.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace burnish {

// Every element is closed in order, every attribute quoted, every & an entity that XML knows. Empty
// when all is well.
inline std::string fault_of(std::string_view html) {
  std::vector<std::string> open;
  size_t at = html.find('\n') + 1;  // after the document type
  while (at < html.size()) {
    if (html[at] == '&') {
      const std::string_view entity = html.substr(at, html.find(';', at) - at + 1);
      if (entity != "&lt;" && entity != "&gt;" && entity != "&amp;" && entity != "&quot;")
        return "entity " + std::string(entity.substr(0, 20));
    }
    if (html[at] == '>')
      return "a > in text: " + std::string(html.substr(at > 20 ? at - 20 : 0, 40));
    if (html[at] != '<') {
      ++at;
      continue;
    }
    const size_t end = html.find_first_of("<>", at + 1);
    if (end == std::string_view::npos || html[end] == '<')
      return "a tag without an end: " + std::string(html.substr(at, 40));
    const std::string_view tag = html.substr(at + 1, end - at - 1);
    const std::string name(tag.substr(0, tag.find_first_of(" \n")));
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return "quotes of " + std::string(tag);
    if (tag.starts_with("/")) {
      if (open.empty() || open.back() != tag.substr(1))
        return "closes " + std::string(tag) + (open.empty() ? "" : ", open is " + open.back());
      open.pop_back();
    } else if (!tag.ends_with("/")) {
      open.push_back(name);
      if (name == "style") {
        at = html.find("</style>", end);
        continue;
      }
    }
    at = end + 1;
  }
  return open.empty() ? "" : "open at the end: " + open.back();
}

}  // namespace burnish
