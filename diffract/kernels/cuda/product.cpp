#include "diffract/kernels/cuda/product.h"

#include <c10/cuda/CUDAGuard.h>

#include <array>
#include <map>
#include <mutex>

#include "diffract/core/error.h"

namespace diffract::kernels::cuda {
namespace {

cudaDataType_t data_type(at::ScalarType type) {
  if (type == at::kHalf) return CUDA_R_16F;
  if (type == at::kBFloat16) return CUDA_R_16BF;
  if (type == at::kFloat8_e4m3fn) return CUDA_R_8F_E4M3;
  return CUDA_R_32F;
}

cudaDataType_t result_type(const Shape& s) { return data_type(s.is_float8() ? at::kBFloat16 : s.type); }

}  // namespace

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw InternalError("cublasLt, {}: {}", what, cublasLtGetStatusString(status));
}

cublasLtHandle_t product_handle(int device) {
  static std::mutex mutex;
  static auto* made = new std::map<int, cublasLtHandle_t>;  // never taken down: threads may use it at the end
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = (*made)[device];
  if (!handle) {
    const c10::cuda::CUDAGuard there(static_cast<c10::DeviceIndex>(device));
    check(cublasLtCreate(&handle), "create");
  }
  return handle;
}

Layout::Layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride) {
  check(cublasLtMatrixLayoutCreate(&layout, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns),
                                   stride),
        "layout");
}

Product::Product(const Shape& s)
    : shape_(s),
      weight_(data_type(s.type), s.in, s.out, s.in),
      x_(data_type(s.type), s.in, s.rows, s.x_stride),
      residual_(result_type(s), s.out, s.rows, s.residual ? s.residual_stride : s.out_stride),
      out_(result_type(s), s.out, s.rows, s.out_stride) {
  const auto arithmetic = s.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  check(cublasLtMatmulDescCreate(&matmul_, arithmetic, CUDA_R_32F), "description");
  const cublasOperation_t transposed = CUBLAS_OP_T;
  set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  if (s.bias) epilogue = s.gelu ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
  if (!s.bias && s.gelu) epilogue = CUBLASLT_EPILOGUE_GELU;
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  if (!s.is_float8()) return;
  const int32_t a_scale_a_row = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
  set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, a_scale_a_row);
  set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, a_scale_a_row);
  // Sums of e4m3 products lose less in the matrix units' own accumulator than the factors did by rounding.
  const int8_t fast = 1;
  set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
  if (s.bias) set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(CUDA_R_16BF));
}

std::vector<cublasLtMatmulAlgo_t> Product::offers(const Call& call) {
  set_pointers(call);
  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "preference");
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes,
                                       sizeof(kWorkspaceBytes));
  // Parts of a split product are added in float32, as they are in one piece.
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                       sizeof(reductions));
  std::array<cublasLtMatmulHeuristicResult_t, kMostOffers> found{};
  int count = 0;
  const auto status = cublasLtMatmulAlgoGetHeuristic(product_handle(shape_.device), matmul_, weight_.layout,
                                                     x_.layout, residual_.layout, out_.layout, preference,
                                                     kMostOffers, found.data(), &count);
  cublasLtMatmulPreferenceDestroy(preference);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  if (status != CUBLAS_STATUS_SUCCESS) return algorithms;
  for (int i = 0; i < count; ++i)
    if (found[static_cast<size_t>(i)].state == CUBLAS_STATUS_SUCCESS)
      algorithms.push_back(found[static_cast<size_t>(i)].algo);
  return algorithms;
}

cublasStatus_t Product::run(const Call& call, const cublasLtMatmulAlgo_t& algorithm, void* workspace,
                            cudaStream_t stream) {
  set_pointers(call);
  const float one = 1.0f, beta = call.residual ? 1.0f : 0.0f;
  return cublasLtMatmul(product_handle(shape_.device), matmul_, &one, call.weight, weight_.layout, call.x,
                        x_.layout, &beta, call.residual ? call.residual : call.out, residual_.layout,
                        call.out, out_.layout, &algorithm, workspace, kWorkspaceBytes, stream);
}

void Product::set_pointers(const Call& call) {
  if (shape_.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.bias);
  if (!shape_.is_float8()) return;
  set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, call.weight_scales);
  set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, call.x_scales);
}

}  // namespace diffract::kernels::cuda
