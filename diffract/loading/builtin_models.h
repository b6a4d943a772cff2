#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace diffract::loading {

/// The folder of a model that ships with diffract, e.g. "emoji-sd"; none when no such model is found. They
/// are looked for in DIFFRACT_MODELS, in ../share/diffract/models beside the program, and in the source tree
/// it was built from.
std::optional<std::filesystem::path> builtin_model(const std::string& name);
/// The names of all that are found.
std::vector<std::string> builtin_models();

}  // namespace diffract::loading
