#pragma once
#include <cuda_runtime_api.h>

#include "diffract/distributed/backend.h"
#include "diffract/kernels/cuda/launch.h"
#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels::cuda {

/// The table that the backend hands out.
const CudaKernels& table();

ElementType element_type(const Tensor& x);
/// True for the three types that the kernels have.
bool has_kernels_for(const Tensor& x);
/// Throws InternalError naming the kernel when its launch failed, MemoryError when that was for memory.
void check_launch(cudaError_t result, const char* kernel);

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end);
/// What `diffract doctor` says of a GPU: names and values, measured rates among them.
std::vector<std::pair<std::string, std::string>> describe(int device);
/// "2.28.9"
std::string nccl_version();
/// distributed::NcclProvider's.
c10::intrusive_ptr<::c10d::Backend> make_nccl(const distributed::BackendArguments& arguments);
std::unique_ptr<RecordedGraph> record(const Tensor& on_its_device, const std::function<void()>& work);

}  // namespace diffract::kernels::cuda
