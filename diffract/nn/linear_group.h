#pragma once
#include <vector>

#include "diffract/nn/linear.h"

namespace diffract::nn {

/// Several linear layers over one input, such as a query's, key's and value's. Where one
/// product pays (kernels/device_traits.h) their weights lie behind each other.
class LinearGroup {
 public:
  /// All with the same width of input, and with or without biases alike.
  explicit LinearGroup(std::vector<Linear> layers);

  /// What each layer gives for `x` [..., in]: [..., out of the layer]; on a GPU parts of one tensor [..., sum
  /// of the outs], `out` where it is defined.
  std::vector<Tensor> operator()(const kernels::Rows& x, const Tensor& out = {}) const;
  /// Of the layers from `begin` to before `end` alone.
  std::vector<Tensor> some(const kernels::Rows& x, size_t begin, size_t end) const;
  /// All of them as one tensor [..., sum of the outs].
  Tensor joined(const Tensor& x) const;
  bool wants_rounded_rows() const {
    return is_fused() ? fused_->wants_rounded_rows() : layers_.front().wants_rounded_rows();
  }
  bool is_fused() const { return fused_.has_value(); }

 private:
  std::vector<Tensor> split(const Tensor& all, size_t begin, size_t end) const;

  std::vector<Linear> layers_;   // empty where they are fused
  std::optional<Linear> fused_;  // [sum of the outs, in]
  std::vector<int64_t> begins_;  // of each layer's outs, and their sum
};

}  // namespace diffract::nn
