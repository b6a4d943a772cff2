#include "diffract/nn/linear_group.h"

#include "diffract/kernels/device_traits.h"

namespace diffract::nn {

LinearGroup::LinearGroup(std::vector<Linear> layers) : layers_(std::move(layers)), begins_{0} {
  std::vector<Weight> weights;
  std::vector<Tensor> biases;
  bool as_one = true;
  for (const Linear& layer : layers_) {
    const Tensor& stored = layer.weight().stored();
    as_one = as_one && kernels::traits(stored).prefers_one_product;
    begins_.push_back(begins_.back() + stored.size(0));
    weights.push_back(layer.weight());
    if (layer.bias().defined()) biases.push_back(layer.bias());
  }
  if (!as_one) return;
  fused_.emplace(Weight::joined(weights), biases.empty() ? Tensor() : weights::joined(biases));
  layers_.clear();
}

std::vector<Tensor> LinearGroup::split(const Tensor& all, size_t begin, size_t end) const {
  std::vector<Tensor> parts;
  for (size_t i = begin; i < end; ++i)
    parts.push_back(all.narrow(-1, begins_[i] - begins_[begin], begins_[i + 1] - begins_[i]));
  return parts;
}

std::vector<Tensor> LinearGroup::operator()(const kernels::Rows& x, const Tensor& out) const {
  if (is_fused()) return split((*fused_)(x, {.out = out}), 0, begins_.size() - 1);
  return some(x, 0, layers_.size());
}

std::vector<Tensor> LinearGroup::some(const kernels::Rows& x, size_t begin, size_t end) const {
  if (is_fused()) {
    const int64_t first = begins_[begin], width = begins_[end] - first;
    const Tensor& bias = fused_->bias();
    const Linear part(fused_->weight().rows(first, width),
                      bias.defined() ? bias.narrow(0, first, width) : Tensor());
    return split(part(x), begin, end);
  }
  std::vector<Tensor> parts;
  for (size_t i = begin; i < end; ++i) parts.push_back(layers_[i](x));
  return parts;
}

Tensor LinearGroup::joined(const Tensor& x) const {
  return is_fused() ? (*fused_)(x) : at::cat((*this)(x), -1);
}

}  // namespace diffract::nn
