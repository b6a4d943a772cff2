#pragma once
#include <filesystem>
#include <memory>

#include "diffract/text/tokenizer.h"

namespace diffract::text {

/// The tokenizer of a folder: of the class that its tokenizer_config.json names, CLIPTokenizer or
/// T5Tokenizer; where it names none, T5's for a spiece.model and CLIP's otherwise. Throws CheckpointError for
/// another class, and for files that are damaged or missing.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace diffract::text
