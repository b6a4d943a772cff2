#include "diffract/cli/arguments.h"

#include <fmt/format.h>
#include <algorithm>
#include <charconv>

#include "diffract/core/error.h"
#include "diffract/core/nearest.h"

namespace diffract::cli {
namespace {

bool is_option(const std::string& argument) { return argument.size() > 2 && argument.starts_with("--"); }

}  // namespace

std::vector<std::string> normalise_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  bool options = true;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--") options = false;
    const bool option = options && is_option(argument);
    if (option) std::replace(argument.begin(), std::find(argument.begin(), argument.end(), '='), '_', '-');
    // CLI11 takes the next argument for the value of "--prompt="; as an argument of its own it takes an empty
    // one.
    const bool empty_value = option && argument.ends_with('=');
    if (empty_value) argument.pop_back();
    arguments.push_back(std::move(argument));
    if (empty_value) arguments.emplace_back();
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

CLI::Option* add_seed(CLI::App& app, const std::string& name, uint64_t& value, const std::string& help) {
  // CLI11 reads "-1" and what is too large for 64 bits into the largest number.
  const auto parse = [&value](const std::string& text) {
    const char* end = text.data() + text.size();
    const auto [stop, failure] = std::from_chars(text.data(), end, value);
    if (failure != std::errc() || stop != end)
      throw CLI::ValidationError("--seed",
                                 "\"" + text + "\": expected a whole number from 0 to 18446744073709551615");
  };
  return app.add_option_function<std::string>(name, parse, help);
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
