#include "diffract/weights/low_rank.h"

#include <algorithm>

#include "diffract/core/error.h"

namespace diffract::weights {
namespace {

class LowRankChange final : public TensorChange {
 public:
  explicit LowRankChange(std::vector<LowRank> additions) : additions_(std::move(additions)) {}

  // In blocks that begin where they always do: a product's last bits depend on how many rows it has, and the
  // weights must be the same however they are read.
  void apply(at::Tensor& rows, int64_t first) const override {
    const int64_t end = first + rows.size(0);
    for (int64_t block = first / kRowsAtOnce * kRowsAtOnce; block < end; block += kRowsAtOnce) {
      const int64_t from = std::max(block, first), to = std::min(block + kRowsAtOnce, end);
      at::Tensor part = rows.narrow(0, from - first, to - from);
      apply_block(part, block, from - block);
    }
  }

 private:
  // `part`: the rows of the block from `skipped` on.
  void apply_block(at::Tensor& part, int64_t block, int64_t skipped) const {
    // DoRA's lengths are those of the weight as it is stored, whatever was added before.
    const at::Tensor stored = has_magnitude() ? part.clone() : at::Tensor();
    for (const LowRank& one : additions_) {
      const int64_t count = std::min(kRowsAtOnce, one.up.size(0) - block);
      const at::Tensor up = one.up.narrow(0, block, count).to(at::kFloat);
      const at::Tensor added =
          (at::mm(up, one.down.flatten(1).to(at::kFloat)) * one.scale).narrow(0, skipped, part.size(0));
      part.add_(added);
      if (!one.magnitude.defined()) continue;
      const at::Tensor magnitude = one.magnitude.narrow(0, block + skipped, part.size(0)).to(at::kFloat);
      const at::Tensor sum = stored + added;
      for (int64_t i = 0; i < part.size(0); ++i) part[i].mul_(magnitude[i] / sum[i].norm());
    }
  }
  bool has_magnitude() const {
    return std::any_of(additions_.begin(), additions_.end(),
                       [](const LowRank& one) { return one.magnitude.defined(); });
  }

  static constexpr int64_t kRowsAtOnce = 64;
  std::vector<LowRank> additions_;
};

void require_fit(const LowRank& one, const std::string& tensor, at::IntArrayRef shape) {
  const int64_t rows = shape.empty() ? 0 : shape[0], rank = one.down.size(0);
  const int64_t row = rows > 0 ? c10::multiply_integers(shape) / rows : 0;
  const int64_t down = rank > 0 ? one.down.numel() / rank : 0;
  if (shape.size() >= 2 && one.up.size(0) == rows && down == row &&
      (!one.magnitude.defined() || one.magnitude.numel() == rows))
    return;
  throw CheckpointError(
      "{}: adds {} x {} numbers to \"{}\", which has shape {}. The LoRA was made for another base model",
      one.name, one.up.size(0), down, tensor, c10::str(shape));
}

class WithLowRank final : public TensorSource {
 public:
  WithLowRank(TensorSourcePtr source, LowRankLookup additions)
      : source_(std::move(source)), additions_(std::move(additions)) {}

  bool has(const std::string& name) const override { return source_->has(name); }
  int64_t total_elements() const override { return source_->total_elements(); }
  StoredTensor stored(const std::string& name, at::IntArrayRef shape) const override {
    StoredTensor stored = source_->stored(name, shape);
    constexpr std::string_view kWeight = ".weight";
    if (!name.ends_with(kWeight)) return stored;
    const auto* additions = additions_(name.substr(0, name.size() - kWeight.size()));
    if (!additions) return stored;
    for (const LowRank& one : *additions) require_fit(one, name, shape);
    stored.change = std::make_shared<const LowRankChange>(*additions);
    return stored;
  }

 private:
  TensorSourcePtr source_;
  LowRankLookup additions_;
};

}  // namespace

TensorSourcePtr with_low_rank(TensorSourcePtr source, LowRankLookup additions) {
  return std::make_shared<const WithLowRank>(std::move(source), std::move(additions));
}

}  // namespace diffract::weights
