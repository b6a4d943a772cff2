#include "diffract/cli/arguments.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/nearest.h"

namespace diffract::cli {
namespace {

bool is_option(const std::string& argument) { return argument.size() > 2 && argument.starts_with("--"); }

}  // namespace

std::vector<std::string> normalise_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  for (std::string& argument : arguments) {
    if (argument == "--") break;
    if (!is_option(argument)) continue;
    const auto end = std::find(argument.begin(), argument.end(), '=');
    std::replace(argument.begin(), end, '_', '-');
  }
  return arguments;
}

void refuse_unknown_options(const CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  for (const std::string& argument : arguments) {
    if (argument == "--") return;
    if (!is_option(argument)) continue;
    const std::string name = argument.substr(0, argument.find('='));
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const auto suggestion = nearest(name, known);
    throw UsageError("unknown option {}{}. See diffract {} --help", name,
                     suggestion ? fmt::format("; did you mean {}?", *suggestion) : "", app.get_name());
  }
}

CLI::Option* add_texts(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                       const std::string& help) {
  // CLI11's own conversion gives "{}" and brackets a meaning; the raw results have none.
  const auto keep = [&values](const CLI::results_t& given) {
    values = given;
    return true;
  };
  return app.add_option(name, keep, help)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace diffract::cli
