#pragma once
#include <vector>

#include "diffract/nn/placed.h"

namespace diffract::nn {

/// The blocks of a model, one behind the other, for `for (const auto& block : blocks) x = block(x)`. Each is
/// Placed: activations move to its device, and where its weights are kept elsewhere they are there while it
/// computes, and the next one's are being brought meanwhile (weights::WeightStream).
template <typename Block>
class BlockList {
 public:
  /// Builds `count` blocks as `Block(w / i, args...)`.
  template <typename... Args>
  BlockList(const weights::WeightScope& w, int64_t count, const Args&... args)
      : BlockList(Unit::block, w, count, args...) {}
  template <typename... Args>
  BlockList(Unit unit, const weights::WeightScope& w, int64_t count, const Args&... args) {
    blocks_.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) blocks_.emplace_back(unit, w / i, args...);
  }

  auto begin() const { return blocks_.begin(); }
  auto end() const { return blocks_.end(); }
  size_t size() const { return blocks_.size(); }
  const Placed<Block>& operator[](size_t index) const { return blocks_[index]; }

 private:
  std::vector<Placed<Block>> blocks_;
};

}  // namespace diffract::nn
