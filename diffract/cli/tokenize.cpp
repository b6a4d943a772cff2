#include <fmt/format.h>
#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/text/load_tokenizer.h"

namespace diffract::cli {
namespace {

struct TokenizeOptions {
  std::string model = pipelines::kDefaultModel, tokenizer = "tokenizer", text;
  int64_t max_length = 0;  // 0: neither cut nor padded
  bool json = false;
};

void tokenize(const TokenizeOptions& options) {
  const auto folder = pipelines::find_model(options.model);
  const auto own = folder / options.tokenizer;
  // A tokenizer's own folder may be given too.
  const auto tokenizer = text::load_tokenizer(std::filesystem::is_directory(own) ? own : folder);
  if (options.max_length < 0 || options.max_length > (1 << 20))
    throw UsageError("--max-length {}: expected 1 to {}", options.max_length, 1 << 20);
  const auto encoding = options.max_length > 0
                            ? tokenizer->encode(options.text, {.max_length = options.max_length, .pad = true})
                            : tokenizer->encode(options.text, {});
  Json ids = encoding.input_ids, tokens = Json::array();
  for (const int64_t id : encoding.input_ids) tokens.push_back(tokenizer->id_to_token(id));
  if (options.json) {
    fmt::print("{}\n",
               Json{{"input_ids", ids}, {"tokens", tokens}, {"cut_tokens", encoding.cut_tokens}}.dump());
    return;
  }
  for (size_t i = 0; i < tokens.size(); ++i)
    fmt::print("{:>8}  {}\n", ids[i].get<int64_t>(), tokens[i].get<std::string>());
  if (encoding.cut_tokens > 0) fmt::print("{:>8}  more tokens were cut\n", encoding.cut_tokens);
}

}  // namespace

Command tokenize_command() {
  return {
      .name = "tokenize",
      .summary = "shows the tokens that a model's tokenizer makes of a text",
      .declare = [](CLI::App& app) -> std::function<void()> {
        auto options = std::make_shared<TokenizeOptions>();
        app.add_option("--model", options->model,
                       "Folder, ORG/NAME[@REV] in the Hugging Face cache, or a built-in model")
            ->capture_default_str();
        app.add_option("--tokenizer", options->tokenizer, "Which one of the model")->capture_default_str();
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
