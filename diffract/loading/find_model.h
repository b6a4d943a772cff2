#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace diffract::loading {

/// What a model is looked for, which decides what a message tells to fetch: some part of it, its config files
/// for a plan, or all but its weights beside a single file.
enum class ModelUse { part, configs, beside_weights };
/// The folder of a model: a built-in name, a path, or ORG/NAME[@REV] from the Hugging Face cache. Throws
/// CheckpointError saying where it looked, or what the text is instead: a single file, a web address, a
/// misspelt name.
std::filesystem::path find_model(const std::string& model, ModelUse use = ModelUse::part);

/// Throws for a checkpoint of a class of model_index.json that cannot be run; `where` is for the message.
using ClassCheck = std::function<void(std::string_view class_name, const std::string& where)>;
/// The folder of a whole pipeline. `check` sees its class, or the class that a well-known model on the hub is
/// of, so that nobody fetches gigabytes to learn that they do not run.
std::filesystem::path find_pipeline(const std::string& model, const ClassCheck& check,
                                    ModelUse use = ModelUse::part);

/// Whether a model is given as a file of weights.
bool is_single_file(const std::string& model);
/// What a file of weights is, by its name, that is not safetensors, and what to do; empty for any other.
std::string why_not_safetensors(const std::string& file);

/// The name of the model that is used when none is given.
inline constexpr const char* kDefaultModel = "emoji-sd";

}  // namespace diffract::loading
