#include "diffract/kernels/linear_float8.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {
namespace {

constexpr double kLargest = 448;  // of e4m3

Tensor after_gelu(const Tensor& x, int64_t gelu_from) {
  if (gelu_from < 0) return x;
  Tensor y = x.clone();
  y.slice(-1, gelu_from).copy_(at::gelu(x.slice(-1, gelu_from), "tanh"));
  return y;
}

}  // namespace

Float8Matrix to_float8(const Tensor& matrix) {
  const Tensor wide = matrix.to(at::kFloat);
  const Tensor scales = wide.abs().amax(-1, /*keepdim=*/true).clamp_min(1e-12) / kLargest;
  return {.values = (wide / scales).clamp(-kLargest, kLargest).to(at::kFloat8_e4m3fn), .scales = scales};
}

bool can_multiply_float8(const Tensor& weight, int64_t smallest) {
  return cuda_kernels(weight) && weight.dim() == 2 && weight.scalar_type() == at::kBFloat16 &&
         weight.size(0) >= smallest && weight.size(1) >= smallest && weight.size(0) % 16 == 0 &&
         weight.size(1) % 16 == 0;
}

Tensor plain::linear_float8(const Tensor& x, const Float8Matrix& weight, const Tensor& bias,
                            const LinearEnd& end, int64_t gelu_from) {
  const auto rounded = to_float8(after_gelu(x, gelu_from));
  const auto exact = [&](const Float8Matrix& m) {
    return (m.values.to(at::kFloat) * m.scales).to(x.scalar_type());
  };
  return plain::linear(exact(rounded), exact(weight), bias, end);
}

Tensor linear_float8(const Tensor& x, const Float8Matrix& weight, const Tensor& bias, const LinearEnd& end,
                     int64_t gelu_from) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->linear_float8(x, weight, bias, end, gelu_from);
  return plain::linear_float8(x, weight, bias, end, gelu_from);
}

}  // namespace diffract::kernels
