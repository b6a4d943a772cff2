#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <cmath>

#include "diffract/kernels/cuda/bindings.h"

namespace diffract::kernels::cuda {
namespace {

// Itself, or a copy whose rows begin where 16 bytes can be loaded at once: kernels want that, and flash
// attention does not look before it loads.
Tensor with_aligned_rows(const Tensor& x) {
  const auto strides_fit = [&] {
    for (int64_t i = 0; i + 1 < x.dim(); ++i)
      if (x.size(i) > 1 && x.stride(i) * x.element_size() % 16 != 0) return false;
    return true;
  };
  if (x.size(-1) * x.element_size() % 16 != 0 || x.stride(-1) != 1) return x;
  return is_aligned(x) && strides_fit() ? x : dense(x);
}

// cuDNN's kernel is the faster one for much work. Each shape of it costs 40 ms when it is met for the first
// time, and half a second on a machine where no process has compiled it before; flash attention lies compiled
// in libtorch, and is at most some microseconds slower where there are few scores in all.
constexpr int64_t kFewScores = int64_t{1} << 23;

bool is_for_flash(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores) {
  const auto type = query.scalar_type();
  const int64_t width = query.size(-1);
  const auto lies_well = [&](const Tensor& x) {
    return x.dim() == 4 && x.size(3) == width && x.stride(3) == 1 && x.scalar_type() == type;
  };
  return !scores.mask.defined() && !scores.causal && (type == at::kHalf || type == at::kBFloat16) &&
         width % 8 == 0 && width <= 256 &&
         query.size(0) * query.size(1) * query.size(2) * key.size(2) < kFewScores && lies_well(query) &&
         lies_well(key) && lies_well(value);
}

// The kernel for Hopper's products, where it applies; undefined elsewhere.
Tensor by_own_kernel(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores) {
  const auto type = query.scalar_type();
  const auto lies_well = [&](const Tensor& x, int64_t tokens) {
    return x.dim() == 4 && x.size(0) == query.size(0) && x.size(1) == query.size(1) && x.size(2) == tokens &&
           x.size(3) == query.size(3) && x.stride(3) == 1 && x.scalar_type() == type &&
           x.device() == query.device();
  };
  if (query.dim() != 4 || query.size(3) != kHopperHeadWidth || scores.mask.defined() || scores.causal ||
      (type != at::kHalf && type != at::kBFloat16) || key.dim() != 4 || !lies_well(query, query.size(2)) ||
      !lies_well(key, key.size(2)) || !lies_well(value, key.size(2)))
    return {};
  const c10::cuda::CUDAGuard device(query.device());
  const auto input = [](const Tensor& x) {
    return AttentionLaunch::Input{x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
  };
  const int64_t batch = query.size(0), heads = query.size(1), queries = query.size(2), width = query.size(3);
  const double scale = scores.scale.value_or(1 / std::sqrt(static_cast<double>(width)));
  AttentionLaunch launch{.type = element_type(query),
                         .q = input(query),
                         .k = input(key),
                         .v = input(value),
                         .out = nullptr,
                         .batch = batch,
                         .heads = heads,
                         .queries = queries,
                         .keys = key.size(2),
                         .width = width,
                         .scale = static_cast<float>(scale)};
  const Tensor out = at::empty({batch, queries, heads, width}, query.options());
  launch.out = out.data_ptr();
  cudaError_t result = cudaSuccess;
  if (!attention_on_hopper(launch, stream_of(query), result)) return {};
  check_launch(result, "attention");
  return out.transpose(1, 2);
}

}  // namespace

Tensor attention(const Tensor& any_query, const Tensor& any_key, const Tensor& any_value,
                 const Scores& scores) {
  const Tensor query = with_aligned_rows(any_query), key = with_aligned_rows(any_key),
               value = with_aligned_rows(any_value);
  if (Tensor out = by_own_kernel(query, key, value, scores); out.defined()) return out;
  if (!is_for_flash(query, key, value, scores)) {
    await_attention(query.device().index(), query.scalar_type(), query.size(-1));
    return plain::attention(query, key, value, scores);
  }
  return std::get<0>(at::_scaled_dot_product_flash_attention(query, key, value, /*dropout_p=*/0.0,
                                                             /*is_causal=*/false,
                                                             /*return_debug_mask=*/false, scores.scale));
}

}  // namespace diffract::kernels::cuda
