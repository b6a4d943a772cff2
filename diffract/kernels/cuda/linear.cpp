#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <functional>
#include <optional>

#include "diffract/kernels/cuda/bindings.h"
#include "diffract/kernels/cuda/tuning.h"

// Products by cublasLt, what is done to their results in the same launch.
namespace diffract::kernels::cuda {
namespace {

// The rows of x as a matrix: their stride, or nothing when they do not lie evenly.
std::optional<int64_t> row_stride(const Tensor& x) {
  if (x.dim() < 2 || x.stride(-1) != 1) return std::nullopt;
  int64_t stride = x.stride(-2);
  if (x.size(-2) == 1) stride = x.size(-1);
  int64_t expected = stride * x.size(-2);
  for (int64_t d = x.dim() - 3; d >= 0; --d) {
    if (x.size(d) != 1 && x.stride(d) != expected) {
      if (x.size(-2) != 1) return std::nullopt;
      // One row a batch: the batches are the rows.
      if (expected != x.size(-1)) return std::nullopt;
      stride = x.stride(d);
      expected = stride;
    }
    expected *= x.size(d);
  }
  return stride;
}

Tensor even_rows(const Tensor& x) { return row_stride(x) ? x : x.contiguous(); }

// What a product reads, its rows evenly laid.
struct Operands {
  Tensor x, weight, bias, residual;
  Tensor x_scales, weight_scales;  // float8
};

// Into end.out or new memory; undefined when cublasLt has nothing for it, or `by_aten` was faster.
Tensor multiply(const Operands& in, const LinearEnd& end, const std::function<void()>& by_aten) {
  auto sizes = in.x.sizes().vec();
  sizes.back() = in.weight.size(0);
  const bool is_float8 = in.x_scales.defined();
  const auto result_options = in.x.options().dtype(is_float8 ? at::kBFloat16 : in.x.scalar_type());
  const Tensor out = end.out.defined() ? end.out : at::empty(sizes, result_options);
  const Shape shape{.device = in.x.device().index(),
                    .type = in.x.scalar_type(),
                    .rows = in.x.numel() / in.x.size(-1),
                    .in = in.x.size(-1),
                    .out = in.weight.size(0),
                    .x_stride = *row_stride(in.x),
                    .out_stride = *row_stride(out),
                    .residual_stride = in.residual.defined() ? *row_stride(in.residual) : 0,
                    .bias = in.bias.defined(),
                    .gelu = end.gelu,
                    .residual = in.residual.defined(),
                    .by_aten_too = bool(by_aten)};
  Product product(shape);
  const Call call{.x = data(in.x),
                  .weight = data(in.weight),
                  .bias = data(in.bias),
                  .residual = data(in.residual),
                  .x_scales = data(in.x_scales),
                  .weight_scales = data(in.weight_scales),
                  .out = out.data_ptr()};
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(in.x.device().index());
  const Tensor workspace =
      at::empty({static_cast<int64_t>(Product::kWorkspaceBytes)}, in.x.options().dtype(at::kByte));
  const auto algorithm = algorithm_for(shape, product, call, workspace.data_ptr(), stream, by_aten);
  if (!algorithm) return {};
  check(product.run(call, *algorithm, workspace.data_ptr(), stream), "matmul");
  return out;
}

// Weights beyond this come from the GPU's memory, at whose rate cublasLt's kernel reads them too.
constexpr int64_t kMostFewRowsWeight = int64_t{8} << 20;  // elements

// One or a few rows, of which nothing but a bias is wanted; undefined where the kernel does not fit.
Tensor multiply_few(const Operands& in, const LinearEnd& end) {
  const int64_t rows = in.x.numel() / in.x.size(-1), width = in.x.size(-1), stride = *row_stride(in.x);
  const int64_t wide = 16 / in.x.element_size();
  if (rows > kMostFewRows || in.weight.numel() > kMostFewRowsWeight || end.gelu || in.residual.defined() ||
      end.out.defined() || width % wide != 0 || stride % wide != 0 || !is_aligned(in.x) ||
      !is_aligned(in.weight))
    return {};
  auto sizes = in.x.sizes().vec();
  sizes.back() = in.weight.size(0);
  const Tensor y = at::empty(sizes, in.x.options());
  check_launch(few_rows({.type = element_type(in.x),
                         .x = data(in.x),
                         .weight = data(in.weight),
                         .bias = data(in.bias),
                         .y = y.data_ptr(),
                         .rows = rows,
                         .in = width,
                         .out = in.weight.size(0),
                         .x_stride = stride},
                        stream_of(in.x)),
               "few_rows");
  return y;
}

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end) {
  const auto type = x.scalar_type();
  const bool same_types = weight.scalar_type() == type && (!bias.defined() || bias.scalar_type() == type) &&
                          (!end.residual.defined() || end.residual.scalar_type() == type);
  if (!has_kernels_for(x) || x.dim() < 2 || !weight.is_contiguous() || !same_types ||
      (end.gelu && end.residual.defined()) || (end.out.defined() && !row_stride(end.out)))
    return plain::linear(x, weight, bias, end);
  const c10::cuda::CUDAGuard device(x.device());
  const Operands in{.x = even_rows(x),
                    .weight = weight,
                    .bias = bias,
                    .residual = end.residual.defined() ? even_rows(end.residual) : Tensor(),
                    .x_scales = {},
                    .weight_scales = {}};
  if (const Tensor y = multiply_few(in, end); y.defined()) return y;
  // ATen's own choice takes part where it could do the same in one launch.
  const bool free_of_ends = !end.gelu && !end.residual.defined() && !end.out.defined();
  std::function<void()> by_aten;
  if (free_of_ends) by_aten = [&] { plain::linear(x, weight, bias, end); };
  const Tensor y = multiply(in, end, by_aten);
  return y.defined() ? y : plain::linear(x, weight, bias, end);
}

Tensor linear_float8(const Rows& x, const Float8Matrix& weight, const Tensor& bias, const LinearEnd& end) {
  const auto fits = [](const Tensor& t) { return !t.defined() || t.scalar_type() == at::kBFloat16; };
  if (!x.values.is_contiguous() || !weight.values.is_contiguous() || !fits(bias) || !fits(end.residual) ||
      !fits(end.out) || (end.gelu && end.residual.defined()) || (end.out.defined() && !row_stride(end.out)))
    return plain::linear_float8(x, weight, bias, end);
  const c10::cuda::CUDAGuard device(x.values.device());
  const Operands in{.x = x.values,
                    .weight = weight.values,
                    .bias = bias,
                    .residual = end.residual.defined() ? even_rows(end.residual) : Tensor(),
                    .x_scales = x.scales,
                    .weight_scales = weight.scales};
  const Tensor done = multiply(in, end, {});
  if (done.defined()) return done;
  // GPUs and ends for which cublasLt has no scale a row.
  const int64_t rows = x.values.numel() / x.values.size(-1);
  auto sizes = x.values.sizes().vec();
  sizes.back() = weight.values.size(0);
  Tensor y = at::_scaled_mm(x.values.view({rows, -1}), weight.values.t(), x.scales.view({rows, 1}),
                            weight.scales.view({1, -1}),
                            bias.defined() ? std::optional<Tensor>(bias) : std::nullopt, {}, at::kBFloat16,
                            /*use_fast_accum=*/true)
                 .view(sizes);
  if (end.gelu) y = at::gelu_(y, "tanh");
  if (end.residual.defined()) y = y.add_(end.residual);
  if (!end.out.defined()) return y;
  table().copy_into(end.out, y);
  return end.out;
}

}  // namespace diffract::kernels::cuda
