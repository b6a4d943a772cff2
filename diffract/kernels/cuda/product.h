#pragma once
#include <ATen/ATen.h>
#include <cublasLt.h>

#include <string>
#include <vector>

namespace diffract::kernels::cuda {

/// What decides which of cublasLt's algorithms is the fastest for y = x W^T.
struct Shape {
  int device;
  at::ScalarType type;  // of x and the weight; float8 gives bfloat16
  int64_t rows, in, out;
  int64_t x_stride, out_stride, residual_stride;  // elements between rows; residual: 0 without one
  bool bias, gelu, residual;
  bool tf32;         // float32 whose factors may be rounded to 10 bits
  bool by_aten_too;  // ATen's choice takes part
  auto operator<=>(const Shape&) const = default;
  bool is_float8() const { return type == at::kFloat8_e4m3fn; }
};

/// The memory of one product.
struct Call {
  const void *x, *weight, *bias, *residual;
  const void *x_scales, *weight_scales;  // float8: one a row of each
  void* out;
};

/// cublasLt's handle for a GPU, since it is good for the one that it was made on; made on the first call,
/// which loads the library's kernels.
cublasLtHandle_t product_handle(int device);
/// Throws InternalError.
void check(cublasStatus_t status, const char* what);

/// A row-major matrix: its transpose in cublas's column-major terms.
struct Layout {
  cublasLtMatrixLayout_t layout = nullptr;
  Layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride);
  ~Layout() { cublasLtMatrixLayoutDestroy(layout); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
};

/// One product's description, as cublasLt wants it.
class Product {
 public:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;
  static constexpr int kMostOffers = 12;

  explicit Product(const Shape& shape);
  ~Product() { cublasLtMatmulDescDestroy(matmul_); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  /// The algorithms that cublasLt offers, the likely fastest first: the same each time for the same shape,
  /// GPU and library.
  std::vector<cublasLtMatmulAlgo_t> offers(const Call& call);
  cublasStatus_t run(const Call& call, const cublasLtMatmulAlgo_t& algorithm, void* workspace,
                     cudaStream_t stream);

 private:
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(matmul_, attribute, &value, sizeof(value)), "attribute");
  }
  void set_pointers(const Call& call);

  Shape shape_;
  Layout weight_, x_, residual_, out_;
  cublasLtMatmulDesc_t matmul_ = nullptr;
};

}  // namespace diffract::kernels::cuda
