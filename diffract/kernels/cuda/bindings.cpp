#include "diffract/kernels/cuda/bindings.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "diffract/core/error.h"
#include "diffract/kernels/bias_residual.h"
#include "diffract/kernels/norm_rotary.h"
#include "diffract/kernels/step_math.h"

namespace diffract::kernels::cuda {

ElementType element_type(const Tensor& x) {
  if (x.scalar_type() == at::kHalf) return ElementType::float16;
  if (x.scalar_type() == at::kBFloat16) return ElementType::bfloat16;
  return ElementType::float32;
}

bool has_kernels_for(const Tensor& x) {
  const auto type = x.scalar_type();
  return (type == at::kFloat || type == at::kHalf || type == at::kBFloat16) && x.numel() > 0;
}

void check_launch(cudaError_t result, const char* kernel) {
  if (result == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw MemoryError("out of device memory: CUDA kernel {} found no room for its code", kernel);
  }
  if (result != cudaSuccess) throw InternalError("CUDA kernel {}: {}", kernel, cudaGetErrorString(result));
}

namespace {

constexpr int64_t kMostGroupNormChannels = 4096;  // of 48 KiB of shared memory
constexpr int64_t kMostRotaryWidth = 512;

cudaStream_t stream_of(const Tensor& x) { return c10::cuda::getCurrentCUDAStream(x.device().index()); }

// Data of a tensor whose start lies as the widest loads need it.
bool is_aligned(const Tensor& x) { return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0; }

const void* data(const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

Tensor dense(const Tensor& x) {
  const Tensor packed = x.contiguous();
  return is_aligned(packed) ? packed : packed.clone();
}

constexpr int64_t kUneven = -1;
// Vectors [B, 1, D] that may be slices of one tensor: the stride from batch to batch.
int64_t vector_stride(const Tensor& vectors, const Tensor& x) {
  const bool fits = x.dim() == 3 && vectors.dim() == 3 && vectors.size(0) == x.size(0) &&
                    vectors.size(1) == 1 && vectors.size(2) == x.size(2) && vectors.stride(2) == 1 &&
                    is_aligned(vectors) && vectors.scalar_type() == x.scalar_type();
  if (!fits) return kUneven;
  return vectors.size(0) == 1 ? 0 : vectors.stride(0);
}

Tensor group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend) {
  if (!has_kernels_for(x) || x.dim() != 4 || x.size(1) > kMostGroupNormChannels ||
      x.scalar_type() != norm.weight.scalar_type())
    return plain::group_norm(x.clone(), norm, addend);
  const c10::cuda::CUDAGuard device(x.device());
  Tensor in = x.contiguous(at::MemoryFormat::ChannelsLast);
  if (!is_aligned(in)) in = in.clone(at::MemoryFormat::ChannelsLast);
  Tensor out = at::empty_like(in, at::MemoryFormat::ChannelsLast);
  const Tensor added =
      addend.defined() ? addend.to(x.scalar_type()).expand({x.size(0), x.size(1)}).contiguous() : Tensor();
  GroupNormLaunch launch{.type = element_type(x),
                         .x = data(in),
                         .addend = data(added),
                         .weight = data(norm.weight),
                         .bias = data(norm.bias),
                         .out = out.data_ptr(),
                         .partials = nullptr,
                         .batch = x.size(0),
                         .pixels = x.size(2) * x.size(3),
                         .channels = x.size(1),
                         .groups = norm.groups,
                         .eps = static_cast<float>(norm.eps),
                         .silu = norm.silu};
  const Tensor partials = at::empty({group_norm_scratch(launch)}, x.options().dtype(at::kFloat));
  launch.partials = partials.data_ptr<float>();
  check_launch(cuda::group_norm(launch, stream_of(x)), "group_norm");
  return out;
}

ResidualNormResult residual_norm_or_sum(const Tensor& x, const Tensor& y, const Tensor& gate,
                                        const ResidualNorm* norm) {
  const auto plain_form = [&]() -> ResidualNormResult {
    if (norm) return plain::residual_norm(x, y, gate, *norm);
    return {.sum = plain::gated_residual(x, y, gate), .norm = {}};
  };
  const int64_t width = x.size(-1);
  const bool wide = width % 8 == 0;
  // Those there are must lie alike.
  std::optional<int64_t> stride;
  for (const Tensor& vectors : {gate, norm ? norm->scale : Tensor(), norm ? norm->shift : Tensor()})
    if (vectors.defined()) {
      const int64_t found = vector_stride(vectors, x);
      stride = stride.value_or(found) == found ? found : kUneven;
    }
  const int64_t most = wide ? 4096 * 16 / x.element_size() : 4096;
  if (!has_kernels_for(x) || stride == kUneven || width > most ||
      (norm && norm->weight.defined() && norm->weight.scalar_type() != x.scalar_type()) ||
      (y.defined() && (y.sizes() != x.sizes() || y.scalar_type() != x.scalar_type())))
    return plain_form();
  const c10::cuda::CUDAGuard device(x.device());
  const Tensor a = dense(x), b = y.defined() ? dense(y) : Tensor();
  ResidualNormResult result{.sum = y.defined() ? at::empty_like(a) : a,
                            .norm = norm ? at::empty_like(a) : Tensor()};
  const int64_t rows = a.numel() / width;
  check_launch(cuda::residual_norm({.type = element_type(x),
                                    .x = data(a),
                                    .y = data(b),
                                    .gate = data(gate),
                                    .vector_stride = stride.value_or(0),
                                    .scale = norm ? data(norm->scale) : nullptr,
                                    .shift = norm ? data(norm->shift) : nullptr,
                                    .weight = norm ? data(norm->weight) : nullptr,
                                    .bias = norm ? data(norm->bias) : nullptr,
                                    .sum = y.defined() ? result.sum.data_ptr() : nullptr,
                                    .out = norm ? result.norm.data_ptr() : nullptr,
                                    .rows = rows,
                                    .rows_a_batch = x.dim() == 3 ? x.size(1) : rows,
                                    .width = width,
                                    .eps = norm ? static_cast<float>(norm->eps) : 0.0f,
                                    .rms = norm && norm->rms},
                                   stream_of(x)),
               "residual_norm");
  return result;
}

ResidualNormResult residual_norm(const Tensor& x, const Tensor& y, const Tensor& gate,
                                 const ResidualNorm& norm) {
  return residual_norm_or_sum(x, y, gate, &norm);
}

Tensor gated_residual(const Tensor& x, const Tensor& y, const Tensor& gate) {
  return residual_norm_or_sum(x, y, gate, nullptr).sum;
}

Tensor norm_rotary(const Tensor& x, const Tensor& weight, double eps, const Tensor& rope) {
  const bool fits = has_kernels_for(x) && x.dim() == 4 && x.size(3) % 2 == 0 &&
                    x.size(3) <= kMostRotaryWidth && x.stride(3) == 1 && x.stride(2) == x.size(3) &&
                    x.stride(1) % 2 == 0 && x.stride(0) % 2 == 0 &&
                    reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 8 == 0 &&
                    weight.scalar_type() == x.scalar_type() && rope.is_contiguous();
  if (!fits) return plain::norm_rotary(x, weight, eps, rope);
  const c10::cuda::CUDAGuard device(x.device());
  check_launch(cuda::norm_rotary({.type = element_type(x),
                                  .x = x.data_ptr(),
                                  .weight = data(weight),
                                  .rope = rope.const_data_ptr<float>(),
                                  .batch = x.size(0),
                                  .tokens = x.size(1),
                                  .heads = x.size(2),
                                  .width = x.size(3),
                                  .batch_stride = x.stride(0),
                                  .token_stride = x.stride(1),
                                  .eps = static_cast<float>(eps),
                                  .is_wide = is_aligned(x) && is_aligned(weight) && x.stride(0) % 8 == 0 &&
                                             x.stride(1) % 8 == 0},
                                 stream_of(x)),
               "norm_rotary");
  return x;
}

Tensor linear_float8(const Tensor& x, const Float8Matrix& weight, const Tensor& bias, const LinearEnd& end,
                     int64_t gelu_from) {
  const int64_t width = x.size(-1);
  if (x.scalar_type() != at::kBFloat16 || x.dim() != 3 || end.gelu || width > 16384 || gelu_from % 8 > 0)
    return plain::linear_float8(x, weight, bias, end, gelu_from);
  const c10::cuda::CUDAGuard device(x.device());
  const bool is_even = x.stride(2) == 1 && x.stride(1) % 8 == 0 && is_aligned(x) &&
                       (x.size(0) == 1 || x.stride(0) == x.size(1) * x.stride(1));
  const Tensor in = is_even ? x : dense(x);
  const int64_t rows = x.size(0) * x.size(1);
  const Tensor narrow = at::empty({rows, width}, x.options().dtype(at::kFloat8_e4m3fn));
  const Tensor scales = at::empty({rows, 1}, x.options().dtype(at::kFloat));
  check_launch(quantize_rows({.type = element_type(x),
                              .x = data(in),
                              .row_stride = in.stride(1),
                              .out = narrow.data_ptr(),
                              .scales = scales.data_ptr<float>(),
                              .rows = rows,
                              .width = width,
                              .gelu_from = gelu_from < 0 ? width : gelu_from},
                             stream_of(x)),
               "quantize_rows");
  Tensor y = at::_scaled_mm(narrow, weight.values.t(), scales, weight.scales.view({1, -1}),
                            bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, {}, x.scalar_type(),
                            /*use_fast_accum=*/true)
                 .view({x.size(0), x.size(1), -1});
  if (end.residual.defined()) y = y.add_(end.residual);
  if (!end.out.defined()) return y;
  kernels::cuda::table().copy_into(end.out, y);
  return end.out;
}

void copy_into(const Tensor& to, const Tensor& from) {
  const int64_t bytes = from.size(-1) * from.element_size();
  const bool fits = from.dim() == 3 && from.sizes() == to.sizes() && from.scalar_type() == to.scalar_type() &&
                    from.is_contiguous() && to.stride(2) == 1 && to.stride(0) == to.size(1) * to.stride(1) &&
                    bytes % 16 == 0 && to.stride(1) * to.element_size() % 16 == 0 && is_aligned(from) &&
                    is_aligned(to);
  if (!fits) {
    to.copy_(from);
    return;
  }
  const c10::cuda::CUDAGuard device(from.device());
  check_launch(copy_rows(data(from), bytes, to.data_ptr(), to.stride(1) * to.element_size(), bytes,
                         from.size(0) * from.size(1), stream_of(from)),
               "copy_rows");
}

Tensor gated_gelu(const Tensor& x, GatedGelu kind) {
  if (!has_kernels_for(x) || x.size(-1) % 2 != 0) return plain::gated_gelu(x, kind);
  const c10::cuda::CUDAGuard device(x.device());
  const Tensor in = dense(x);
  auto sizes = x.sizes().vec();
  sizes.back() /= 2;
  Tensor out = at::empty(sizes, x.options());
  check_launch(cuda::gated_gelu({.type = element_type(x),
                                 .x = data(in),
                                 .out = out.data_ptr(),
                                 .rows = out.numel() / sizes.back(),
                                 .width = sizes.back(),
                                 .tanh = kind == GatedGelu::t5,
                                 .gate_first = kind == GatedGelu::t5},
                                stream_of(x)),
               "gated_gelu");
  return out;
}

Tensor bias_residual(const Tensor& x, const Tensor& bias, const Tensor& residual) {
  constexpr auto kFormat = at::MemoryFormat::ChannelsLast;
  if (!has_kernels_for(x) || x.dim() != 4 || !x.is_contiguous(kFormat) || !is_aligned(x) ||
      (residual.defined() && residual.scalar_type() != x.scalar_type()) ||
      (bias.defined() && bias.scalar_type() != x.scalar_type()))
    return plain::bias_residual(x, bias, residual);
  const c10::cuda::CUDAGuard device(x.device());
  Tensor added = residual.defined() ? residual.contiguous(kFormat) : Tensor();
  if (added.defined() && !is_aligned(added)) added = added.clone(kFormat);
  check_launch(cuda::bias_residual({.type = element_type(x),
                                    .x = data(x),
                                    .bias = data(bias),
                                    .residual = data(added),
                                    .out = x.data_ptr(),
                                    .elements = x.numel(),
                                    .channels = x.size(1)},
                                   stream_of(x)),
               "bias_residual");
  return x;
}

Tensor guide(const Tensor& prediction, double scale) {
  const c10::cuda::CUDAGuard device(prediction.device());
  auto sizes = prediction.sizes().vec();
  sizes.front() /= 2;
  Tensor out = at::empty(sizes, prediction.options());
  const auto* negative = prediction.const_data_ptr<float>();
  check_launch(cuda::guide(negative, negative + out.numel(), static_cast<float>(scale), out.data_ptr<float>(),
                           out.numel(), stream_of(prediction)),
               "guide");
  return out;
}

Tensor step_along(const Tensor& x, const Tensor& y, double factor) {
  const c10::cuda::CUDAGuard device(x.device());
  Tensor out = at::empty_like(x);
  check_launch(weighted_sum(1.0f, x.const_data_ptr<float>(), static_cast<float>(factor),
                            y.const_data_ptr<float>(), out.data_ptr<float>(), out.numel(), stream_of(x)),
               "weighted_sum");
  return out;
}

}  // namespace

const CudaKernels& table() {
  static const CudaKernels kernels{.group_norm = group_norm,
                                   .residual_norm = residual_norm,
                                   .gated_residual = gated_residual,
                                   .norm_rotary = norm_rotary,
                                   .gated_gelu = gated_gelu,
                                   .linear = linear,
                                   .linear_float8 = linear_float8,
                                   .bias_residual = bias_residual,
                                   .guide = guide,
                                   .copy_into = copy_into,
                                   .step_along = step_along,
                                   .record = record};
  return kernels;
}

}  // namespace diffract::kernels::cuda
