#include "diffract/kernels/step_math.h"

#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {
namespace {

bool is_plain_float(const Tensor& x) { return x.scalar_type() == at::kFloat && x.is_contiguous(); }

}  // namespace

Tensor plain::guide(const Tensor& prediction, double scale) {
  const auto halves = prediction.chunk(2);
  return halves[0] + scale * (halves[1] - halves[0]);
}

Tensor guide(const Tensor& prediction, double scale) {
  const auto* cuda = cuda_kernels(prediction);
  return cuda && is_plain_float(prediction) ? cuda->guide(prediction, scale)
                                            : plain::guide(prediction, scale);
}

}  // namespace diffract::kernels
