#include "diffract/nn/attention.h"

#include "diffract/kernels/attention.h"
#include "diffract/nn/expected_work.h"

namespace diffract::nn {
namespace {

// [B, L, heads * d] -> [B, heads, L, d]
Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

}  // namespace

Tensor attend(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionShape& shape,
              const Tensor& bias, const Tensor& out) {
  const auto narrow = query.scalar_type();
  const auto prepare = [&](const Tensor& x) {
    return split_heads(shape.upcast ? x.to(at::kFloat) : x, shape.heads);
  };
  expect_work(query, 4.0 * static_cast<double>(query.numel()) * static_cast<double>(key.size(1)));
  const kernels::Scores scores{.mask = bias, .causal = shape.causal, .scale = shape.scale};
  const Tensor mixed =
      kernels::attention(prepare(query), prepare(key), prepare(value), scores,
                         out.defined() ? split_heads(out, shape.heads) : Tensor());  // [B, heads, L, d]
  return out.defined() ? out : mixed.transpose(1, 2).reshape(query.sizes()).to(narrow);
}

void expect_attention(const WeightScope& w, const AttentionShape& shape, int64_t inner) {
  if (!shape.upcast && !shape.causal)
    kernels::expect_attention(w.placed_device(), w.arithmetic(), inner / shape.heads);
}

Attention::Attention(const WeightScope& w, const AttentionWidths& widths, const AttentionShape& shape,
                     Bias qkv_bias, const AttentionNames& names)
    : to_out_(w.child("to_out.0", names.out), widths.inner, widths.query), shape_(shape) {
  expect_attention(w, shape, widths.inner);
  const auto project = [&](const WeightScope& in, const char* module, const char* tensors, int64_t width) {
    return Linear(in.child(module, tensors), width, widths.inner, qkv_bias);
  };
  if (!w.is_placed() && !w.is_on_one_device()) {  // a device map may put each projection somewhere else
    const auto apart = [&](const char* module, const char* tensors, int64_t width) {
      return Placed<Linear>(w.child(module, tensors), width, widths.inner, qkv_bias);
    };
    apart_.emplace(Apart{.q = apart("to_q", names.q, widths.query),
                         .k = apart("to_k", names.k, widths.context),
                         .v = apart("to_v", names.v, widths.context)});
    return;
  }
  const WeightScope here = w.is_placed() ? w : w.on(w.placed_device());
  const Linear q = project(here, "to_q", names.q, widths.query),
               k = project(here, "to_k", names.k, widths.context),
               v = project(here, "to_v", names.v, widths.context);
  if (widths.query == widths.context) {
    to_qkv_.emplace(std::vector{q, k, v});
  } else {
    to_q_.emplace(q);
    to_kv_.emplace(std::vector{k, v});
  }
}

std::vector<Tensor> Attention::project(const Tensor& x, const Tensor& context) const {
  if (apart_) {
    const Tensor query = apart_->q(x);
    return {query, beside(query, apart_->k(context)), beside(query, apart_->v(context))};
  }
  if (to_qkv_ && x.is_same(context)) return (*to_qkv_)(x);
  std::vector<Tensor> qkv = to_qkv_ ? to_qkv_->some(context, 1, 3) : (*to_kv_)(context);
  qkv.insert(qkv.begin(), to_qkv_ ? to_qkv_->some(x, 0, 1).front() : (*to_q_)(x));
  return qkv;
}

Tensor Attention::operator()(const Tensor& x, const Tensor& context, const Tensor& residual) const {
  const auto qkv = project(x, context);
  return to_out_(attend(qkv[0], qkv[1], qkv[2], shape_), kernels::LinearEnd{.residual = residual});
}

}  // namespace diffract::nn
