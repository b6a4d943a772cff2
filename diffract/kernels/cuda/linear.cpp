#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cublasLt.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/kernels/cuda/bindings.h"

// Products by cublasLt. Its own guess at the fastest algorithm for a shape is often 10 % off, so the first
// few that it offers are measured when a shape is met for the first time.
namespace diffract::kernels::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr int kCandidates = 12;
constexpr int kRounds = 2, kRunsARound = 6;
constexpr float kClearlyFaster = 0.98f;  // than the one that cublasLt thinks best

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw InternalError("cublasLt, {}: {}", what, cublasLtGetStatusString(status));
}

// What decides which algorithm is fastest.
struct Shape {
  int device;
  at::ScalarType type;
  int64_t rows, in, out;
  int64_t x_stride, out_stride, residual_stride;
  bool bias, gelu, residual;
  bool by_aten_too;  // ATen's choice takes part
  auto operator<=>(const Shape&) const = default;
};

// A row-major matrix: y^T in cublas's column-major terms.
struct Layout {
  cublasLtMatrixLayout_t layout = nullptr;
  Layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride) {
    check(cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows),
                                     static_cast<uint64_t>(columns), stride),
          "layout");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

cudaDataType_t data_type(at::ScalarType type) {
  if (type == at::kHalf) return CUDA_R_16F;
  if (type == at::kBFloat16) return CUDA_R_16BF;
  return CUDA_R_32F;
}

struct Call {
  const void *x, *weight, *bias, *residual;
  void* out;
};

cublasLtHandle_t handle() {
  static cublasLtHandle_t made = [] {
    cublasLtHandle_t fresh = nullptr;
    check(cublasLtCreate(&fresh), "create");
    return fresh;
  }();
  return made;
}

class Product {
 public:
  explicit Product(const Shape& s)
      : shape_(s),
        weight_(data_type(s.type), s.in, s.out, s.in),
        x_(data_type(s.type), s.in, s.rows, s.x_stride),
        residual_(data_type(s.type), s.out, s.rows, s.residual ? s.residual_stride : s.out_stride),
        out_(data_type(s.type), s.out, s.rows, s.out_stride) {
    check(cublasLtMatmulDescCreate(&matmul_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "description");
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    if (s.bias) epilogue = s.gelu ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    if (!s.bias && s.gelu) epilogue = CUBLASLT_EPILOGUE_GELU;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  }
  ~Product() { cublasLtMatmulDescDestroy(matmul_); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  // The algorithms that cublasLt offers, the likely fastest first.
  std::vector<cublasLtMatmulAlgo_t> offers(const Call& call) {
    set_bias(call);
    cublasLtMatmulPreference_t preference = nullptr;
    check(cublasLtMatmulPreferenceCreate(&preference), "preference");
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                         &kWorkspaceBytes, sizeof(kWorkspaceBytes));
    // Parts of a split product are added in float32, as they are in one piece.
    const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                         sizeof(reductions));
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> found{};
    int count = 0;
    const auto status =
        cublasLtMatmulAlgoGetHeuristic(handle(), matmul_, weight_.layout, x_.layout, residual_.layout,
                                       out_.layout, preference, kCandidates, found.data(), &count);
    cublasLtMatmulPreferenceDestroy(preference);
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    if (status != CUBLAS_STATUS_SUCCESS) return algorithms;
    for (int i = 0; i < count; ++i)
      if (found[static_cast<size_t>(i)].state == CUBLAS_STATUS_SUCCESS)
        algorithms.push_back(found[static_cast<size_t>(i)].algo);
    return algorithms;
  }

  cublasStatus_t run(const Call& call, const cublasLtMatmulAlgo_t& algorithm, void* workspace,
                     cudaStream_t stream) {
    set_bias(call);
    const float one = 1.0f, beta = call.residual ? 1.0f : 0.0f;
    return cublasLtMatmul(handle(), matmul_, &one, call.weight, weight_.layout, call.x, x_.layout, &beta,
                          call.residual ? call.residual : call.out, residual_.layout, call.out, out_.layout,
                          &algorithm, workspace, kWorkspaceBytes, stream);
  }

 private:
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(matmul_, attribute, &value, sizeof(value)), "attribute");
  }
  void set_bias(const Call& call) {
    if (shape_.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
  }

  Shape shape_;
  Layout weight_, x_, residual_, out_;
  cublasLtMatmulDesc_t matmul_ = nullptr;
};

bool measures() {
  static const bool wanted = [] {
    const char* value = std::getenv("DIFFRACT_CUDA_TUNE");
    return !value || value[0] != '0';
  }();
  return wanted;
}

bool is_recording(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream, &status) == cudaSuccess && status != cudaStreamCaptureStatusNone;
}

