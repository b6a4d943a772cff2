#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace diffract::text {

/// Byte-pair encoding over bytes: a word's bytes are joined pair by pair, the pair that was learnt first
/// going first. Source: Sennrich et al. 2016; the byte alphabet of GPT-2; the "</w>" that marks a word's end,
/// of CLIP.
class BytePair {
 public:
  using Vocabulary = std::unordered_map<std::string, int64_t>;
  using Merges = std::vector<std::pair<std::string, std::string>>;

  /// `vocabulary` spells bytes in GPT-2's alphabet. `unknown` is the id of a byte that it lacks. Throws
  /// CheckpointError naming `source` when a merge uses or makes a token that is not in the vocabulary.
  BytePair(const Vocabulary& vocabulary, const Merges& merges, int64_t unknown, const std::string& source);

  /// Appends the ids of a word that is not empty.
  void encode(std::string_view word, std::vector<int64_t>& ids) const;

 private:
  struct Merge {
    size_t rank;
    int64_t id;
  };
  struct PairHash {
    size_t operator()(const std::pair<int64_t, int64_t>& p) const {
      return std::hash<uint64_t>()(static_cast<uint64_t>(p.first) * 0x9e3779b97f4a7c15u ^
                                   static_cast<uint64_t>(p.second));
    }
  };
  const Merge* find(int64_t left, int64_t right) const;

  std::array<int64_t, 256> inner_, final_;  // a byte's id within a word and at its end
  std::unordered_map<std::pair<int64_t, int64_t>, Merge, PairHash> merges_;
};

/// GPT-2's printable character for a byte, as UTF-8.
std::string byte_character(uint8_t byte);

}  // namespace diffract::text
