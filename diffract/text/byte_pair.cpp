#include "diffract/text/byte_pair.h"

#include <queue>

#include "diffract/core/error.h"
#include "diffract/text/unicode.h"

namespace diffract::text {
namespace {

constexpr const char* kWordEnd = "</w>";

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

// The bytes that do not stand for themselves get the characters from U+0100 on, in order.
std::array<std::string, 256> byte_alphabet() {
  std::array<std::string, 256> alphabet;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    append_utf8(alphabet[static_cast<size_t>(byte)],
                stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++);
  return alphabet;
}

// A part of a word on its way to a token: a list linked in both directions, so that joining is quick.
struct Symbol {
  int64_t id;
  int previous, next;   // -1: none
  bool joined = false;  // swallowed by the part before it
};

struct Candidate {
  size_t rank;
  int left;         // the part that would swallow its next
  int64_t made_id;  // what they would make; stale when the parts have changed since
  // The lowest rank first; among equals the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : left > other.left;
  }
};

}  // namespace

std::string byte_character(uint8_t byte) {
  static const auto alphabet = byte_alphabet();
  return alphabet[byte];
}

BytePair::BytePair(const Vocabulary& vocabulary, const Merges& merges, int64_t unknown,
                   const std::string& source) {
  const auto id_or = [&](const std::string& token, int64_t fallback) {
    const auto found = vocabulary.find(token);
    return found == vocabulary.end() ? fallback : found->second;
  };
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string character = byte_character(static_cast<uint8_t>(byte));
    inner_[byte] = id_or(character, unknown);
    final_[byte] = id_or(character + kWordEnd, unknown);
  }
  merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string &left = merges[rank].first, &right = merges[rank].second;
    const auto known = [&](const std::string& token) {
      const int64_t id = id_or(token, -1);
      if (id < 0)
        throw CheckpointError(
            "{}: merge {} (\"{}\" and \"{}\") needs the token \"{}\", which the vocabulary lacks", source,
            rank + 1, left, right, token);
      return id;
    };
    merges_.insert_or_assign({known(left), known(right)}, Merge{rank, known(left + right)});
  }
}

const BytePair::Merge* BytePair::find(int64_t left, int64_t right) const {
  const auto found = merges_.find({left, right});
  return found == merges_.end() ? nullptr : &found->second;
}

void BytePair::encode(std::string_view word, std::vector<int64_t>& ids) const {
  std::vector<Symbol> parts;
  parts.reserve(word.size());
  const int last = static_cast<int>(word.size()) - 1;
  for (int i = 0; i <= last; ++i) {
    const auto byte = static_cast<uint8_t>(word[static_cast<size_t>(i)]);
    parts.push_back({i == last ? final_[byte] : inner_[byte], i - 1, i == last ? -1 : i + 1});
  }
  std::priority_queue<Candidate> candidates;
  const auto offer = [&](int left) {
    if (left < 0 || parts[left].next < 0) return;
    if (const Merge* merge = find(parts[left].id, parts[parts[left].next].id))
      candidates.push({merge->rank, left, merge->id});
  };
  for (int i = 0; i < last; ++i) offer(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = parts[best.left];
    if (left.joined || left.next < 0) continue;
    const Merge* merge = find(left.id, parts[left.next].id);
    if (!merge || merge->id != best.made_id) continue;  // the parts have changed since it was offered
    Symbol& right = parts[left.next];
    right.joined = true;
    left.id = merge->id;
    left.next = right.next;
    if (right.next >= 0) parts[right.next].previous = best.left;
    offer(left.previous);
    offer(best.left);
  }
  for (int i = 0; i >= 0; i = parts[i].next) ids.push_back(parts[i].id);
}

}  // namespace diffract::text
