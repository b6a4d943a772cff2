#include "diffract/text/expanding_tokenizer.h"

#include <algorithm>
#include <unordered_set>

#include "diffract/core/error.h"

namespace diffract::text {
namespace {

constexpr size_t kMostText = 16 << 20;  // that replacing may make of a prompt

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
    if (text.size() > kMostText)
      throw UsageError("the prompt is longer than {} bytes once \"{}\" stands for its tokens", kMostText,
                       what);
  }
}

}  // namespace

ExpandingTokenizer::ExpandingTokenizer(std::shared_ptr<const Tokenizer> tokenizer,
                                       const std::vector<AddedToken>& added)
    : tokenizer_(std::move(tokenizer)) {
  std::unordered_set<std::string> names;
  for (const AddedToken& token : added) names.insert(token.content);
  for (const AddedToken& token : added) {
    std::string tokens = token.content;
    for (size_t i = 1; names.contains(fmt::format("{}_{}", token.content, i)); ++i)
      tokens += fmt::format(" {}_{}", token.content, i);
    if (tokens != token.content) expansions_.push_back({token.id, token.content, std::move(tokens)});
  }
}

std::string ExpandingTokenizer::expanded(std::string_view text) const {
  const auto ids = tokenizer_->encode(text, {}).input_ids;
  std::string prompt(text);
  for (const Expansion& one : expansions_)
    if (std::find(ids.begin(), ids.end(), one.id) != ids.end()) replace_all(prompt, one.token, one.tokens);
  return prompt;
}

}  // namespace diffract::text
