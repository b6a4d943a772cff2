#include "diffract/cli/arguments.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <random>

#include "diffract/core/error.h"
#include "diffract/core/user_path.h"
#include "diffract/jobs/foreign_names.h"

namespace diffract::cli {
namespace {

bool is_option(const std::string& argument) { return argument.size() > 2 && argument.starts_with("--"); }

bool is_short_option(const std::string& argument) {
  return argument.size() > 1 && argument[0] == '-' && std::isalpha(static_cast<unsigned char>(argument[1]));
}

// Whether the argument behind this one is its value, whatever it looks like.
bool takes_the_next(const CLI::App& app, const std::string& argument) {
  if (is_option(argument) ? argument.find('=') != std::string::npos
                          : !is_short_option(argument) || argument.size() > 2)
    return false;
  const CLI::Option* option = app.get_option_no_throw(argument);
  return option && option->get_expected_min() > 0;
}

// The advice for `generate` is of no use to a command that has not the option which it names.
std::vector<ForeignName> names_of_use(const std::vector<std::string>& known) {
  std::vector<ForeignName> names;
  for (const ForeignName& entry : jobs::foreign_options())
    if (jobs::can_be_followed(entry.advice, known)) names.push_back(entry);
  return names;
}

[[noreturn]] void fail_unknown(const CLI::App& app, const std::string& name,
                               const std::vector<std::string>& known) {
  throw UsageError("unknown option {}{}. See diffract {} --help", name,
                   hint_for(name, names_of_use(known), known), app.get_name());
}

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
  bool is_value = false;
  for (const std::string& argument : arguments) {
    if (argument == "--") return;
    if (is_option(argument)) {
      const std::string name = argument.substr(0, argument.find('='));
      if (std::find(known.begin(), known.end(), name) == known.end()) fail_unknown(app, name, known);
    } else if (is_short_option(argument) && !is_value) {
      const std::string name = argument.substr(0, 2);
      if (!app.get_option_no_throw(name)) fail_unknown(app, name, known);
    }
    is_value = !is_value && takes_the_next(app, argument);
  }
}

std::vector<std::string> split_short_options(const CLI::App& app, const std::vector<std::string>& arguments) {
  std::vector<std::string> split;
  bool options = true, is_value = false;
  for (const std::string& argument : arguments) {
    if (argument == "--") options = false;
    if (options && !is_value && is_short_option(argument) && argument.substr(2).starts_with('=')) {
      split.push_back(argument.substr(0, 2));
      split.push_back(argument.substr(3));
    } else {
      split.push_back(argument);
    }
    is_value = options && !is_value && takes_the_next(app, argument);
  }
  return split;
}

CLI::Option* add_path(CLI::App& app, const std::string& name, std::string& value, const std::string& help) {
  auto* option = app.add_option_function<std::string>(
      name, [&value](const std::string& given) { value = expand_home(given); }, help);
  return value.empty() ? option : option->default_str(value);
}

CLI::Option* add_seed(CLI::App& app, const std::string& name, Seed& seed, const std::string& help) {
  // CLI11 reads "-1" and what is too large for 64 bits into the largest number.
  const auto parse = [&seed](const std::string& text) {
    seed.is_random = text == "random" || text == "-1";
    if (seed.is_random) {
      seed.value = std::random_device()();
      return;
    }
    const char* end = text.data() + text.size();
    const auto [stop, failure] = std::from_chars(text.data(), end, seed.value);
    if (failure != std::errc() || stop != end)
      throw CLI::ValidationError(
          "--seed", "\"" + text + "\": expected a whole number from 0 to 18446744073709551615, or random");
  };
  return app.add_option_function<std::string>(name, parse, help);
}

CLI::Option* add_texts(CLI::App& app, const std::string& name, const std::function<void(const Json&)>& keep,
                       const std::string& help) {
  // CLI11's own conversion gives "{}" and brackets a meaning; the raw results have none.
  const auto keep_raw = [keep](const CLI::results_t& given) {
    keep(Json(given));
    return true;
  };
  return app.add_option(name, keep_raw, help)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* add_texts(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                       const std::string& help) {
  return add_texts(
      app, name, [&values](const Json& given) { values = given.get<std::vector<std::string>>(); }, help);
}

}  // namespace diffract::cli
