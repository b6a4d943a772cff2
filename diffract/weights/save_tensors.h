#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace diffract::weights {

/// Writes a safetensors file that appears whole or not at all. Throws IoError naming the file.
void save_tensors(const std::filesystem::path& file,
                  const std::vector<std::pair<std::string, at::Tensor>>& tensors);

}  // namespace diffract::weights
