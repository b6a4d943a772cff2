#include "diffract/nn/attention.h"

namespace diffract::nn {
Attention::Attention(const WeightScope& w, const AttentionWidths& widths, const AttentionShape& shape,
                     Bias qkv_bias, const AttentionNames& names)
    : core_(w, shape, widths.inner), to_out_(w.child("to_out.0", names.out), widths.inner, widths.query) {
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

Tensor Attention::operator()(const Tensor& x, const Tensor& context, const Tensor& residual,
                             const std::vector<AttendedApart>& apart) const {
  const auto qkv = project(x, context);
  Tensor mixed = core_(qkv[0], qkv[1], qkv[2]);
  for (const AttendedApart& other : apart)
    mixed = mixed + other.scale * core_(qkv[0], other.key, other.value);
  return to_out_(mixed, kernels::LinearEnd{.residual = residual});
}

}  // namespace diffract::nn
