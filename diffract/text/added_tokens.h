#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace diffract::text {

/// A token with a meaning of its own that is recognised inside a text.
struct AddedToken {
  std::string content;
  int64_t id;
  bool normalized;  // looked for after the text has been normalised, not before
};

/// Finds the added tokens of a tokenizer in a text: the leftmost first, of those that begin together the
/// longest.
class AddedTokens {
 public:
  AddedTokens() = default;
  /// Throws UsageError when a token is not UTF-8.
  explicit AddedTokens(const std::vector<AddedToken>& tokens);

  /// Calls `on_id` for each added token in `text` and `on_text` for what lies between them, normalised by
  /// `normalise`, in the order of the text.
  void split(std::u32string_view text, const std::function<std::u32string(std::u32string_view)>& normalise,
             const std::function<void(std::u32string_view)>& on_text,
             const std::function<void(int64_t)>& on_id) const;

 private:
  struct Entry {
    std::u32string content;
    int64_t id;
  };
  using Entries = std::vector<Entry>;  // longest first
  static void split_at(const Entries& tokens, std::u32string_view text,
                       const std::function<void(std::u32string_view)>& on_text,
                       const std::function<void(int64_t)>& on_id);

  Entries raw_, normalized_;
};

}  // namespace diffract::text
