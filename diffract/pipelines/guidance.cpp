#include "diffract/pipelines/guidance.h"

#include "diffract/core/error.h"
#include "diffract/kernels/step_math.h"

namespace diffract::pipelines {
namespace {

at::Tensor deviation_of_each_image(const at::Tensor& x) {
  std::vector<int64_t> all_but_first;
  for (int64_t d = 1; d < x.dim(); ++d) all_but_first.push_back(d);
  return x.std(all_but_first, /*unbiased=*/true, /*keepdim=*/true);
}

}  // namespace

at::Tensor negative_and_positive(const at::Tensor& negative, const at::Tensor& positive, const char* name) {
  if (negative.sizes() != positive.sizes())
    throw UsageError("negative_{}: has shape {}; expected {}, as {}", name, c10::str(negative.sizes()),
                     c10::str(positive.sizes()), name);
  return at::cat({negative, positive});
}

at::Tensor guide(const at::Tensor& prediction, double scale, double rescale) {
  const at::Tensor guided = kernels::guide(prediction, scale);
  if (rescale <= 0) return guided;
  const at::Tensor positive = prediction.chunk(2)[1];
  const at::Tensor rescaled = guided * (deviation_of_each_image(positive) / deviation_of_each_image(guided));
  return rescale * rescaled + (1 - rescale) * guided;
}

}  // namespace diffract::pipelines
