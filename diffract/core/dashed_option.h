#pragma once
#include <algorithm>
#include <string>
#include <string_view>

namespace diffract {

/// The option of a name with underscores, as diffusers has them: "--batch-size" of "batch_size".
inline std::string dashed_option(std::string_view name) {
  std::string option = "--" + std::string(name);
  std::replace(option.begin(), option.end(), '_', '-');
  return option;
}

}  // namespace diffract
