#include "diffract/loading/textual_inversion.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <span>

#include "diffract/core/error.h"
#include "diffract/loading/addition_files.h"
#include "diffract/weights/checkpoint.h"

namespace diffract::loading {
namespace {

constexpr std::string_view kTable = "token_embedding.weight";
constexpr int64_t kMostVectors = 1000;  // of one token; a prompt has 77

// The one tensor of a file, or the one for this text encoder.
const io::TensorInfo& tensor_of(const io::SafetensorsFile& file, std::string_view key) {
  if (file.tensors().size() == 1) return file.tensors().front();
  const io::TensorInfo* found = key.empty() ? nullptr : file.find(key);
  if (!found)
    throw CheckpointError("{}: has {} tensors; expected the vectors of one token{}", file.path().string(),
                          file.tensors().size(), key.empty() ? "" : fmt::format(", or a tensor \"{}\"", key));
  return *found;
}

Inversion read_inversion(const TextualInversionOption& option, std::string_view key) {
  const auto path = find_addition_file(option.path, "--textual-inversion", kEmbeddingFile);
  const auto file = io::SafetensorsFile::open(path);
  const io::TensorInfo& info = tensor_of(*file, key);
  const std::string where = fmt::format("{}: \"{}\"", path.string(), info.name);
  if (info.shape.empty() || info.shape.size() > 2 || info.begin == info.end) {
    const std::span shown = std::span(info.shape).first(std::min<size_t>(info.shape.size(), 8));
    throw CheckpointError("{}: has shape [{}]; expected [width] or [1 to {}, width]", where,
                          fmt::join(shown, ", "), kMostVectors);
  }
  const std::vector<int64_t> shape{info.shape.begin(), info.shape.end()};
  const auto checkpoint = weights::Checkpoint::open({.files = {path}, .description = path.string()});
  at::Tensor vectors = checkpoint->stored(info.name, shape).view.to(at::kFloat).clone();
  if (vectors.dim() == 1) vectors = vectors.unsqueeze(0);
  if (vectors.dim() != 2 || vectors.numel() == 0 || vectors.size(0) > kMostVectors)
    throw CheckpointError("{}: has shape {}; expected [width] or [1 to {}, width]", where,
                          c10::str(at::IntArrayRef(shape)), kMostVectors);
  const bool names_itself = file->tensors().size() == 1;
  if (option.token.empty() && !names_itself)
    throw UsageError("--textual-inversion {}: the file does not name its token; add =TOKEN", option.path);
  return {.token = option.token.empty() ? info.name : option.token,
          .vectors = std::move(vectors),
          .source = where};
}

// Writes rows over those of the table.
class Rows final : public weights::TensorChange {
 public:
  Rows(at::Tensor rows, int64_t first) : rows_(std::move(rows)), first_(first) {}
  void apply(at::Tensor& rows, int64_t first) const override {
    const int64_t begin = std::max(first, first_),
                  end = std::min(first + rows.size(0), first_ + rows_.size(0));
    if (begin < end)
      rows.narrow(0, begin - first, end - begin).copy_(rows_.narrow(0, begin - first_, end - begin));
  }

 private:
  at::Tensor rows_;
  int64_t first_;
};

// Where a CLIP model's config has its text encoder's keys.
Json& text_part(Json& config) {
  const bool nested =
      !config.contains("vocab_size") && config.contains("text_config") && config["text_config"].is_object();
  return nested ? config["text_config"] : config;
}

int64_t vocab_size_of(const Json& config, const std::string& source) {
  constexpr int64_t kClip = 49408;
  return ConfigReader(config, source).integer("vocab_size", 1, 1 << 24, kClip);
}

}  // namespace

std::vector<Inversion> read_inversions(const std::vector<TextualInversionOption>& options,
                                       const FamilyFacts& facts, std::string_view text_encoder) {
  std::vector<Inversion> inversions;
  for (const TextualInversionPlace& place : facts.textual_inversion)
    if (place.text_encoder == text_encoder)
      for (const TextualInversionOption& option : options)
        inversions.push_back(read_inversion(option, place.key));
  return inversions;
}

ComponentTokens::ComponentTokens(std::vector<Inversion> inversions, int64_t first)
    : inversions_(std::move(inversions)), first_(first), end_(first) {
  for (const Inversion& one : inversions_) end_ += one.vectors.size(0);
}

class ComponentTokens::Source final : public weights::TensorSource {
 public:
  Source(weights::TensorSourcePtr source, std::shared_ptr<const ComponentTokens> tokens, int64_t rows)
      : source_(std::move(source)), tokens_(std::move(tokens)), rows_(rows) {}
  bool has(const std::string& name) const override { return source_->has(name); }
  int64_t total_elements() const override { return source_->total_elements(); }
  weights::StoredTensor stored(const std::string& name, at::IntArrayRef shape) const override {
    if (!name.ends_with(kTable) || shape.size() != 2) return source_->stored(name, shape);
    const int64_t width = shape[1];
    std::vector<at::Tensor> vectors;
    for (const Inversion& one : tokens_->inversions_) {
      if (one.vectors.size(1) != width)
        throw CheckpointError(
            "{}: has vectors of width {}; the text encoder's tokens have {}. It was made for another base "
            "model",
            one.source, one.vectors.size(1), width);
      vectors.push_back(one.vectors);
    }
    const at::Tensor table = source_->tensor(name, {rows_, width});
    at::Tensor grown = at::zeros({shape[0], width}, table.options());
    grown.narrow(0, 0, rows_).copy_(table);
    return {grown, nullptr, 0, std::make_shared<const Rows>(at::cat(vectors), tokens_->first_)};
  }

 private:
  weights::TensorSourcePtr source_;
  std::shared_ptr<const ComponentTokens> tokens_;
  int64_t rows_;  // in the file
};

weights::TensorSourcePtr ComponentTokens::over(weights::TensorSourcePtr source,
                                               const std::shared_ptr<const ComponentTokens>& tokens,
                                               const ConfigReader& config) {
  if (!tokens) return source;
  Json json = config.json();
  return std::make_shared<const Source>(std::move(source), tokens,
                                        vocab_size_of(text_part(json), config.source()));
}

ConfigReader ComponentTokens::grown(const ConfigReader& config) const {
  Json json = config.json();
  Json& part = text_part(json);
  part["vocab_size"] = std::max(vocab_size_of(part, config.source()), end_);
  return {std::move(json), config.source()};
}

}  // namespace diffract::loading
