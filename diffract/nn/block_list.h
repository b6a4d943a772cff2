#pragma once
#include <vector>

#include "diffract/weights/weight_stream.h"

namespace diffract::nn {

/// The blocks of a model, one behind the other, for `for (const auto& block : blocks)`. Where a model is
/// larger than the memory it may take, a block's weights are in memory only while it computes, and the next
/// one's are being read meanwhile (weights::WeightStream).
template <typename Block>
class BlockList {
 public:
  /// Builds `count` blocks as `Block(w / i, args...)`.
  template <typename... Args>
  BlockList(const weights::WeightScope& w, int64_t count, const Args&... args) : stream_(w.stream()) {
    blocks_.reserve(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      if (stream_) places_.push_back(stream_->begin_part());
      blocks_.emplace_back(w / i, args...);
    }
    if (stream_) stream_->end_part();
  }

  class Iterator {
   public:
    Iterator(const BlockList& list, size_t index) : list_(list), index_(index) {}
    const Block& operator*() const { return list_.enter(index_); }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return index_ != other.index_; }

   private:
    const BlockList& list_;
    size_t index_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, blocks_.size()}; }
  size_t size() const { return blocks_.size(); }

 private:
  const Block& enter(size_t index) const {
    if (stream_) stream_->enter(places_[index]);
    return blocks_[index];
  }

  std::vector<Block> blocks_;
  std::shared_ptr<weights::WeightStream> stream_;  // null: all weights stay in memory
  std::vector<size_t> places_;                     // of the blocks in the stream
};

}  // namespace diffract::nn
