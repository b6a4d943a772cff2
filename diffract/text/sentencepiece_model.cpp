#include "diffract/text/sentencepiece_model.h"

#include <cstring>
#include <optional>

#include "diffract/core/error.h"
#include "diffract/text/unicode.h"

namespace diffract::text {
namespace {

// The numbers of the fields in sentencepiece_model.proto.
namespace model {
constexpr uint64_t kPieces = 1, kTrainerSpec = 2, kNormalizerSpec = 3;
}
namespace piece {
constexpr uint64_t kText = 1, kScore = 2;
}
namespace trainer {
constexpr uint64_t kModelType = 3, kUnigram = 1;
}
namespace normalizer {
constexpr uint64_t kPrecompiledCharsmap = 2;
}

constexpr size_t kMaxPieces = 1 << 22;

// One field of a message: a number, or bytes for what has a length. Source: the protocol buffers encoding.
struct Field {
  uint64_t number;
  enum class Type : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 } type;
  uint64_t value = 0;
  std::string_view bytes;
};

class MessageReader {
 public:
  MessageReader(std::string_view message, const std::string& source) : message_(message), source_(source) {}

  std::optional<Field> next() {
    if (at_ == message_.size()) return {};
    const uint64_t key = varint();
    Field field{.number = key >> 3, .type = static_cast<Field::Type>(key & 7), .value = 0, .bytes = {}};
    switch (field.type) {
      case Field::Type::varint:
        field.value = varint();
        return field;
      case Field::Type::fixed64:
        std::memcpy(&field.value, take(8).data(), 8);
        return field;
      case Field::Type::fixed32:
        std::memcpy(&field.value, take(4).data(), 4);
        return field;
      case Field::Type::bytes:
        field.bytes = take(varint());
        return field;
    }
    fail();
  }

  [[noreturn]] void fail() const {
    throw CheckpointError(
        "{}: is not a SentencePiece model: byte {} of a message of {} bytes makes no sense. Is the file "
        "whole?",
        source_, at_, message_.size());
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    fail();
  }
  std::string_view take(uint64_t count) {
    if (count > message_.size() - at_) fail();
    const auto taken = message_.substr(at_, count);
    at_ += count;
    return taken;
  }

  std::string_view message_;
  const std::string& source_;
  size_t at_ = 0;
};

Unigram::Piece parse_piece(std::string_view message, size_t id, const std::string& source) {
  Unigram::Piece piece{.text = {}, .score = 0};
  MessageReader reader(message, source);
  while (const auto field = reader.next()) {
    if (field->number == piece::kText && field->type == Field::Type::bytes) piece.text = field->bytes;
    if (field->number != piece::kScore || field->type != Field::Type::fixed32) continue;
    float score = 0;
    std::memcpy(&score, &field->value, sizeof score);
    piece.score = score;
  }
  try {
    decode_utf8(piece.text);
  } catch (const UsageError& error) {
    throw CheckpointError("{}: token {}: {}", source, id, error.what());
  }
  return piece;
}

// The only bytes or number of a message that we read of it.
std::optional<Field> find(std::string_view message, uint64_t number, const std::string& source) {
  std::optional<Field> found;
  MessageReader reader(message, source);
  while (const auto field = reader.next())
    if (field->number == number) found = field;
  return found;
}

}  // namespace

SentencePieceModel parse_sentencepiece_model(std::string_view bytes, const std::string& source) {
  SentencePieceModel result;
  MessageReader reader(bytes, source);
  while (const auto field = reader.next()) {
    if (field->type != Field::Type::bytes) continue;
    if (field->number == model::kPieces) {
      if (result.pieces.size() >= kMaxPieces) reader.fail();
      result.pieces.push_back(parse_piece(field->bytes, result.pieces.size(), source));
    } else if (field->number == model::kTrainerSpec) {
      const auto type = find(field->bytes, trainer::kModelType, source);
      if (type && type->value != trainer::kUnigram)
        throw CheckpointError("{}: has the model type {}; expected {} (unigram)", source, type->value,
                              trainer::kUnigram);
    } else if (field->number == model::kNormalizerSpec) {
      const auto charsmap = find(field->bytes, normalizer::kPrecompiledCharsmap, source);
      if (charsmap) result.precompiled_charsmap = charsmap->bytes;
    }
  }
  if (result.pieces.empty()) throw CheckpointError("{}: has no tokens", source);
  return result;
}

}  // namespace diffract::text
