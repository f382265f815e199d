// The page around reports: its style, and what they have in common.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/version.h"
#include "driver/report_parts.h"

namespace burnish::report {

namespace {

// Colours are chosen to stand apart for colour-blind readers, too; nothing is told by colour alone.
constexpr std::string_view style = R"(
:root{color-scheme:light dark;--paper:#fcfcfb;--ink:#1a1a19;--soft:#5f5e58;--line:#dddcd6;--band:#f2f1ed;
--main:#2a6fc9;--other:#b8480f;--good:#1a7a3c}
@media(prefers-color-scheme:dark){:root{--paper:#1a1a19;--ink:#efeee9;--soft:#a9a89f;--line:#3b3a37;--band:#252523;
--main:#6ba5f0;--other:#f08a55;--good:#63c783}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .25rem;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.5rem 0 .25rem}
h3{font-size:.85rem;margin:0;overflow-wrap:anywhere}
p,.note{color:var(--soft);margin:.25rem 0 .75rem;max-width:60rem}
.result{font-size:1.25rem;color:var(--ink)}.result b{color:var(--good)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1rem 0}dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.85rem}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child,.left{text-align:left}thead th{vertical-align:bottom;white-space:normal;line-height:1.25;font-weight:600;color:var(--soft)}
tbody th{font-weight:600}tbody tr:hover{background:var(--band)}caption{text-align:left;color:var(--soft);padding:.25rem 0}
small{display:block;color:var(--soft);font-weight:400;max-width:22rem;white-space:normal;overflow-wrap:anywhere}
.yes{color:var(--good);font-weight:600}.bar{display:inline-block;height:.6em;background:var(--main);margin-right:.5em}
.many{display:grid;grid-template-columns:repeat(auto-fill,minmax(16rem,1fr));gap:1rem}figure{margin:0}
figcaption{color:var(--soft);font-size:.8rem}
svg{display:block;width:100%;height:auto;font-size:10px}svg text{fill:var(--soft)}svg .mark{fill:var(--ink)}
.big svg{max-width:56rem;font-size:11px}.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,27rem));gap:1.5rem}
.grid{stroke:var(--line)}.tick,.axis{stroke:var(--soft);fill:none}
.best{stroke:var(--main);stroke-width:2;fill:none}.default{stroke:var(--other);stroke-dasharray:5 3;stroke-width:1.5;fill:none}
.trials{stroke:var(--soft);stroke-width:2.5;stroke-linecap:round;stroke-opacity:.45;fill:none}
.roof{stroke:var(--soft);stroke-width:1.5;fill:none}.move{stroke:var(--main);stroke-opacity:.5;fill:none}
.before{fill:var(--paper);stroke:var(--other);stroke-width:1.5}.after{fill:var(--main);stroke:var(--paper)}
.cell{fill:var(--main)}
details{margin:.5rem 0}summary{cursor:pointer}
)";

// Nothing may be loaded or run, whatever a model's names are.
constexpr std::string_view policy = "default-src 'none'; style-src 'unsafe-inline'";

}  // namespace

std::string entry(std::string_view term, std::string_view value) {
  return value.empty() ? "" : fmt::format("<dt>{}</dt><dd>{}</dd>", escaped(term), escaped(value));
}

std::string cell(std::string_view html, std::string_view css) {
  return css.empty() ? fmt::format("<td>{}</td>", html)
                     : fmt::format("<td class=\"{}\">{}</td>", css, html);
}

std::string heads(std::initializer_list<std::string_view> names) {
  std::string out = "<thead><tr>";
  for (std::string_view n : names) out += fmt::format("<th scope=\"col\">{}</th>", n);
  return out + "</tr></thead>";
}

// The nodes of a kernel that runs often are many.
std::string sources_text(const std::vector<std::string>& sources) {
  constexpr size_t most = 4;
  const std::vector<std::string> first(
      sources.begin(),
      sources.begin() + static_cast<std::ptrdiff_t>(std::min(most, sources.size())));
  std::string text = join(first, ", ");
  if (sources.size() > most) text += fmt::format(" and {} more", sources.size() - most);
  return text;
}

std::string page(std::string_view title, std::string_view header, std::string_view main) {
  return fmt::format("<!DOCTYPE html>\n<html lang=\"en\" "
                     "xmlns=\"http://www.w3.org/1999/xhtml\"><head><meta charset=\"utf-8\"/>\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                     "<title>{}</title>\n<style>{}</style></head>\n<body>\n<header>{}</header>\n"
                     "<main>\n{}</main>\n<footer><p>burnish {}</p></footer>\n</body></html>\n",
                     policy, escaped(title), style, header, main, version_text);
}

}  // namespace burnish::report
