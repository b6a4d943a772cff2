#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <tuple>
#include <vector>

#include "diffract/kernels/cuda/bindings.h"
#include "diffract/kernels/cuda/product.h"

// The first step of a process would wait for libraries to come from disk, for their kernels to be loaded and
// for the driver to compile those of attention. All that is done on threads here while weights are loaded.
namespace diffract::kernels::cuda {
namespace {

namespace fs = std::filesystem;

// A job that fails is no error: the first step meets the same and says so.
class Threads {
 public:
  ~Threads() { join(); }  // too late for libraries whose own memory went before this
  void join() {
    const std::lock_guard one(joining_);  // a second caller waits, too
    std::vector<std::thread> running;
    {
      const std::lock_guard lock(mutex_);
      running.swap(threads_);
    }
    for (std::thread& thread : running) thread.join();
  }
  std::shared_future<void> start(std::function<void()> job) {
    std::packaged_task<void()> task([job = std::move(job)] {
      try {
        job();
      } catch (const std::exception&) {
        cudaGetLastError();
      }
    });
    std::shared_future<void> done = task.get_future();
    const std::lock_guard lock(mutex_);
    try {
      threads_.emplace_back(std::move(task));
    } catch (const std::system_error&) {  // no more threads; whoever waits sees a broken promise at once
    }
    return done;
  }

 private:
  std::mutex joining_, mutex_;
  std::vector<std::thread> threads_;
};

Threads& threads() {
  static Threads all;
  return all;
}

void read_ahead(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_WILLNEED);
  ::close(descriptor);
}

// cuDNN is a small library that opens its large parts, beside it, when they are needed.
void read_cudnn_ahead() {
  fs::path cudnn;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* found) {
        const fs::path library = info->dlpi_name ? info->dlpi_name : "";
        if (library.filename().string().starts_with("libcudnn.so")) *static_cast<fs::path*>(found) = library;
        return 0;
      },
      &cudnn);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(cudnn.parent_path(), ignored))
    if (entry.path().filename().string().starts_with("libcudnn_")) read_ahead(entry.path());
}

void on_stream_of_its_own(int device, const std::function<void(const at::TensorOptions&)>& work) {
  const c10::InferenceMode no_autograd;
  const c10::cuda::CUDAGuard on_device(static_cast<c10::DeviceIndex>(device));
  const auto stream =
      c10::cuda::getStreamFromPool(/*isHighPriority=*/false, static_cast<c10::DeviceIndex>(device));
  const c10::cuda::CUDAStreamGuard on_stream(stream);
  work(at::TensorOptions(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device))));
  stream.synchronize();
}

void load_kernels(int device) {
  product_handle(device);
  on_stream_of_its_own(device, [](const at::TensorOptions& options) {
    const auto half = options.dtype(at::kHalf);
    const Tensor x = at::zeros({64, 64}, half);
    at::linear(x, x, x.select(0, 0));
    const Tensor map = at::zeros({1, 64, 16, 16}, half).contiguous(at::MemoryFormat::ChannelsLast);
    at::conv2d(map, at::zeros({64, 64, 3, 3}, half).contiguous(at::MemoryFormat::ChannelsLast), {}, 1, 1);
  });
}

void compile_attention(int device, at::ScalarType type, int64_t width) {
  constexpr int64_t kTokens = 1024;
  on_stream_of_its_own(device, [&](const at::TensorOptions& options) {
    const Tensor x = at::zeros({1, 1, kTokens, width}, options.dtype(type));
    plain::attention(x, x, x, {});
  });
}

using Kernel = std::tuple<int, at::ScalarType, int64_t>;
struct Expected {
  std::mutex mutex;
  std::map<Kernel, std::shared_future<void>> kernels;
};
Expected& expected() {
  static Expected all;
  return all;
}

}  // namespace

void prepare_libraries(int device) {
  static std::mutex mutex;
  static std::set<int> prepared;
  const std::lock_guard lock(mutex);
  if (!prepared.insert(device).second) return;
  threads().start([device] {
    read_cudnn_ahead();
    load_kernels(device);
  });
}

void await_prepared() { threads().join(); }

void expect_attention(int device, at::ScalarType type, int64_t head_width) {
  if (type != at::kHalf && type != at::kBFloat16) return;  // others have no kernel that is compiled
  device = std::max(device, 0);
  const std::lock_guard lock(expected().mutex);
  auto& done = expected().kernels[{device, type, head_width}];
  if (!done.valid()) done = threads().start([=] { compile_attention(device, type, head_width); });
}

void await_attention(int device, at::ScalarType type, int64_t head_width) {
  std::shared_future<void> done;
  {
    const std::lock_guard lock(expected().mutex);
    const auto found = expected().kernels.find({device, type, head_width});
    if (found != expected().kernels.end()) done = found->second;
  }
  if (done.valid()) done.wait();
}

}  // namespace diffract::kernels::cuda
