#include "diffract/nn/conv.h"

#include "diffract/kernels/bias_residual.h"
#include "diffract/kernels/device_traits.h"
#include "diffract/nn/expected_work.h"

namespace diffract::nn {
namespace {

// cuDNN's convolutions for the matrix units read channels-last.
Weight laid_out(Weight weight) {
  if (!kernels::traits(weight.stored()).channels_last) return weight;
  return {weight.stored().contiguous(at::MemoryFormat::ChannelsLast), weight.arithmetic()};
}

// [B, C, H, W] <-> [B, H, W, C], without a copy where it is channels-last.
Tensor pixels_last(const Tensor& x) { return x.permute({0, 2, 3, 1}); }
Tensor pixels_first(const Tensor& x) { return x.permute({0, 3, 1, 2}); }

}  // namespace

Conv2d::Conv2d(const WeightScope& w, int64_t in, int64_t out, ConvShape shape, Bias bias)
    : weight_(laid_out(w.weight("weight", {out, in, shape.kernel, shape.kernel}))),
      bias_(bias == Bias::yes ? w.tensor("bias", {out}) : Tensor()),
      shape_(shape) {}

Tensor Conv2d::without_bias(const Tensor& x) const {
  return at::conv2d(x, weight_.get(), {}, shape_.stride, shape_.padding);
}

Tensor Conv2d::operator()(const Tensor& x, const Tensor& residual) const {
  if (!kernels::traits(x).fuses_sums) {
    const Tensor weight = weight_.get();
    const double pixels =
        static_cast<double>(x.numel()) / static_cast<double>(x.size(-3) * shape_.stride * shape_.stride);
    expect_work(x, 2.0 * pixels * static_cast<double>(weight.numel()), weight.nbytes());
    Tensor y = at::conv2d(x, weight, bias_, shape_.stride, shape_.padding);
    return residual.defined() ? y.add_(residual) : y;
  }
  if (!bias_.defined() && !residual.defined()) return without_bias(x);
  if (!is_pointwise()) return kernels::bias_residual(without_bias(x), bias_, residual);
  const Tensor pixels = x.contiguous(at::MemoryFormat::ChannelsLast);
  return pixels_first(kernels::linear(pixels_last(pixels), weight_.get().flatten(1), bias_,
                                      {.residual = residual.defined() ? pixels_last(residual) : Tensor()}));
}

}  // namespace diffract::nn
