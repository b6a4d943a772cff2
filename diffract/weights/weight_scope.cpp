#include "diffract/weights/weight_scope.h"

#include "diffract/core/error.h"

namespace diffract::weights {
namespace {

// A small model is converted once: its float32 copy costs less than libtorch's own memory, and converting it
// in each of its short steps would cost more than a tenth of them.
constexpr int64_t kWidenBelowElements = 64 << 20;  // 256 MiB of float32

}  // namespace

WeightScope::WeightScope(std::shared_ptr<const Checkpoint> checkpoint, const tensor::DtypePolicy& policy,
                         std::shared_ptr<WeightStream> stream)
    : checkpoint_(std::move(checkpoint)),
      policy_(policy),
      stream_(std::move(stream)),
      widen_at_load_(checkpoint_->total_elements() < kWidenBelowElements) {}

WeightScope WeightScope::operator/(std::string_view child) const {
  WeightScope below = *this;
  below.prefix_ = full_name(child);
  return below;
}

std::string WeightScope::full_name(std::string_view name) const {
  return prefix_.empty() ? std::string(name) : fmt::format("{}.{}", prefix_, name);
}

bool WeightScope::has(std::string_view name) const { return checkpoint_->has(full_name(name)); }

at::Tensor WeightScope::fetch(std::string_view name, at::IntArrayRef shape) const {
  return checkpoint_->tensor(full_name(name), shape);
}

Weight WeightScope::weight(std::string_view name, at::IntArrayRef shape) const {
  at::Tensor stored = fetch(name, shape);
  const void* mapped = stored.const_data_ptr();
  if (policy_.storage) stored = stored.to(*policy_.storage);
  if (widen_at_load_) stored = stored.to(policy_.arithmetic);
  if (stream_ && stored.const_data_ptr() == mapped)
    stream_->add({static_cast<const std::byte*>(mapped), stored.nbytes()});
  return Weight(std::move(stored), policy_.arithmetic);
}

at::Tensor WeightScope::tensor(std::string_view name, at::IntArrayRef shape) const {
  at::Tensor stored = fetch(name, shape);
  if (policy_.storage) stored = stored.to(*policy_.storage);  // the same rounding as the large tensors get
  return stored.to(policy_.arithmetic);
}

}  // namespace diffract::weights
