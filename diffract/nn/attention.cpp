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
    : to_out_(w / names.out, widths.inner, widths.query), shape_(shape) {
  const Linear q(w / names.q, widths.query, widths.inner, qkv_bias);
  const Linear k(w / names.k, widths.context, widths.inner, qkv_bias);
  const Linear v(w / names.v, widths.context, widths.inner, qkv_bias);
  if (widths.query == widths.context) {
    to_qkv_.emplace(std::vector{q, k, v});
  } else {
    to_q_.emplace(q);
    to_kv_.emplace(std::vector{k, v});
  }
}

Tensor Attention::operator()(const Tensor& x, const Tensor& context, const Tensor& residual) const {
  std::vector<Tensor> qkv;
  if (to_qkv_ && x.is_same(context)) {
    qkv = (*to_qkv_)(x);
  } else {
    qkv = to_qkv_ ? to_qkv_->some(context, 1, 3) : (*to_kv_)(context);
    qkv.insert(qkv.begin(), to_qkv_ ? to_qkv_->some(x, 0, 1).front() : (*to_q_)(x));
  }
  return to_out_(attend(qkv[0], qkv[1], qkv[2], shape_), {.residual = residual});
}

}  // namespace diffract::nn
