#include "diffract/nn/linear_group.h"

namespace diffract::nn {

LinearGroup::LinearGroup(std::vector<Linear> layers) : layers_(std::move(layers)), begins_{0} {
  std::vector<Tensor> weights, biases;
  bool on_gpu = true;
  for (const Linear& layer : layers_) {
    const Tensor& stored = layer.weight().stored();
    on_gpu = on_gpu && stored.is_cuda();
    begins_.push_back(begins_.back() + stored.size(0));
    weights.push_back(stored);
    if (layer.bias().defined()) biases.push_back(layer.bias());
  }
  if (!on_gpu) return;
  fused_ = Weight(at::cat(weights), layers_.front().weight().arithmetic());
  if (!biases.empty()) bias_ = at::cat(biases);
  layers_.clear();
}

std::vector<Tensor> LinearGroup::operator()(const Tensor& x, const Tensor& out) const {
  return some(x, 0, begins_.size() - 1, out);
}

std::vector<Tensor> LinearGroup::some(const Tensor& x, size_t begin, size_t end, const Tensor& out) const {
  std::vector<Tensor> parts;
  if (!is_fused()) {
    for (size_t i = begin; i < end; ++i) parts.push_back(layers_[i](x));
    return parts;
  }
  const int64_t first = begins_[begin], width = begins_[end] - first;
  const Tensor all = kernels::linear(x, fused_.get().narrow(0, first, width),
                                     bias_.defined() ? bias_.narrow(0, first, width) : Tensor(), {.out = out});
  for (size_t i = begin; i < end; ++i)
    parts.push_back(all.narrow(-1, begins_[i] - first, begins_[i + 1] - begins_[i]));
  return parts;
}

Tensor LinearGroup::joined(const Tensor& x) const {
  return is_fused() ? kernels::linear(x, fused_.get(), bias_) : at::cat((*this)(x), -1);
}

}  // namespace diffract::nn
