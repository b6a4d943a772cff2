#include "diffract/nn/attention_core.h"

#include "diffract/kernels/attention.h"
#include "diffract/nn/expected_work.h"

namespace diffract::nn {
namespace {

// [B, L, heads * d] -> [B, heads, L, d]
Tensor split_heads(const Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

}  // namespace

AttentionCore::AttentionCore(const WeightScope& w, const AttentionShape& shape, int64_t inner)
    : shape_(shape) {
  // What must be loaded or compiled for it on an accelerator is ready by the first call.
  if (!shape.upcast && !shape.causal && !shape.biased)
    kernels::expect_attention(w.placed_device(), w.arithmetic(), inner / shape.heads);
}

Tensor AttentionCore::operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                                 const Extra& extra) const {
  const auto narrow = query.scalar_type();
  const auto prepare = [&](const Tensor& x) {
    return split_heads(shape_.upcast ? x.to(at::kFloat) : x, shape_.heads);
  };
  expect_work(query, 4.0 * static_cast<double>(query.numel()) * static_cast<double>(key.size(1)));
  const kernels::Scores scores{.mask = extra.bias, .causal = shape_.causal, .scale = shape_.scale};
  const Tensor mixed =
      kernels::attention(prepare(query), prepare(key), prepare(value), scores,
                         extra.out.defined() ? split_heads(extra.out, shape_.heads) : Tensor());
  return extra.out.defined() ? extra.out : mixed.transpose(1, 2).reshape(query.sizes()).to(narrow);
}

}  // namespace diffract::nn
