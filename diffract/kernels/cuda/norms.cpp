#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <optional>

#include "diffract/kernels/cuda/bindings.h"
#include "diffract/kernels/norm_rotary.h"

namespace diffract::kernels::cuda {
namespace {

constexpr int64_t kMostGroupNormChannels = 4096;  // of 48 KiB of shared memory
constexpr int64_t kMostRotaryWidth = 512, kMostRotaryBatch = 65535;

constexpr int64_t kUneven = -1;
// Vectors [B, 1, D] that may be slices of one tensor: the stride from batch to batch.
int64_t vector_stride(const Tensor& vectors, const Tensor& x) {
  const bool fits = x.dim() == 3 && vectors.dim() == 3 && vectors.size(0) == x.size(0) &&
                    vectors.size(1) == 1 && vectors.size(2) == x.size(2) && vectors.stride(2) == 1 &&
                    is_aligned(vectors) && vectors.scalar_type() == x.scalar_type();
  if (!fits) return kUneven;
  return vectors.size(0) == 1 ? 0 : vectors.stride(0);
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
  ResidualNormResult result{.sum = y.defined() ? at::empty_like(a) : a, .norm = {}};
  if (norm && norm->to_float8) {
    auto one_a_row = a.sizes().vec();
    one_a_row.back() = 1;
    result.norm = {at::empty_like(a, a.options().dtype(at::kFloat8_e4m3fn)),
                   at::empty(one_a_row, a.options().dtype(at::kFloat))};
  } else if (norm) {
    result.norm = at::empty_like(a);
  }
  const int64_t rows = a.numel() / width;
  check_launch(cuda::residual_norm(
                   {.type = element_type(x),
                    .x = data(a),
                    .y = data(b),
                    .gate = data(gate),
                    .vector_stride = stride.value_or(0),
                    .scale = norm ? data(norm->scale) : nullptr,
                    .shift = norm ? data(norm->shift) : nullptr,
                    .weight = norm ? data(norm->weight) : nullptr,
                    .bias = norm ? data(norm->bias) : nullptr,
                    .sum = y.defined() ? result.sum.data_ptr() : nullptr,
                    .out = norm ? result.norm.values.data_ptr() : nullptr,
                    .float8_scales = result.norm.is_float8() ? result.norm.scales.data_ptr<float>() : nullptr,
                    .rows = rows,
                    .rows_a_batch = x.dim() == 3 ? x.size(1) : rows,
                    .width = width,
                    .eps = norm ? static_cast<float>(norm->eps) : 0.0f,
                    .rms = norm && norm->rms},
                   stream_of(x)),
               "residual_norm");
  return result;
}

}  // namespace

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

ResidualNormResult residual_norm(const Tensor& x, const Tensor& y, const Tensor& gate,
                                 const ResidualNorm& norm) {
  return residual_norm_or_sum(x, y, gate, &norm);
}

Tensor gated_residual(const Tensor& x, const Tensor& y, const Tensor& gate) {
  return residual_norm_or_sum(x, y, gate, nullptr).sum;
}

QueryKey norm_rotary(const QueryKey& x, const QueryKey& weight, double eps, const Tensor& rope) {
  const Tensor& query = x.query;
  const auto fits = [&](const Tensor& of, const Tensor& by) {
    return has_kernels_for(of) && of.dim() == 4 && of.sizes() == query.sizes() &&
           of.strides() == query.strides() && of.scalar_type() == query.scalar_type() &&
           reinterpret_cast<uintptr_t>(of.const_data_ptr()) % 8 == 0 && by.scalar_type() == of.scalar_type();
  };
  if (!fits(query, weight.query) || !fits(x.key, weight.key) || query.size(3) % 2 != 0 ||
      query.size(3) > kMostRotaryWidth || query.size(0) > kMostRotaryBatch || query.stride(3) != 1 ||
      query.stride(2) != query.size(3) || query.stride(1) % 2 != 0 || query.stride(0) % 2 != 0 ||
      !rope.is_contiguous()) {
    const auto turned = plain::norm_rotary(x, weight, eps, rope);
    query.copy_(turned.query);  // whoever gave parts of a larger tensor reads them there
    x.key.copy_(turned.key);
    return x;
  }
  const c10::cuda::CUDAGuard device(query.device());
  const bool is_wide = is_aligned(query) && is_aligned(x.key) && is_aligned(weight.query) &&
                       is_aligned(weight.key) && query.stride(0) % 8 == 0 && query.stride(1) % 8 == 0;
  check_launch(cuda::norm_rotary({.type = element_type(query),
                                  .query = query.data_ptr(),
                                  .key = x.key.data_ptr(),
                                  .query_weight = data(weight.query),
                                  .key_weight = data(weight.key),
                                  .rope = rope.const_data_ptr<float>(),
                                  .batch = query.size(0),
                                  .tokens = query.size(1),
                                  .heads = query.size(2),
                                  .width = query.size(3),
                                  .batch_stride = query.stride(0),
                                  .token_stride = query.stride(1),
                                  .eps = static_cast<float>(eps),
                                  .is_wide = is_wide},
                                 stream_of(query)),
               "norm_rotary");
  return x;
}

Rows round_rows(const Tensor& x, const Tensor& hidden) {
  const Tensor& any = x.defined() ? x : hidden;
  // Rows that lie evenly, from batch to batch too.
  const auto stride_of = [](const Tensor& t) -> int64_t {
    const int64_t wide = 16 / t.element_size();
    const bool fits = t.dim() == 3 && t.stride(2) == 1 && is_aligned(t) && t.size(2) % wide == 0 &&
                      t.stride(1) % wide == 0 && (t.size(0) == 1 || t.stride(0) == t.size(1) * t.stride(1));
    return fits ? t.stride(1) : kUneven;
  };
  const int64_t x_stride = x.defined() ? stride_of(x) : 0;
  const int64_t hidden_stride = hidden.defined() ? stride_of(hidden) : 0;
  const int64_t width = (x.defined() ? x.size(-1) : 0) + (hidden.defined() ? hidden.size(-1) : 0);
  if (!has_kernels_for(any) || x_stride == kUneven || hidden_stride == kUneven ||
      width * any.element_size() > kMostRoundedBytes ||
      (x.defined() && hidden.defined() && x.scalar_type() != hidden.scalar_type()))
    return hidden.defined() ? plain::round_beside_gelu(x, hidden) : plain::round_rows(x);
  const c10::cuda::CUDAGuard device(any.device());
  Rows rounded(at::empty({any.size(0), any.size(1), width}, any.options().dtype(at::kFloat8_e4m3fn)),
               at::empty({any.size(0), any.size(1), 1}, any.options().dtype(at::kFloat)));
  check_launch(cuda::round_rows({.type = element_type(any),
                                 .x = data(x),
                                 .hidden = data(hidden),
                                 .x_width = x.defined() ? x.size(2) : 0,
                                 .hidden_width = hidden.defined() ? hidden.size(2) : 0,
                                 .x_stride = x_stride,
                                 .hidden_stride = hidden_stride,
                                 .out = rounded.values.data_ptr(),
                                 .scales = rounded.scales.data_ptr<float>(),
                                 .rows = any.size(0) * any.size(1)},
                                stream_of(any)),
               "round_rows");
  return rounded;
}

}  // namespace diffract::kernels::cuda
