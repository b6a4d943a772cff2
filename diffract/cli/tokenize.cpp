#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <filesystem>

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/json_output.h"
#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/io/model_folder.h"
#include "diffract/loading/find_model.h"
#include "diffract/text/load_tokenizer.h"

namespace diffract::cli {
namespace fs = std::filesystem;
namespace {

struct TokenizeOptions {
  std::string model = loading::kDefaultModel, tokenizer, text;
  int64_t max_length = 0;  // 0: neither cut nor padded
  bool json = false;
};

// A pipeline's tokenizer, or the folder itself where it is a tokenizer's own.
fs::path tokenizer_folder(const TokenizeOptions& options) {
  const fs::path folder = loading::find_model(options.model);
  std::error_code ignored;
  if (!fs::exists(folder / "model_index.json", ignored)) {
    if (!options.tokenizer.empty())
      throw UsageError(
          "--tokenizer {}: {} is no pipeline's folder; leave --tokenizer out for a tokenizer's own",
          options.tokenizer, folder.string());
    return folder;
  }
  const auto model = io::ModelFolder::open(folder);
  std::vector<std::string> names;
  for (const std::string& name : model.component_names())
    if (name.starts_with("tokenizer")) names.push_back(name);
  const std::string asked = options.tokenizer.empty() ? "tokenizer" : options.tokenizer;
  if (std::find(names.begin(), names.end(), asked) == names.end())
    throw UsageError("--tokenizer {}: {} has {}", asked, folder.string(),
                     names.empty() ? "no tokenizer" : fmt::format("{}", fmt::join(names, ", ")));
  return model.component_folder(asked);
}

void tokenize(const TokenizeOptions& options) {
  const auto tokenizer = text::load_tokenizer(tokenizer_folder(options));
  if (options.max_length < 0 || options.max_length > (1 << 20))
    throw UsageError("--max-length {}: expected 1 to {}", options.max_length, 1 << 20);
  const auto encoding = options.max_length > 0
                            ? tokenizer->encode(options.text, {.max_length = options.max_length, .pad = true})
                            : tokenizer->encode(options.text, {});
  Json ids = encoding.input_ids, tokens = Json::array();
  for (const int64_t id : encoding.input_ids) tokens.push_back(tokenizer->id_to_token(id));
  if (options.json) {
    print_json({{"input_ids", ids}, {"tokens", tokens}, {"cut_tokens", encoding.cut_tokens}});
    return;
  }
  for (size_t i = 0; i < tokens.size(); ++i)
    fmt::print("{:>8}  {}\n", ids[i].get<int64_t>(), tokens[i].get<std::string>());
  if (encoding.cut_tokens > 0) fmt::print("{:>8}  more tokens were cut\n", encoding.cut_tokens);
}

}  // namespace

Command tokenize_command() {
  return {.name = "tokenize",
          .summary = "shows the tokens that a model's tokenizer makes of a text",
          .declare = [](CLI::App& app) -> std::function<void()> {
            auto options = std::make_shared<TokenizeOptions>();
            add_path(app, "-m,--model", options->model,
                     "Folder, ORG/NAME[@REV] in the Hugging Face cache, or a built-in model");
            app.add_option("--tokenizer", options->tokenizer, "Which one of a pipeline; default: tokenizer");
            app.add_option("--max-length", options->max_length, "Cut and pad to this many; default: neither");
            app.add_flag("--json", options->json, "One JSON object on stdout");
            const auto keep = [options](const CLI::results_t& given) {
              options->text = given.front();
              return true;
            };
            app.add_option("text", keep, "The text")->required()->expected(1);
            app.footer("Example:\n  diffract tokenize \"a photo of a cat\"");
            return [options] { tokenize(*options); };
          }};
}

}  // namespace diffract::cli
