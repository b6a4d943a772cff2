#include "diffract/text/unigram.h"

#include <algorithm>
#include <cmath>

#include "diffract/core/error.h"

namespace diffract::text {
namespace {

constexpr double kUnknownPenalty = 10.0;  // below the worst piece; sentencepiece's kUnkPenalty

size_t character_bytes(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

}  // namespace

Unigram::Unigram(std::vector<Piece> pieces, int64_t unk_id, const std::string& source)
    : pieces_(std::move(pieces)), piece_at_(1, -1), unk_id_(unk_id) {
  if (unk_id < 0 || unk_id >= static_cast<int64_t>(pieces_.size()))
    throw CheckpointError("{}: the unknown token has the id {}, but there are {} tokens", source, unk_id,
                          pieces_.size());
  constexpr size_t kMostBytes =
      4 << 20;  // of all pieces, each of which is a node of the trie; T5's have 250 KB
  size_t bytes = 0;
  for (const Piece& piece : pieces_) bytes += piece.text.size();
  if (bytes > kMostBytes)
    throw CheckpointError("{}: the tokens have {} bytes; expected at most {}", source, bytes, kMostBytes);
  double lowest = pieces_.front().score;
  for (size_t id = 0; id < pieces_.size(); ++id) {
    const Piece& piece = pieces_[id];
    if (!std::isfinite(piece.score))
      throw CheckpointError("{}: token {} has the score {}; expected a finite number", source, id,
                            piece.score);
    lowest = std::min(lowest, piece.score);
    ids_[piece.text] = static_cast<int64_t>(id);  // of equal ones the last counts
    if (!piece.text.empty()) add_to_trie(piece.text, static_cast<int64_t>(id));
  }
  unk_score_ = lowest - kUnknownPenalty;
}

void Unigram::add_to_trie(const std::string& text, int64_t id) {
  uint32_t node = 0;
  for (const char c : text) {
    const uint64_t edge = uint64_t{node} << 8 | static_cast<unsigned char>(c);
    const auto [found, is_new] = edges_.emplace(edge, static_cast<uint32_t>(piece_at_.size()));
    if (is_new) piece_at_.push_back(-1);
    node = found->second;
  }
  piece_at_[node] = id;
}

int64_t Unigram::id_of(const std::string& text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? -1 : found->second;
}

std::vector<Unigram::Node> Unigram::best_cuts(std::string_view word) const {
  std::vector<Node> nodes(word.size() + 1);
  const auto offer = [&](size_t begin, size_t end, int64_t id, double score) {
    Node& node = nodes[end];
    const double sum = score + nodes[begin].score;
    if (node.id < 0 || sum > node.score) node = {.score = sum, .id = id, .begin = begin};
  };
  for (size_t begin = 0; begin < word.size();) {
    const size_t next = std::min(begin + character_bytes(word[begin]), word.size());
    bool single = false;  // the first character alone is a piece
    uint32_t trie_node = 0;
    for (size_t end = begin; end < word.size();) {
      const auto edge = edges_.find(uint64_t{trie_node} << 8 | static_cast<unsigned char>(word[end]));
      if (edge == edges_.end()) break;
      trie_node = edge->second;
      ++end;
      const int64_t id = piece_at_[trie_node];
      if (id < 0) continue;
      offer(begin, end, id, pieces_[static_cast<size_t>(id)].score);
      single = single || end == next;
    }
    if (!single) offer(begin, next, unk_id_, unk_score_);
    begin = next;
  }
  return nodes;
}

void Unigram::encode(std::string_view word, std::vector<int64_t>& ids) const {
  const auto nodes = best_cuts(word);
  const size_t first = ids.size();
  for (size_t end = word.size(); end > 0;) {
    const size_t piece_end = end;
    const int64_t id = nodes[end].id;
    end = nodes[end].begin;
    if (id != unk_id_) {
      ids.push_back(id);
      continue;
    }
    while (end > 0 && nodes[end].id == unk_id_) end = nodes[end].begin;
    const int64_t whole = id_of(std::string(word.substr(end, piece_end - end)));
    ids.push_back(whole < 0 ? unk_id_ : whole);
  }
  std::reverse(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
}

}  // namespace diffract::text
