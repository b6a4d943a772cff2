#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

namespace diffract::cli {

/// "-" and "_" are the same in an option's name: `--num_inference_steps=5` becomes `--num-inference-steps=5`.
std::vector<std::string> normalise_arguments(int argc, const char* const* argv);

/// Throws UsageError for an option that neither `app` nor CLI11 knows, naming the nearest one it does know.
void refuse_unknown_options(const CLI::App& app, const std::vector<std::string>& arguments);

/// Options whose values are texts taken as they are: no trimming, no splitting, "[a]" and "{}" mean
/// themselves.
CLI::Option* add_texts(CLI::App& app, const std::string& name, std::vector<std::string>& values,
                       const std::string& help);

/// A whole number of 64 bits without a sign.
CLI::Option* add_seed(CLI::App& app, const std::string& name, uint64_t& value, const std::string& help);

/// A number option that stays unset unless given.
template <typename T>
CLI::Option* add_optional(CLI::App& app, const std::string& name, std::optional<T>& value,
                          const std::string& help) {
  return app.add_option_function<T>(
      name, [&value](const T& given) { value = given; }, help);
}

}  // namespace diffract::cli
