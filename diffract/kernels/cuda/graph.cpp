#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <mutex>

#include "diffract/kernels/cuda/bindings.h"

namespace diffract::kernels::cuda {
namespace {

// The stream that all recordings of a device are made on, one at a time: cuBLAS keeps a workspace of up to
// 32 MiB for each stream that it has ever worked on.
c10::cuda::CUDAStream recording_stream(c10::DeviceIndex device) {
  static auto* const streams = new std::map<c10::DeviceIndex, c10::cuda::CUDAStream>;
  const auto known = streams->find(device);
  if (known != streams->end()) return known->second;
  return streams->emplace(device, c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device))
      .first->second;
}

std::mutex& recording() {
  static std::mutex mutex;
  return mutex;
}

class Graph final : public RecordedGraph {
 public:
  Graph(c10::Device device, const std::function<void()>& work) : device_(device) {
    const std::lock_guard alone(recording());
    const c10::cuda::CUDAGuard on_device(device_);
    const auto caller = c10::cuda::getCurrentCUDAStream();
    const auto side = recording_stream(device_.index());
    caller.synchronize();  // once a shape: what the recording reads must be there
    {
      const c10::cuda::CUDAStreamGuard on_side(side);
      // Other threads may use the GPU meanwhile.
      begin();
      try {
        work();
      } catch (...) {
        end_quietly();
        throw;
      }
      graph_->capture_end();
    }
    side.synchronize();
  }

  void replay() override {
    const c10::cuda::CUDAGuard on_device(device_);
    graph_->replay();
  }

 private:
  // A graph whose beginning failed, because memory ran out, throws in its destructor and so ends the process
  // (libtorch 2.11: "The graph should be registered to the state"). It is left where it is.
  void begin() {
    try {
      graph_->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    } catch (...) {
      static_cast<void>(graph_.release());
      throw;
    }
  }

  // The error of the work is the one to report, not that the recording was broken off.
  void end_quietly() {
    try {
      graph_->capture_end();
    } catch (const std::exception&) {
      cudaGetLastError();
    }
  }

  c10::Device device_;
  std::unique_ptr<at::cuda::CUDAGraph> graph_ = std::make_unique<at::cuda::CUDAGraph>();
};

}  // namespace

std::unique_ptr<RecordedGraph> record(const Tensor& on_its_device, const std::function<void()>& work) {
  return std::make_unique<Graph>(on_its_device.device(), work);
}

}  // namespace diffract::kernels::cuda
