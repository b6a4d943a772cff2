#include "diffract/nn/linear_group.h"

namespace diffract::nn {

LinearGroup::LinearGroup(std::vector<Linear> layers) : layers_(std::move(layers)), begins_{0} {
  std::vector<Tensor> weights, scales, biases;
  bool on_gpu = true;
  for (const Linear& layer : layers_) {
    const Tensor& stored = layer.weight().stored();
    on_gpu = on_gpu && stored.is_cuda();
    begins_.push_back(begins_.back() + stored.size(0));
    weights.push_back(stored);
    if (layer.is_float8()) scales.push_back(layer.scales());
    if (layer.bias().defined()) biases.push_back(layer.bias());
  }
  if (!on_gpu) return;
  fused_.emplace(Weight(at::cat(weights), layers_.front().weight().arithmetic()),
                 scales.empty() ? Tensor() : at::cat(scales), biases.empty() ? Tensor() : at::cat(biases));
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
    const Tensor &bias = fused_->bias(), &scales = fused_->scales();
    const Linear part(
        Weight(fused_->weight().stored().narrow(0, first, width), fused_->weight().arithmetic()),
        scales.defined() ? scales.narrow(0, first, width) : Tensor(),
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
