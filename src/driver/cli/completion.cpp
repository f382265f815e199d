// burnish completion bash|zsh: scripts that complete this program's command line, made from its own
// description of it.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/text.h"
#include "driver/cli/commands.h"

namespace burnish::cli {

namespace {

// What a shell has to know of an option or a positional argument.
struct Argument {
  std::vector<std::string> names;   // --output, -o; none for a positional
  std::vector<std::string> values;  // when there is a choice
  std::string help;
  bool takes_value = false, repeats = false;
};

struct Command {
  std::string path;  // "burnish records ls"
  std::string name, help;
  std::vector<Argument> arguments;
  std::vector<Command> commands;
};

// CLI11 keeps choices only in the type's text: TEXT:{graph,loops}
std::vector<std::string> values_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.find('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  return split_text(std::string_view(type).substr(open + 1, close - open - 1), ',');
}

Command described(const CLI::App& app, const std::string& before) {
  Command c{.path = before.empty() ? app.get_name() : before + " " + app.get_name(),
            .name = app.get_name(),
            .help = app.get_description()};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    Argument a{.values = values_of(*option), .help = option->get_description()};
    for (const auto& n : option->get_lnames()) a.names.push_back("--" + n);
    for (const auto& n : option->get_snames()) a.names.push_back("-" + n);
    a.takes_value = option->get_items_expected_max() > 0;
    a.repeats = option->get_items_expected_max() > 1;
    c.arguments.push_back(std::move(a));
  }
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!sub->get_group().empty()) c.commands.push_back(described(*sub, c.path));
  }
  return c;
}

void visit(const Command& c, const std::function<void(const Command&)>& f) {
  f(c);
  for (const Command& sub : c.commands) visit(sub, f);
}

// ---- bash

std::string bash_script(const Command& root) {
  std::string paths, values, words;
  visit(root, [&](const Command& c) {
    std::vector<std::string> plain, options, choices;
    for (const Command& sub : c.commands) {
      choices.push_back(sub.name);
      paths += fmt::format("{}'{}'", paths.empty() ? "" : " | ", sub.path);
    }
    for (const Argument& a : c.arguments) {
      options.insert(options.end(), a.names.begin(), a.names.end());
      if (a.names.empty()) choices.insert(choices.end(), a.values.begin(), a.values.end());
      if (a.names.empty() || !a.takes_value) continue;
      std::vector<std::string> cases;
      for (const std::string& n : a.names) cases.push_back(fmt::format("'{} {}'", c.path, n));
      if (a.values.empty()) {
        plain.insert(plain.end(), cases.begin(), cases.end());
      } else {
        values += fmt::format(
            "    {})\n      COMPREPLY=($(compgen -W '{}' -- \"$current\"))\n      return ;;\n",
            fmt::join(cases, " | "), fmt::join(a.values, " "));
      }
    }
    if (!plain.empty()) values += fmt::format("    {}) return ;;\n", fmt::join(plain, " | "));
    words += fmt::format("    '{}')\n      options='{}'\n      words='{}' ;;\n", c.path,
                         fmt::join(options, " "), fmt::join(choices, " "));
  });
  return fmt::format(R"(# Completes the command line of burnish in bash. Either
#   source <(burnish completion bash)
# in ~/.bashrc, or for good:
#   burnish completion bash > ~/.local/share/bash-completion/completions/burnish
# Where nothing is set here, files are completed.
_burnish() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
  local command=burnish options= words= i
  COMPREPLY=()
  # Readline makes three words of --option=value.
  if [[ $current == = ]]; then
    current=
  elif [[ $before == = ]] && ((COMP_CWORD > 1)); then
    before=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    case "$command ${{COMP_WORDS[i]}}" in
      {}) command="$command ${{COMP_WORDS[i]}}" ;;
    esac
  done
  case "$command $before" in
{}  esac
  case "$command" in
{}  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}}
complete -o bashdefault -o default -F _burnish burnish
)",
                     paths, values, words);
}

// ---- zsh

// Inside single quotes, inside a specification of _arguments or _describe.
std::string zsh_text(const std::string& text, const char* special) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      if (std::string_view(special).find(c) != std::string_view::npos) out += '\\';
      out += c == '\n' ? ' ' : c;
    }
  }
  return out;
}

// '(-o --output)'{-o,--output}'[the file to write]:value:_files'
std::string zsh_argument(const Argument& a, int position) {
  const std::string action =
      a.values.empty()
          ? "_files"
          : fmt::format("({})", zsh_text(fmt::format("{}", fmt::join(a.values, " ")), ":"));
  const std::string help = zsh_text(a.help, "[]:\\");
  if (a.names.empty())
    return fmt::format("'{}:{}:{}'", a.repeats ? "*" : fmt::to_string(position), help, action);
  const std::string value = a.takes_value ? ":value:" + action : "";
  const std::string once = a.repeats ? "'*'" : fmt::format("'({})'", fmt::join(a.names, " "));
  const std::string names =
      a.names.size() == 1 ? a.names[0] : fmt::format("{{{}}}", fmt::join(a.names, ","));
  return fmt::format("{}{}'[{}]{}'", once, names, help, value);
}

std::string zsh_function(const Command& c) {
  std::string name = "_" + c.path;
  std::replace(name.begin(), name.end(), ' ', '_');
  std::string out = fmt::format("{}() {{\n", name);
  const bool inner = !c.commands.empty();
  if (inner) {
    out += "  local curcontext=\"$curcontext\" state line\n  local -a commands\n  typeset -A "
           "opt_args\n  commands=(\n";
    for (const Command& sub : c.commands)
      out += fmt::format("    '{}:{}'\n", sub.name, zsh_text(sub.help, ":\\"));
    out += "  )\n";
  }
  out += inner ? "  _arguments -C" : "  _arguments";
  int position = 0;
  for (const Argument& a : c.arguments) {
    if (a.names.empty()) ++position;
    out += " \\\n    " + zsh_argument(a, position);
  }
  if (inner) {
    out += " \\\n    '1: :->command' \\\n    '*:: :->rest'\n";
    out += "  case $state in\n    command) _describe -t commands command commands ;;\n    rest)\n  "
           "    case $words[1] in\n";
    for (const Command& sub : c.commands)
      out += fmt::format("        {}) {}_{} ;;\n", sub.name, name, sub.name);
    out += "      esac ;;\n  esac";
  }
  return out + "\n}\n";
}

std::string zsh_script(const Command& root) {
  std::string functions;
  visit(root, [&](const Command& c) { functions += "\n" + zsh_function(c); });
  return "#compdef burnish\n"
         "# Completes the command line of burnish in zsh. Put it where zsh looks for functions, "
         "under this name:\n"
         "#   burnish completion zsh > ~/.zfunc/_burnish      with  fpath+=~/.zfunc  before  "
         "compinit  in ~/.zshrc\n" +
         functions +
         "\n"
         "if [[ $funcstack[1] == _burnish ]]; then\n"
         "  _burnish \"$@\"\n"
         "else\n"
         "  compdef _burnish burnish\n"
         "fi\n";
}

}  // namespace

void add_completion(CLI::App& app, int& status) {
  auto* command =
      app.add_subcommand("completion", "a script for completing this command line in a shell");
  auto shell = std::make_shared<std::string>();
  command->add_option("SHELL", *shell, "the shell")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command->callback([shell, &app, &status] {
    const Command root = described(app, "");
    const std::string script = *shell == "bash" ? bash_script(root) : zsh_script(root);
    std::fwrite(script.data(), 1, script.size(), stdout);
    status = ok;
  });
}

}  // namespace burnish::cli
