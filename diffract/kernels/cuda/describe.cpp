#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cublasLt.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>

#include "diffract/kernels/cuda/bindings.h"

namespace diffract::kernels::cuda {
namespace {

constexpr int kRepeats = 5;

// The least seconds of a few runs.
double seconds_of(const std::function<void()>& work) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  cudaEvent_t begin = nullptr, end = nullptr;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  work();
  float least = 1e9F;
  for (int i = 0; i < kRepeats; ++i) {
    cudaEventRecord(begin, stream);
    work();
    cudaEventRecord(end, stream);
    cudaEventSynchronize(end);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    least = std::min(least, milliseconds);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return static_cast<double>(least) / 1e3;
}

std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

// "580.159.04 " as the kernel's module says; nothing where it does not.
std::string driver_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string line, word;
  std::getline(file, line);
  for (std::istringstream words(line); words >> word;)
    if (word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos)
      return word + " ";
  return "";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> describe(int device) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
  const auto* properties = at::cuda::getCurrentDeviceProperties();
  int driver = 0, runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);

  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const int64_t side = std::min<int64_t>(4096, static_cast<int64_t>(free / (16 * 4096)));
  const at::Tensor a = at::randn({side, side}, options), b = at::randn({side, side}, options);
  at::Tensor c = at::empty({side, side}, options);
  const double product = seconds_of([&] { at::mm_out(c, a, b); });
  const double cube = static_cast<double>(side) * static_cast<double>(side) * static_cast<double>(side);

  const int64_t bytes = static_cast<int64_t>(std::min<size_t>(free / 8, size_t{256} << 20));
  const at::Tensor host = at::empty({bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  const at::Tensor here = at::empty({bytes}, options.dtype(at::kByte)), there = at::empty_like(here);
  const double up = seconds_of([&] { here.copy_(host, /*non_blocking=*/true); });
  const double down = seconds_of([&] { host.copy_(here, /*non_blocking=*/true); });
  const double across = seconds_of([&] { there.copy_(here); });
  const auto rate = [&](double seconds, double times) {
    return times * static_cast<double>(bytes) / 1e9 / seconds;
  };
  return {{"name", properties->name},
          {"compute capability", fmt::format("{}.{}", properties->major, properties->minor)},
          {"multiprocessors", std::to_string(properties->multiProcessorCount)},
          {"driver", fmt::format("{}for CUDA {}", driver_version(), version(driver))},
          {"libraries",
           fmt::format("CUDA {}, cublasLt {}, cuDNN {}, NCCL {}", version(runtime), cublasLtGetVersion(),
                       at::detail::getCUDAHooks().versionCuDNN(), nccl_version())},
          {"memory", fmt::format("{:.1f} GB, {:.1f} GB free", static_cast<double>(total) / 1e9,
                                 static_cast<double>(free) / 1e9)},
          {"bfloat16 products", fmt::format("{:.0f} TFLOP/s", 2 * cube / product / 1e12)},
          {"memory copy", fmt::format("{:.0f} GB/s read and written", rate(across, 2))},
          {"host to device", fmt::format("{:.1f} GB/s", rate(up, 1))},
          {"device to host", fmt::format("{:.1f} GB/s", rate(down, 1))}};
}

}  // namespace diffract::kernels::cuda
