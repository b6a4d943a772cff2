#pragma once
#include <ATen/ATen.h>

namespace diffract::kernels {

using at::Tensor;

/// Two tensors of one kind.
struct QueryKey {
  Tensor query, key;
};

/// Queries and keys [B, L, heads, d]: RMS norm of each head, scaled by its weight [d], then each pair of
/// neighbours turned by its position's angle, `rope` [L, d / 2, 2], float32. On a GPU what is given, which
/// may be parts of a larger tensor, is overwritten and returned.
QueryKey norm_rotary(const QueryKey& x, const QueryKey& weight, double eps, const Tensor& rope);

/// Turns pairs of neighbours alone. Source: Su et al. 2021 section 3.2.
Tensor rotary(const Tensor& x, const Tensor& rope);

namespace plain {
QueryKey norm_rotary(const QueryKey& x, const QueryKey& weight, double eps, const Tensor& rope);
}

}  // namespace diffract::kernels
