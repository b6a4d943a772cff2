#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace diffract::text {

/// SentencePiece's unigram model: a text is cut into the pieces whose scores have the largest sum. Source:
/// Kudo 2018; ties and unknown characters as in the Rust tokenizers library (Unigram, encode_optimized).
class Unigram {
 public:
  struct Piece {
    std::string text;  // UTF-8
    double score;      // a log probability
  };
  /// A piece's id is its place. Throws CheckpointError naming `source` when unk_id is no piece's, or a score
  /// is not finite.
  Unigram(std::vector<Piece> pieces, int64_t unk_id, const std::string& source);

  /// Appends the ids of `word` (UTF-8). Characters without a piece become unk_id, neighbours together one.
  void encode(std::string_view word, std::vector<int64_t>& ids) const;

  const std::vector<Piece>& pieces() const { return pieces_; }
  /// The id of a piece's text, -1 when there is none.
  int64_t id_of(const std::string& text) const;

 private:
  struct Node {  // the best way to cut the text up to one place
    double score = 0;
    int64_t id = -1;
    size_t begin = 0;  // of the last piece
  };
  void add_to_trie(const std::string& text, int64_t id);
  std::vector<Node> best_cuts(std::string_view word) const;

  std::vector<Piece> pieces_;
  std::unordered_map<std::string, int64_t> ids_;
  std::unordered_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node; the root is 0
  std::vector<int64_t> piece_at_;                 // by node, -1 where no piece ends
  int64_t unk_id_;
  double unk_score_ = 0;
};

}  // namespace diffract::text
