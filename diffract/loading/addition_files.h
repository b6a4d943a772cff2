#pragma once
#include <filesystem>
#include <string>

#include "diffract/core/json.h"
#include "diffract/loading/load_options.h"

namespace diffract::loading {

constexpr const char* kLoraFile = "pytorch_lora_weights.safetensors";
constexpr const char* kIpAdapterFile = "ip-adapter_sd15.safetensors";
constexpr const char* kEmbeddingFile = "learned_embeds.safetensors";

/// The file of something that is added to a checkpoint (a LoRA, an embedding): a file, a folder with `usual`
/// or with one safetensors file, or ORG/NAME[@REV] from the Hugging Face cache. Throws UsageError naming
/// `option`, CheckpointError.
std::filesystem::path find_addition_file(const std::string& path, const char* option, const char* usual);

/// "FILE|DIR|ORG/NAME[=WEIGHT]": the weight follows the last "=". Throws UsageError for one that is out of
/// range.
LoraOption parse_lora(const std::string& text);
/// "FILE[=TOKEN]".
TextualInversionOption parse_textual_inversion(const std::string& text);

/// What an image's parameters say of such files: names and hashes, not where they are. `lines`: one option a
/// line.
Json lora_parameters(const std::string& lines);
Json textual_inversion_parameters(const std::string& lines);
Json ip_adapter_parameters(const std::string& lines);

/// Lines of a repeated option's text.
std::vector<std::string> lines_of(const std::string& text);

}  // namespace diffract::loading
