#include "diffract/tensor/device_backend.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "diffract/core/error.h"
#include "diffract/kernels/cuda/bindings.h"
#include "diffract/kernels/cuda_support.h"

namespace diffract::kernels::cuda {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;
using tensor::CopyStream;
using tensor::DeviceEvent;
using tensor::DeviceEventPtr;

class Event final : public DeviceEvent {
 public:
  explicit Event(const c10::cuda::CUDAStream& stream) { event_.record(stream); }
  void compute_waits() const override {
    event_.block(c10::cuda::getCurrentCUDAStream(event_.device_index()));
  }
  void synchronize() const override { event_.synchronize(); }
  void stall(const c10::cuda::CUDAStream& stream) const { event_.block(stream); }

 private:
  mutable at::cuda::CUDAEvent event_;
};

class Copies final : public CopyStream {
 public:
  explicit Copies(int device)
      : stream_(
            c10::cuda::getStreamFromPool(/*isHighPriority=*/true, static_cast<c10::DeviceIndex>(device))) {}

  void copy(const at::Tensor& to, const at::Tensor& from) override {
    const c10::cuda::CUDAGuard device(stream_.device());
    C10_CUDA_CHECK(cudaMemcpyAsync(to.data_ptr(), from.const_data_ptr(), from.nbytes(),
                                   cudaMemcpyHostToDevice, stream_));
  }
  void wait(const DeviceEvent& event) override { dynamic_cast<const Event&>(event).stall(stream_); }
  DeviceEventPtr record() override { return std::make_shared<Event>(stream_); }

 private:
  c10::cuda::CUDAStream stream_;
};

void set_tf32(bool allow) {
  at::globalContext().setAllowTF32CuBLAS(allow);  // linear.cpp reads it, too
  at::globalContext().setAllowTF32CuDNN(allow);
}

class CudaBackend final : public tensor::DeviceBackend,
                          public CudaKernelsProvider,
                          public distributed::NcclProvider {
 public:
  explicit CudaBackend(int devices) : devices_(devices) {}

  std::string name() const override { return "cuda"; }
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  int device_count() const override { return devices_; }
  bool computes_fast(at::ScalarType dtype, int device) const override {
    const auto* properties = at::cuda::getDeviceProperties(index(device));
    const int capability = 10 * properties->major + properties->minor;
    if (dtype == at::kFloat8_e4m3fn) return capability >= 89;
    return dtype == at::kFloat || dtype == at::kHalf || (dtype == at::kBFloat16 && capability >= 80);
  }

  tensor::DeviceMemory memory(int device) const override {
    const c10::cuda::CUDAGuard guard(index(device));
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    const auto stats = allocator::getDeviceStats(index(device));
    const auto& used = stats.allocated_bytes[0];
    const auto kept = static_cast<uint64_t>(stats.reserved_bytes[0].current - used.current);
    return {.total = total,
            .free = free + kept,  // what the allocator keeps can be had
            .used = static_cast<uint64_t>(used.current)};
  }
  uint64_t overhead() const override { return tensor::kGpuOverhead; }
  uint64_t peak(int device) const override {
    return static_cast<uint64_t>(allocator::getDeviceStats(index(device)).allocated_bytes[0].peak);
  }
  void reset_peak(int device) override { allocator::resetPeakStats(index(device)); }
  void set_limit(int device, std::optional<uint64_t> bytes) override {
    const c10::cuda::CUDAGuard guard(index(device));
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    const double share = bytes ? static_cast<double>(*bytes) / static_cast<double>(total) : 1.0;
    allocator::setMemoryFraction(std::clamp(share, 0.0, 1.0), index(device));
  }
  void empty_cache() override { allocator::emptyCache(); }

  at::Tensor pinned_memory(int64_t bytes) override {
    return at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  }
  std::unique_ptr<CopyStream> make_copy_stream(int device) override {
    return std::make_unique<Copies>(device);
  }
  DeviceEventPtr record_compute(int device) override {
    return std::make_shared<Event>(c10::cuda::getCurrentCUDAStream(index(device)));
  }
  void synchronize(int device) override { c10::cuda::getCurrentCUDAStream(index(device)).synchronize(); }

  void prepare(int device) override { prepare_libraries(index(device)); }
  void await_work() override { await_prepared(); }

  bool allow_tf32(int device, bool allow) override {
    if (at::cuda::getDeviceProperties(index(device))->major < 8) return false;
    await_prepared();  // a thread that computes meanwhile would see half of the change
    set_tf32(allow);
    return true;
  }

  const CudaKernels& kernels() const override { return table(); }
  std::vector<std::pair<std::string, std::string>> describe(int device) const override {
    return cuda::describe(device);
  }
  c10::intrusive_ptr<::c10d::Backend> make_nccl(
      const distributed::BackendArguments& arguments) const override {
    return cuda::make_nccl(arguments);
  }

 private:
  static c10::DeviceIndex index(int device) { return static_cast<c10::DeviceIndex>(std::max(device, 0)); }
  int devices_;
};

std::string why_unusable(int& devices) {
  int driver = 0;
  cudaDriverGetVersion(&driver);  // 0 where there is none
  // Drivers and libraries of one major version go together.
  if (const auto why = why_driver_is_unusable(driver, CUDART_VERSION / 1000 * 1000); !why.empty()) return why;
  const cudaError_t result = cudaGetDeviceCount(&devices);
  if (result == cudaErrorNoDevice || (result == cudaSuccess && devices == 0))
    return "there is no NVIDIA GPU (or CUDA_VISIBLE_DEVICES leaves all of them out)";
  if (result != cudaSuccess) return fmt::format("the NVIDIA driver says: {}", cudaGetErrorString(result));
  // Nothing here touches a GPU: a process that did would take half a gigabyte of each.
  for (int device = 0; device < devices; ++device) {
    cudaDeviceProp properties{};
    if (const cudaError_t known = cudaGetDeviceProperties(&properties, device); known != cudaSuccess)
      return fmt::format("GPU {}: the NVIDIA driver says: {}", device, cudaGetErrorString(known));
    const Gpu gpu{.name = properties.name, .major = properties.major, .minor = properties.minor};
    if (auto why = why_gpu_is_unusable(gpu, device, DIFFRACT_CUDA_ARCHITECTURES); !why.empty()) return why;
  }
  return "";
}

tensor::BackendEntry entry() {
  static std::string why;
  int devices = 0;
  why = why_unusable(devices);
  if (!why.empty()) return {tensor::kBackendInterface, nullptr, why.c_str()};
  // float32 means float32, unless TF32 is asked for. cuDNN's own first choice of a convolution's algorithm is
  // as fast as what its measurements find, which take seconds.
  set_tf32(false);
  at::globalContext().setBenchmarkCuDNN(false);
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  static CudaBackend backend(devices);
  return {tensor::kBackendInterface, &backend, nullptr};
}

}  // namespace
}  // namespace diffract::kernels::cuda

DIFFRACT_DEVICE_BACKEND(diffract::kernels::cuda::entry())
