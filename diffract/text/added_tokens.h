#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace diffract::text {

/// A token with a meaning of its own that is recognised inside a text. The flags are those of transformers'
/// AddedToken.
struct AddedToken {
  std::string content;
  int64_t id;
  bool normalized;           // looked for, normalised itself, after the text has been normalised, not before
  bool single_word = false;  // only where no letter, digit, mark or "_" stands beside it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
};

/// Finds the added tokens of a tokenizer in a text: the leftmost first, of those that begin together the
/// longest.
class AddedTokens {
 public:
  using Normalise = std::function<std::u32string(std::u32string_view)>;

  AddedTokens() = default;
  /// Throws CheckpointError naming `source` when nothing is left of a token once it is normalised.
  AddedTokens(const std::vector<AddedToken>& tokens, const Normalise& normalise, const std::string& source);

  /// Calls `on_id` for each added token in `text` and `on_text` for what lies between them, normalised by
  /// `normalise`, in the order of the text.
  void split(std::u32string_view text, const Normalise& normalise,
             const std::function<void(std::u32string_view)>& on_text,
             const std::function<void(int64_t)>& on_id) const;

 private:
  struct Entry {
    std::u32string content;
    int64_t id;
    bool single_word, lstrip, rstrip;
  };
  using Entries = std::vector<Entry>;  // longest first
  static void split_at(const Entries& tokens, std::u32string_view text,
                       const std::function<void(std::u32string_view)>& on_text,
                       const std::function<void(int64_t)>& on_id);

  Entries raw_, normalized_;
};

}  // namespace diffract::text