// The fastest of `offers`. Runs are measured back to back, as they come in a model: alone, a run has the
// GPU's full clock, which it does not keep.
std::optional<cublasLtMatmulAlgo_t> fastest(Product& product, const Call& call,
                                            const std::vector<cublasLtMatmulAlgo_t>& offers, void* workspace,
                                            cudaStream_t stream, const std::function<void()>& by_aten) {
  cudaEvent_t begin = nullptr, end = nullptr;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  std::optional<cublasLtMatmulAlgo_t> best;
  float best_time = std::numeric_limits<float>::max();
  const auto measure = [&](const auto& run) {
    float least = std::numeric_limits<float>::max();
    for (int round = 0; round < kRounds; ++round) {
      cudaEventRecord(begin, stream);
      for (int i = 0; i < kRunsARound; ++i) run();
      cudaEventRecord(end, stream);
      cudaEventSynchronize(end);
      float time = 0;
      cudaEventElapsedTime(&time, begin, end);
      least = std::min(least, time);
    }
    return least;
  };
  for (const auto& offer : offers) {
    if (product.run(call, offer, workspace, stream) != CUBLAS_STATUS_SUCCESS) continue;
    const float least = measure([&] { product.run(call, offer, workspace, stream); });
    if (!best || least < best_time * kClearlyFaster) {
      best_time = least;
      best = offer;
    }
  }
  if (by_aten) {
    by_aten();
    if (measure(by_aten) < best_time * kClearlyFaster) best.reset();
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return best;
}

struct Known {
  std::mutex mutex;
  // No algorithm: cublasLt has none for this shape, or ATen's is faster.
  std::map<Shape, std::optional<cublasLtMatmulAlgo_t>> algorithms;
};
Known& known() {
  static Known all;
  return all;
}

std::optional<cublasLtMatmulAlgo_t> algorithm_for(const Shape& shape, Product& product, const Call& call,
                                                  void* workspace, cudaStream_t stream,
                                                  const std::function<void()>& by_aten) {
  const std::lock_guard lock(known().mutex);
  const auto found = known().algorithms.find(shape);
  if (found != known().algorithms.end()) return found->second;
  const auto offers = product.offers(call);
  const std::optional<cublasLtMatmulAlgo_t> first =
      offers.empty() ? std::nullopt : std::optional(offers.front());
  if (is_recording(stream)) return first;  // not to be measured now, nor to be kept
  const auto chosen = measures() && offers.size() > 1 && call.residual != call.out
                          ? fastest(product, call, offers, workspace, stream, by_aten)
                          : first;
  known().algorithms.emplace(shape, chosen);
  return chosen;
}

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

}  // namespace

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end) {
  const auto type = x.scalar_type();
  const bool same_types = weight.scalar_type() == type && (!bias.defined() || bias.scalar_type() == type) &&
                          (!end.residual.defined() || end.residual.scalar_type() == type);
  if (!has_kernels_for(x) || x.dim() < 2 || !weight.is_contiguous() || !same_types ||
      (end.gelu && end.residual.defined()))
    return plain::linear(x, weight, bias, end);
  const c10::cuda::CUDAGuard device(x.device());
  auto sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const Tensor in = even_rows(x), residual = end.residual.defined() ? even_rows(end.residual) : Tensor();
  if (end.out.defined() && !row_stride(end.out)) return plain::linear(x, weight, bias, end);
  Tensor out = end.out.defined() ? end.out : at::empty(sizes, x.options());

  const bool free_of_ends = !end.gelu && !end.residual.defined() && !end.out.defined();
  const Shape shape{.device = x.device().index(),
                    .type = type,
                    .rows = in.numel() / in.size(-1),
                    .in = in.size(-1),
                    .out = weight.size(0),
                    .x_stride = *row_stride(in),
                    .out_stride = *row_stride(out),
                    .residual_stride = residual.defined() ? *row_stride(residual) : 0,
                    .bias = bias.defined(),
                    .gelu = end.gelu,
                    .residual = residual.defined(),
                    .by_aten_too = free_of_ends};
  Product product(shape);
  const Call call{.x = in.const_data_ptr(),
                  .weight = weight.const_data_ptr(),
                  .bias = bias.defined() ? bias.const_data_ptr() : nullptr,
                  .residual = residual.defined() ? residual.const_data_ptr() : nullptr,
                  .out = out.data_ptr()};
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(x.device().index());
  const Tensor workspace = at::empty({static_cast<int64_t>(kWorkspaceBytes)}, x.options().dtype(at::kByte));
  // ATen's own choice takes part where it could do the same in one launch.
  std::function<void()> by_aten;
  if (free_of_ends) by_aten = [&] { plain::linear(x, weight, bias, end); };
  const auto algorithm = algorithm_for(shape, product, call, workspace.data_ptr(), stream, by_aten);
  if (!algorithm) return plain::linear(x, weight, bias, end);
  check(product.run(call, *algorithm, workspace.data_ptr(), stream), "matmul");
  return out;
}

}  // namespace diffract::kernels::cuda
