#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// How scores become weights.
struct Scores {
  Tensor mask;                       // added, [1 or B, heads, L, S]; undefined: none
  bool causal = false;               // a position sees itself and those before it
  std::optional<double> scale = {};  // unset: 1 / sqrt(width of a head)
};

/// softmax(scale Q K^T + mask) V for `query` [B, heads, L, d], `key` and `value` [B, heads, S, d]; written to
/// `out` [B, heads, L, d], of any strides, where that is defined.
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores,
                 const Tensor& out = {});

/// Says that attention with heads of this width will be asked for on `device`, so that what must be loaded
/// or compiled for it is ready by then. Returns at once; on a CPU there is nothing to do.
void expect_attention(at::Device device, at::ScalarType type, int64_t head_width);

namespace plain {
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores);
}

}  // namespace diffract::kernels
