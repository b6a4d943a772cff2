#include "diffract/cli/arguments.h"

#include <algorithm>
#include <numeric>

#include "diffract/core/error.h"

namespace diffract::cli {
namespace {

// Levenshtein's distance: the fewest letters inserted, removed or replaced that turn one word into the other.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

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

std::optional<std::string> nearest(const std::string& word, const std::vector<std::string>& known) {
  const auto best = std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
    return edit_distance(word, a) < edit_distance(word, b);
  });
  if (best == known.end() || edit_distance(word, *best) > std::max<size_t>(2, word.size() / 3)) return {};
  return *best;
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
