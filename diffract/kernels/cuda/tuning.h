#pragma once
#include <functional>
#include <optional>

#include "diffract/kernels/cuda/product.h"

namespace diffract::kernels::cuda {

/// The algorithm for a product: the fastest, if this process has measured it or one before, as the cache has
/// it; until then cublasLt's first offer. Nothing when cublasLt has none or `by_aten` (may be empty) was
/// faster. With DIFFRACT_CUDA_TUNE=0 always the first offer.
std::optional<cublasLtMatmulAlgo_t> algorithm_for(const Shape& shape, Product& product, const Call& call,
                                                  void* workspace, cudaStream_t stream,
                                                  const std::function<void()>& by_aten);
/// True when products have been met that measure_products() would measure.
bool has_unmeasured();
/// Runs `work`, measuring its products, and writes what was found to the cache.
void measure_products(const std::function<void()>& work);

}  // namespace diffract::kernels::cuda
