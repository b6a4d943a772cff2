#pragma once
#include <functional>
#include <optional>

#include "diffract/kernels/cuda/product.h"

namespace diffract::kernels::cuda {

/// The algorithm for a product: that which was the fastest when the shape was met for the first time, by this
/// process or, as the cache has it, by one before; nothing when cublasLt has none or `by_aten` (may be empty)
/// was faster. With DIFFRACT_CUDA_TUNE=0 cublasLt's first offer, measured and kept by nobody.
std::optional<cublasLtMatmulAlgo_t> algorithm_for(const Shape& shape, Product& product, const Call& call,
                                                  void* workspace, cudaStream_t stream,
                                                  const std::function<void()>& by_aten);
/// Writes what was measured to the cache.
void save_choices();

}  // namespace diffract::kernels::cuda
