#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/text/text_sides.h"

namespace diffract::text {

/// How a text is encoded; the arguments of transformers' tokenizer call.
struct EncodeOptions {
  int64_t max_length = 0;  // cut to this many ids, special tokens included; 0: not cut
  bool pad = false;        // fill up to max_length with the pad token
};

struct Encoding {
  std::vector<int64_t> input_ids;  // with the tokenizer's special tokens around the text
  int64_t cut_tokens = 0;          // how many tokens of the text did not fit
};

/// What every tokenizer puts around the ids of a text.
struct TextFrame {
  std::optional<int64_t> begin;
  int64_t end, pad;
  TextSides sides = {};
};
/// What every tokenizer does with the ids of a text: cuts them so that the tokens around it fit, adds those,
/// and pads. `options.max_length` is 0 or leaves room for the tokens around.
Encoding finish_encoding(std::vector<int64_t> ids, const TextFrame& frame, const EncodeOptions& options);

/// Text to token ids, as the tokenizer class of transformers gives them.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Throws UsageError when `text` is not UTF-8 (naming the byte) or max_length leaves no room for the
  /// special tokens.
  virtual Encoding encode(std::string_view text, const EncodeOptions& options) const = 0;
  /// The token of an id as the vocabulary spells it. Throws UsageError for an id out of range.
  virtual std::string id_to_token(int64_t id) const = 0;
  /// The length that the model was made for.
  virtual int64_t model_max_length() const = 0;
  /// One more than the largest id.
  virtual int64_t vocab_size() const = 0;
};

}  // namespace diffract::text
