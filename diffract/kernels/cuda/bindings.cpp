#include "diffract/kernels/cuda/bindings.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "diffract/core/error.h"
#include "diffract/kernels/bias_residual.h"
#include "diffract/kernels/cuda/tuning.h"
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

cudaStream_t stream_of(const Tensor& x) { return c10::cuda::getCurrentCUDAStream(x.device().index()); }

bool is_aligned(const Tensor& x) { return reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 == 0; }

const void* data(const Tensor& x) { return x.defined() ? x.const_data_ptr() : nullptr; }

Tensor dense(const Tensor& x) {
  const Tensor packed = x.contiguous();
  return is_aligned(packed) ? packed : packed.clone();
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

namespace {

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

std::unique_ptr<RecordedGraph> record_step(const Tensor& on_its_device, const std::function<void()>& work) {
  if (has_unmeasured()) measure_products(work);  // while recording nothing can be measured
  return record(on_its_device, work);
}

}  // namespace

const CudaKernels& table() {
  static const CudaKernels kernels{.group_norm = group_norm,
                                   .residual_norm = residual_norm,
                                   .gated_residual = gated_residual,
                                   .norm_rotary = norm_rotary,
                                   .gated_gelu = gated_gelu,
                                   .linear = linear,
                                   .linear_each = linear_each,
                                   .round_rows = round_rows,
                                   .linear_float8 = linear_float8,
                                   .attention = attention,
                                   .expect_attention = expect_attention,
                                   .bias_residual = bias_residual,
                                   .guide = guide,
                                   .measure = measure_products,
                                   .record = record_step};
  return kernels;
}

}  // namespace diffract::kernels::cuda
