#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <cmath>

#include "diffract/kernels/cuda/bindings.h"

namespace diffract::kernels::cuda {
namespace {

// True when each row lies in one piece and begins where 16 bytes can be loaded at once.
bool rows_are_aligned(const Tensor& x) {
  for (int64_t i = 0; i + 1 < x.dim(); ++i)
    if (x.size(i) > 1 && x.stride(i) * x.element_size() % 16 != 0) return false;
  return is_aligned(x) && x.stride(-1) == 1;
}

// Itself, or a copy with aligned rows: kernels want that, and flash attention does not look before it loads.
Tensor with_aligned_rows(const Tensor& x) {
  if (x.size(-1) * x.element_size() % 16 != 0 || x.stride(-1) != 1) return x;
  return rows_are_aligned(x) ? x : dense(x);
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

// The kernel for Hopper's products, where it applies; undefined elsewhere. The result is `given` where that
// is defined.
Tensor by_own_kernel(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores,
                     const Tensor& given) {
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
  const auto described = [](const Tensor& x) {
    return AttentionLaunch::Heads<const void>{x.const_data_ptr(), x.stride(0), x.stride(1), x.stride(2)};
  };
  const int64_t batch = query.size(0), heads = query.size(1), queries = query.size(2), width = query.size(3);
  const double scale = scores.scale.value_or(1 / std::sqrt(static_cast<double>(width)));
  Tensor out = given;
  if (!out.defined()) out = at::empty({batch, queries, heads, width}, query.options()).transpose(1, 2);
  const AttentionLaunch launch{.type = element_type(query),
                               .q = described(query),
                               .k = described(key),
                               .v = described(value),
                               .out = {out.data_ptr(), out.stride(0), out.stride(1), out.stride(2)},
                               .batch = batch,
                               .heads = heads,
                               .queries = queries,
                               .keys = key.size(2),
                               .width = width,
                               .scale = static_cast<float>(scale)};
  cudaError_t result = cudaSuccess;
  if (!attention_on_hopper(launch, stream_of(query), result)) return {};
  check_launch(result, "attention");
  return out;
}

// The same by the kernels that libtorch has.
Tensor by_libtorch(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores) {
  if (!is_for_flash(query, key, value, scores)) {
    await_attention(query.device().index(), query.scalar_type(), query.size(-1));
    return plain::attention(query, key, value, scores);
  }
  return std::get<0>(at::_scaled_dot_product_flash_attention(query, key, value, /*dropout_p=*/0.0,
                                                             /*is_causal=*/false,
                                                             /*return_debug_mask=*/false, scores.scale));
}

}  // namespace

Tensor attention(const Tensor& any_query, const Tensor& any_key, const Tensor& any_value,
                 const Scores& scores, const Tensor& out) {
  const Tensor query = with_aligned_rows(any_query), key = with_aligned_rows(any_key),
               value = with_aligned_rows(any_value);
  const bool goes_there = out.defined() && rows_are_aligned(out) &&
                          out.scalar_type() == query.scalar_type() && out.sizes() == query.sizes() &&
                          out.device() == query.device();
  Tensor mixed = by_own_kernel(query, key, value, scores, goes_there ? out : Tensor());
  if (!mixed.defined()) mixed = by_libtorch(query, key, value, scores);
  if (!out.defined() || mixed.is_same(out)) return mixed;
  if (out.stride(1) != out.size(3) || out.stride(3) != 1) return out.copy_(mixed);
  const auto tokens = [](const Tensor& x) { return x.transpose(1, 2).flatten(2); };  // [B, L, heads * d]
  copy_into(tokens(out), tokens(mixed));
  return out;
}

}  // namespace diffract::kernels::cuda
