#include "diffract/pipelines/prompt_tokenizer.h"

#include <algorithm>
#include <unordered_set>

#include "diffract/core/error.h"
#include "diffract/pipelines/field_values.h"
#include "diffract/text/clip_tokenizer.h"
#include "diffract/text/expanding_tokenizer.h"

namespace diffract::pipelines {
namespace {

int64_t largest_id(const text::ClipVocabulary& vocabulary) {
  int64_t largest = -1;
  for (const auto& [token, id] : vocabulary.tokens) largest = std::max(largest, id);
  for (const text::AddedToken& added : vocabulary.added_tokens) largest = std::max(largest, added.id);
  return largest;
}

std::unordered_set<std::string> names_of(const text::ClipVocabulary& vocabulary) {
  std::unordered_set<std::string> names;
  for (const auto& [token, id] : vocabulary.tokens) names.insert(token);
  for (const text::AddedToken& added : vocabulary.added_tokens) names.insert(added.content);
  return names;
}

}  // namespace

PromptTokenizer load_prompt_tokenizer(const std::filesystem::path& folder,
                                      std::vector<loading::Inversion> inversions) {
  text::ClipVocabulary vocabulary = text::parse_clip_vocabulary(text::load_tokenizer_files(folder));
  const int64_t first = largest_id(vocabulary) + 1;
  auto names = names_of(vocabulary);
  int64_t next = first;
  for (const loading::Inversion& one : inversions) {
    refuse_zero_byte(one.token, one.source);
    for (int64_t i = 0; i < one.vectors.size(0); ++i) {
      const std::string token = i == 0 ? one.token : fmt::format("{}_{}", one.token, i);
      if (token.empty() || !names.insert(token).second)
        throw UsageError("{}: the tokenizer has the token \"{}\" already; give another with =TOKEN",
                         one.source, token);
      vocabulary.added_tokens.push_back({.content = token, .id = next++, .normalized = true});
    }
    // A token of as many vectors would go on into these.
    if (names.contains(fmt::format("{}_{}", one.token, one.vectors.size(0))))
      throw UsageError("{}: the tokenizer has the token \"{}_{}\" already; give another with =TOKEN",
                       one.source, one.token, one.vectors.size(0));
  }
  const auto tokenizer = std::make_shared<const text::ClipTokenizer>(vocabulary);
  PromptTokenizer made{
      .tokenizer = std::make_shared<const text::ExpandingTokenizer>(tokenizer, vocabulary.added_tokens),
      .tokens = {}};
  if (!inversions.empty())
    made.tokens = std::make_shared<const loading::ComponentTokens>(std::move(inversions), first);
  return made;
}

}  // namespace diffract::pipelines
