#include "diffract/kernels/linear_float8.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {
namespace {

constexpr double kLargest = 448;  // of e4m3

Tensor exact(const Tensor& values, const Tensor& scales, at::ScalarType type) {
  return (values.to(at::kFloat) * scales).to(type);
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

Rows plain::round_rows(const Tensor& x) {
  const auto rounded = to_float8(x);
  return {rounded.values, rounded.scales};
}

Rows plain::round_beside_gelu(const Tensor& x, const Tensor& hidden) {
  const Tensor activated = at::gelu(hidden, "tanh");
  return round_rows(x.defined() ? at::cat({x, activated}, -1) : activated);
}

Tensor plain::linear_float8(const Rows& x, const Float8Matrix& weight, const Tensor& bias,
                            const LinearEnd& end) {
  const Rows rounded = x.is_float8() ? x : round_rows(x.values);
  const auto type = bias.defined() ? bias.scalar_type() : at::kFloat;
  return plain::linear(exact(rounded.values, rounded.scales, type), exact(weight.values, weight.scales, type),
                       bias, end);
}

Rows round_rows(const Tensor& x) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->round_rows(x, {});
  return plain::round_rows(x);
}

Rows round_beside_gelu(const Tensor& x, const Tensor& hidden) {
  if (const auto* cuda = cuda_kernels(hidden)) return cuda->round_rows(x, hidden);
  return plain::round_beside_gelu(x, hidden);
}

Tensor linear_float8(const Rows& x, const Float8Matrix& weight, const Tensor& bias, const LinearEnd& end) {
  const Rows rounded = x.is_float8() ? x : round_rows(x.values);
  if (const auto* cuda = cuda_kernels(x.values)) return cuda->linear_float8(rounded, weight, bias, end);
  return plain::linear_float8(rounded, weight, bias, end);
}

}  // namespace diffract::kernels
