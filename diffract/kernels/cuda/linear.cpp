#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
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
                    .tf32 = in.x.scalar_type() == at::kFloat && at::globalContext().allowTF32CuBLAS(),
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

bool is_for_few_rows(const Tensor& x, int64_t stride, const LinearLayer& layer) {
  const int64_t rows = x.numel() / x.size(-1), wide = 16 / x.element_size();
  return rows <= kMostFewRows && layer.weight.numel() <= kMostFewRowsWeight && x.size(-1) % wide == 0 &&
         stride % wide == 0 && is_aligned(x) && is_aligned(layer.weight);
}

// One or a few rows `x`, whose stride is even, of which nothing but a bias is wanted. All layers must fit.
std::vector<Tensor> multiply_few(const Tensor& x, const std::vector<LinearLayer>& layers) {
  std::vector<Tensor> results;
  FewRowsLaunch launch{.type = element_type(x),
                       .x = data(x),
                       .rows = x.numel() / x.size(-1),
                       .in = x.size(-1),
                       .x_stride = *row_stride(x),
                       .layers = 0,
                       .layer = {}};
  auto sizes = x.sizes().vec();
  for (const LinearLayer& layer : layers) {
    sizes.back() = layer.weight.size(0);
    results.push_back(at::empty(sizes, x.options()));
    launch.layer[launch.layers++] = {.weight = data(layer.weight),
                                     .bias = data(layer.bias),
                                     .y = results.back().data_ptr(),
                                     .out = layer.weight.size(0)};
    if (launch.layers < kMostFewRowsLayers && results.size() < layers.size()) continue;
    check_launch(few_rows(launch, stream_of(x)), "few_rows");
    launch.layers = 0;
  }
  return results;
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
  const bool free_of_ends = !end.gelu && !end.residual.defined() && !end.out.defined();
  if (free_of_ends && is_for_few_rows(in.x, *row_stride(in.x), {weight, bias}))
    return multiply_few(in.x, {{weight, bias}}).front();
  // ATen's own choice takes part where it could do the same in one launch.
  std::function<void()> by_aten;
  if (free_of_ends) by_aten = [&] { plain::linear(x, weight, bias, end); };
  const Tensor y = multiply(in, end, by_aten);
  return y.defined() ? y : plain::linear(x, weight, bias, end);
}

std::vector<Tensor> linear_each(const Tensor& x, const std::vector<LinearLayer>& layers) {
  const auto stride = has_kernels_for(x) && x.dim() == 2 ? row_stride(x) : std::nullopt;
  const auto fits = [&](const LinearLayer& layer) {
    return layer.weight.is_contiguous() && layer.weight.scalar_type() == x.scalar_type() &&
           layer.weight.device() == x.device() &&
           (!layer.bias.defined() || layer.bias.scalar_type() == x.scalar_type()) &&
           is_for_few_rows(x, *stride, layer);
  };
  if (!stride || layers.empty() || !std::all_of(layers.begin(), layers.end(), fits))
    return plain::linear_each(x, layers);
  const c10::cuda::CUDAGuard device(x.device());
  return multiply_few(x, layers);
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
  copy_into(end.out, y);
  return end.out;
}

}  // namespace diffract::kernels::cuda
