#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "diffract/text/added_tokens.h"
#include "diffract/text/tokenizer.h"

namespace diffract::text {

/// A tokenizer of prompts in which a token stands for several: where "x" and "x_1" are added tokens, "x" in a
/// prompt is read as "x x_1 x_2 ...". Source: diffusers' maybe_convert_prompt.
class ExpandingTokenizer final : public Tokenizer {
 public:
  /// `added`: the added tokens of `tokenizer`.
  ExpandingTokenizer(std::shared_ptr<const Tokenizer> tokenizer, const std::vector<AddedToken>& added);

  Encoding encode(std::string_view text, const EncodeOptions& options) const override {
    return tokenizer_->encode(expansions_.empty() ? std::string(text) : expanded(text), options);
  }
  std::string id_to_token(int64_t id) const override { return tokenizer_->id_to_token(id); }
  int64_t model_max_length() const override { return tokenizer_->model_max_length(); }
  int64_t vocab_size() const override { return tokenizer_->vocab_size(); }

 private:
  struct Expansion {
    int64_t id;
    std::string token, tokens;
  };
  std::string expanded(std::string_view text) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<Expansion> expansions_;
};

}  // namespace diffract::text
