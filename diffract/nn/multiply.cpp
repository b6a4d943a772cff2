#include "diffract/nn/multiply.h"

#include "diffract/nn/expected_work.h"

namespace diffract::nn {

at::Tensor multiply(const kernels::Rows& rows, const weights::Weight& weight, const at::Tensor& bias,
                    const kernels::LinearEnd& end) {
  if (weight.encoding() == weights::Encoding::float8_rows)
    return kernels::linear_float8(rows, {weight.stored(), weight.scales()}, bias, end);
  const at::Tensor &x = rows.values, dense = weight.get();
  expect_work(x, 2.0 * static_cast<double>(x.numel()) * static_cast<double>(dense.size(0)), dense.nbytes());
  return kernels::linear(x, dense, bias, end);
}

}  // namespace diffract::nn
