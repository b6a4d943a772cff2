#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/core/foreign_names.h"

namespace diffract::launch {

/// One option of `diffract launch`. `name` is without dashes and with "-" between words.
struct OptionSpec {
  std::string_view name;
  char letter;             // 0: none
  std::string_view value;  // how --help calls its value; empty: a flag
  /// No other program is likely to mean something else by it, so it is also taken from behind the program.
  bool launchers_own;
  std::string_view help;  // of one without effect: what is so without it
  /// Taken for the sake of torchrun's and accelerate's lines, and said to change nothing.
  bool without_effect = false;
  std::string_view usual = {};  // the value with which nothing need be said
};

const std::vector<OptionSpec>& option_table();
/// Options of torchrun and accelerate that change nothing here.
std::vector<OptionSpec> options_without_effect();
/// Names that other launchers have for options of this one, and options that are not there.
std::span<const ForeignName> foreign_options();

/// An option as it was given.
struct GivenOption {
  const OptionSpec* spec;
  std::string spelled;  // "--nproc_per_node", "PET_NNODES"
  std::string value;
};

/// The option at `arguments[index]`, with its value, moving `index` behind it. Throws UsageError for one that
/// is unknown or lacks its value.
GivenOption read_option(const std::vector<std::string>& arguments, size_t& index);
/// The long option that `argument` names, or null. `argument` may hold "=value".
const OptionSpec* find_option(std::string_view argument);
/// "--nproc_per_node=2" -> "--nproc-per-node".
std::string option_name(std::string_view argument);

}  // namespace diffract::launch
