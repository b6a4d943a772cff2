#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "diffract/core/json.h"

namespace diffract::cli {

/// "-" and "_" are the same in an option's name: `--num_inference_steps=5` becomes `--num-inference-steps=5`.
std::vector<std::string> normalise_arguments(int argc, const char* const* argv);

/// `-p=x` becomes `-p x`, unless it is itself the value of the option before it.
std::vector<std::string> split_short_options(const CLI::App& app, const std::vector<std::string>& arguments);

/// Throws UsageError for an option that neither `app` nor CLI11 knows, saying what it is called here, or
/// naming the nearest one that is known.
void refuse_unknown_options(const CLI::App& app, const std::vector<std::string>& arguments);

/// Options whose values are texts taken as they are: no trimming, no splitting, "[a]" and "{}" mean
/// themselves.
CLI::Option* add_texts(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                       const std::string& help);

/// The same, handed on as a JSON list of texts.
CLI::Option* add_texts(CLI::App& app, const std::string& name, const std::function<void(const Json&)>& keep,
                       const std::string& help);

/// A file or folder; a leading "~" is the home folder: a shell expands it in "--output ~/x", not in
/// "--output=~/x".
CLI::Option* add_path(CLI::App& app, const std::string& name, std::string& value, const std::string& help);

struct Seed {
  uint64_t value = 0;
  bool is_random = false;
};
/// A whole number of 64 bits without a sign; "random" and -1 draw one of 32 bits.
CLI::Option* add_seed(CLI::App& app, const std::string& name, Seed& seed, const std::string& help);

/// A number option that stays unset unless given.
template <typename T>
CLI::Option* add_optional(CLI::App& app, const std::string& name, std::optional<T>& value,
                          const std::string& help) {
  return app.add_option_function<T>(
      name, [&value](const T& given) { value = given; }, help);
}

}  // namespace diffract::cli
