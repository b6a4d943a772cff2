#include "diffract/text/load_tokenizer.h"

#include "diffract/core/error.h"
#include "diffract/text/clip_tokenizer.h"
#include "diffract/text/t5_tokenizer.h"

namespace diffract::text {

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  const TokenizerFiles files = load_tokenizer_files(folder);
  const std::string source = files.folder + "/tokenizer_config.json";
  const ConfigReader config(parse_object(files.tokenizer_config_json, source), source);
  std::error_code ignored;
  const bool has_pieces = std::filesystem::exists(folder / "spiece.model", ignored);
  const std::string name = config.text("tokenizer_class", has_pieces ? "T5Tokenizer" : "CLIPTokenizer");
  if (name.starts_with("T5Tokenizer")) return std::make_unique<T5Tokenizer>(parse_t5_vocabulary(files));
  if (name.starts_with("CLIPTokenizer")) return std::make_unique<ClipTokenizer>(parse_clip_vocabulary(files));
  throw CheckpointError("{}: \"tokenizer_class\" is \"{}\"; diffract has CLIPTokenizer and T5Tokenizer",
                        source, name);
}

}  // namespace diffract::text
