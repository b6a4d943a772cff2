#include "diffract/text/tokenizer_files.h"

#include "diffract/core/error.h"
#include "diffract/core/file.h"

namespace diffract::text {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxBytes = 64 << 20;

std::string load_if_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(file, ignored) ? load_text(file, kMaxBytes) : std::string();
}

std::string load_full(const fs::path& file) {
  std::string text = load_text(file, kMaxBytes);
  if (text.empty()) throw CheckpointError("{}: is empty", file.string());
  return text;
}

}  // namespace

TokenizerFiles load_tokenizer_files(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored))
    throw CheckpointError("{}: no such folder; expected a tokenizer's", folder.string());
  TokenizerFiles files{.tokenizer_json = {},
                       .vocab_json = {},
                       .merges_txt = {},
                       .tokenizer_config_json = load_if_there(folder / "tokenizer_config.json"),
                       .special_tokens_map_json = load_if_there(folder / "special_tokens_map.json"),
                       .folder = folder.string(),
                       .added_tokens_json = load_if_there(folder / "added_tokens.json")};
  if (fs::exists(folder / "tokenizer.json", ignored)) {
    files.tokenizer_json = load_full(folder / "tokenizer.json");
  } else if (fs::exists(folder / "spiece.model", ignored)) {
    files.spiece_model = load_full(folder / "spiece.model");
  } else if (!fs::exists(folder / "vocab.json", ignored)) {
    throw CheckpointError(
        "{}: has no vocabulary; expected tokenizer.json, spiece.model (T5), or vocab.json and merges.txt "
        "(CLIP). Was the model downloaded whole?",
        folder.string());
  } else {
    files.vocab_json = load_text(folder / "vocab.json", kMaxBytes);
    files.merges_txt = load_text(folder / "merges.txt", kMaxBytes);
  }
  return files;
}

Json parse_object(const std::string& text, const std::string& source) {
  if (text.empty()) return Json::object();
  Json json = parse_json(text, source);
  if (!json.is_object()) throw CheckpointError("{}: expected a JSON object", source);
  return json;
}

}  // namespace diffract::text
