#include "diffract/kernels/gated_gelu.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {

Tensor plain::gated_gelu(const Tensor& x, GatedGelu kind) {
  const auto halves = x.chunk(2, -1);
  return kind == GatedGelu::geglu ? halves[0] * at::gelu(halves[1])
                                  : at::gelu(halves[0], "tanh").mul_(halves[1]);
}

Tensor gated_gelu(const Tensor& x, GatedGelu kind) {
  if (const auto* cuda = cuda_kernels(x)) return cuda->gated_gelu(x, kind);
  return plain::gated_gelu(x, kind);
}

}  // namespace diffract::kernels
