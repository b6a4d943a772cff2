#include "diffract/text/t5_vocabulary.h"

#include "diffract/core/base64.h"
#include "diffract/core/error.h"
#include "diffract/text/sentencepiece_model.h"
#include "diffract/text/special_tokens.h"

namespace diffract::text {
namespace {

constexpr int64_t kT5Length = 512;
constexpr int64_t kUnkId = 2;  // transformers takes this id whatever the files say
constexpr int kSentinels = 100;
constexpr size_t kMaxPieces = 1 << 22;

std::string sentinel(int number) { return fmt::format("<extra_id_{}>", number); }

// model.vocab: [["<pad>", 0.0], ["</s>", 0.0], ...]
std::vector<Unigram::Piece> parse_pieces(const Json& vocab, const std::string& source) {
  if (!vocab.is_array() || vocab.empty() || vocab.size() > kMaxPieces)
    throw CheckpointError("{}: \"vocab\" is {}; expected a list of tokens and scores", source,
                          excerpt(vocab));
  std::vector<Unigram::Piece> pieces;
  pieces.reserve(vocab.size());
  for (const Json& item : vocab) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number())
      throw CheckpointError("{}: token {} is {}; expected a text and a score", source, pieces.size(),
                            excerpt(item));
    pieces.push_back({item[0].get<std::string>(), item[1].get<double>()});
  }
  return pieces;
}

// The first Precompiled normaliser, alone or in a Sequence. Like transformers' class for T5 we take no other.
std::string parse_charsmap(const Json& normalizer, const std::string& source) {
  if (!normalizer.is_object()) return {};
  if (normalizer.value("type", Json()) == Json("Sequence")) {
    for (const Json& part : normalizer.value("normalizers", Json::array()))
      if (auto charsmap = parse_charsmap(part, source); !charsmap.empty()) return charsmap;
    return {};
  }
  const Json encoded = normalizer.value("precompiled_charsmap", Json());
  if (normalizer.value("type", Json()) != Json("Precompiled") || encoded.is_null()) return {};
  const auto charsmap =
      encoded.is_string() ? decode_base64(encoded.get_ref<const std::string&>()) : std::nullopt;
  if (!charsmap) throw CheckpointError("{}: \"precompiled_charsmap\" is not base64", source);
  return *charsmap;
}

// Gives the file's list of added tokens, null without one.
Json parse_tokenizer_json(const TokenizerFiles& files, T5Vocabulary& v) {
  const Json root = parse_object(files.tokenizer_json, v.source);
  v.sides = read_text_sides(files, root);
  const Json model = root.value("model", Json::object());
  if (!model.is_object() || model.value("type", Json("Unigram")) != Json("Unigram"))
    throw CheckpointError("{}: \"model\" is not a unigram model, which T5's is", v.source);
  v.pieces = parse_pieces(model.value("vocab", Json()), v.source);
  v.precompiled_charsmap = parse_charsmap(root.value("normalizer", Json()), v.source);
  return root.value("added_tokens", Json());
}

void parse_spiece_model(const TokenizerFiles& files, T5Vocabulary& v) {
  auto model = parse_sentencepiece_model(files.spiece_model, v.source);
  v.sides = read_text_sides(files, nullptr);
  v.pieces = std::move(model.pieces);
  v.precompiled_charsmap = std::move(model.precompiled_charsmap);
  for (int i = kSentinels - 1; i >= 0; --i) v.pieces.push_back({sentinel(i), 0.0});
}

}  // namespace

T5Vocabulary parse_t5_vocabulary(const TokenizerFiles& files) {
  T5Vocabulary v;
  v.unk_id = kUnkId;
  v.source = files.folder + (files.tokenizer_json.empty() ? "/spiece.model" : "/tokenizer.json");
  Json added_tokens;
  if (!files.tokenizer_json.empty())
    added_tokens = parse_tokenizer_json(files, v);
  else
    parse_spiece_model(files, v);

  std::unordered_map<std::string, int64_t> ids;
  for (size_t id = 0; id < v.pieces.size(); ++id) ids[v.pieces[id].text] = static_cast<int64_t>(id);
  SpecialTokens special(files, ids, v.source, added_tokens);
  v.eos_id = special.add("eos_token", "</s>");
  special.add("unk_token", "<unk>");
  v.pad_id = special.add("pad_token", "<pad>");
  std::vector<std::string> sentinels;
  sentinels.reserve(kSentinels);
  for (int i = 0; i < kSentinels; ++i) sentinels.push_back(sentinel(i));
  special.add_list("additional_special_tokens", sentinels);
  special.add_list("extra_special_tokens", {});  // as transformers 5 names them
  v.added_tokens = special.tokens();
  v.model_max_length = special.model_max_length(kT5Length);
  return v;
}

}  // namespace diffract::text
