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

cudaStream_t stream_of(const Tensor& x);
/// True when the data begins where the widest loads may.
bool is_aligned(const Tensor& x);
/// Null for a tensor that is not there.
const void* data(const Tensor& x);
/// Contiguous and aligned.
Tensor dense(const Tensor& x);
/// Copies `from` [B, L, D] to the part `to` of a wider tensor.
void copy_into(const Tensor& to, const Tensor& from);

Tensor group_norm(const Tensor& x, const GroupNorm& norm, const Tensor& addend);
ResidualNormResult residual_norm(const Tensor& x, const Tensor& y, const Tensor& gate,
                                 const ResidualNorm& norm);
Tensor gated_residual(const Tensor& x, const Tensor& y, const Tensor& gate);
QueryKey norm_rotary(const QueryKey& x, const QueryKey& weight, double eps, const Tensor& rope);
Rows round_rows(const Tensor& x, const Tensor& hidden);
std::vector<Tensor> linear_each(const Tensor& x, const std::vector<LinearLayer>& layers);
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const LinearEnd& end);
Tensor linear_float8(const Rows& x, const Float8Matrix& weight, const Tensor& bias, const LinearEnd& end);
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value, const Scores& scores,
                 const Tensor& out);

/// Loads, on a thread of its own, what the first step on a GPU would wait for; once a GPU.
void prepare_libraries(int device);
/// Returns when no thread loads or compiles anything any more.
void await_prepared();
void expect_attention(int device, at::ScalarType type, int64_t head_width);
/// Returns when what was expected is there, so that it is not compiled twice.
void await_attention(int device, at::ScalarType type, int64_t head_width);
/// What `diffract doctor` says of a GPU: names and values, measured rates among them.
std::vector<std::pair<std::string, std::string>> describe(int device);
/// "2.28.9"
std::string nccl_version();
/// distributed::NcclProvider's.
c10::intrusive_ptr<::c10d::Backend> make_nccl(const distributed::BackendArguments& arguments);
std::unique_ptr<RecordedGraph> record(const Tensor& on_its_device, const std::function<void()>& work);

}  // namespace diffract::kernels::cuda
