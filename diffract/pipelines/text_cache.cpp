#include "diffract/pipelines/text_cache.h"

#include <algorithm>

#include "diffract/core/trace.h"
#include "diffract/tensor/device_copy.h"

namespace diffract::pipelines {
namespace {

constexpr size_t kMostEntries = 1024;  // of small models, whose entries take next to nothing

int64_t bytes_of(const TextCache::Key& key, const TextCache::Made& made) {
  int64_t bytes = 0;
  for (const std::string& text : key.texts) bytes += static_cast<int64_t>(text.size());
  for (const at::Tensor& tensor : made) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

}  // namespace

TextCache::Made TextCache::get(const Key& key, const std::function<Made()>& encode) {
  Made made;
  if (find(key, made)) return made;
  {
    const trace::Span span("compute", "encode " + key.encoder);
    made = encode();
  }
  keep(key, made);
  return made;
}

bool TextCache::find(const Key& key, Made& made) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return false;
  found->second.used = ++uses_;
  for (const at::Tensor& tensor : found->second.made)
    made.push_back(tensor::send_to(tensor, found->second.device));
  return true;
}

void TextCache::keep(const Key& key, const Made& made) {
  const int64_t bytes = bytes_of(key, made);
  if (most_bytes_ == 0 || made.empty() || bytes > most_bytes_) return;
  Entry entry{.made = {}, .device = made.front().device(), .bytes = bytes, .used = 0};
  for (const at::Tensor& tensor : made) entry.made.push_back(tensor::keep_on_host(tensor));
  const std::lock_guard lock(mutex_);
  while (bytes_ + bytes > most_bytes_ || entries_.size() >= kMostEntries) {
    const auto oldest = std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
      return a.second.used < b.second.used;
    });
    bytes_ -= oldest->second.bytes;
    entries_.erase(oldest);
  }
  entry.used = ++uses_;
  if (entries_.try_emplace(key, std::move(entry)).second) bytes_ += bytes;
}

int64_t TextCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace diffract::pipelines
