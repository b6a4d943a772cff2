#pragma once
#include <ATen/ATen.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace diffract::pipelines {

/// What the text encoders of a pipeline made of the texts of earlier requests: the pictures of one prompt,
/// and the negative prompt of a whole job, are encoded once. It is in host memory, also where encoders are on
/// an accelerator, whose memory a plan has dealt out. Thread-safe.
class TextCache {
 public:
  /// What an encoder's result depends on beside the encoder. Sums over a batch are rounded as its shape says,
  /// so texts that are encoded together have one key: what is made of them does not depend on what came
  /// before.
  struct Key {
    std::string encoder;  // as the checkpoint names it
    std::vector<std::string> texts;
    int64_t clip_skip = 0, max_sequence_length = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  using Made = std::vector<at::Tensor>;  // on the encoder's device; they must not be changed

  static constexpr int64_t kMostBytes = int64_t{64} << 20;  // 16 texts of FLUX in half precision
  /// What was used least recently goes first. 0: nothing is kept, as over ranks, where all encode or none.
  explicit TextCache(int64_t most_bytes = kMostBytes) : most_bytes_(most_bytes) {}

  /// What `encode` gives, or gave for this key.
  Made get(const Key& key, const std::function<Made()>& encode);
  /// In host memory.
  int64_t bytes() const;

 private:
  struct Entry {
    Made made;
    at::Device device;
    int64_t bytes;
    uint64_t used;
  };
  bool find(const Key& key, Made& made);
  void keep(const Key& key, const Made& made);

  int64_t most_bytes_;
  mutable std::mutex mutex_;
  std::map<Key, Entry> entries_;
  int64_t bytes_ = 0;
  uint64_t uses_ = 0;
};

}  // namespace diffract::pipelines
