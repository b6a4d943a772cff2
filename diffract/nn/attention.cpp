#include "diffract/nn/attention.h"

namespace diffract::nn {
namespace {

// [B, L, heads * d] -> [B, heads, L, d]
Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

}  // namespace

Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionShape& shape,
              const Tensor& bias) {
  const auto narrow = query.scalar_type();
  const auto prepare = [&](const Tensor& x) {
    return split_heads(shape.upcast ? x.to(at::kFloat) : x, shape.heads);
  };
  const auto mask = bias.defined() ? std::optional<Tensor>(bias) : std::nullopt;
  const Tensor mixed =
      at::scaled_dot_product_attention(prepare(query), prepare(key), prepare(value), mask, 0.0, shape.causal,
                                       shape.scale);  // [B, heads, L, d]
  return mixed.transpose(1, 2).reshape(query.sizes()).to(narrow);
}

Attention::Attention(const WeightScope& w, const AttentionWidths& widths, const AttentionShape& shape,
                     Bias qkv_bias, const AttentionNames& names)
    : to_q_(w.child("to_q", names.q), widths.query, widths.inner, qkv_bias),
      to_k_(w.child("to_k", names.k), widths.context, widths.inner, qkv_bias),
      to_v_(w.child("to_v", names.v), widths.context, widths.inner, qkv_bias),
      to_out_(w.child("to_out.0", names.out), widths.inner, widths.query),
      shape_(shape) {}

Tensor Attention::operator()(const Tensor& x, const Tensor& context) const {
  const Tensor query = to_q_(x);  // a device map may put each projection somewhere else
  return to_out_(attend(query, beside(query, to_k_(context)), beside(query, to_v_(context)), shape_));
}

}  // namespace diffract::nn
