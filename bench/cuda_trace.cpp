#include "bench/cuda_trace.h"

#include <torch/csrc/autograd/profiler_kineto.h>

namespace diffract::bench {

namespace profiler = torch::autograd::profiler;

CudaTrace::CudaTrace() {
  using torch::profiler::impl::ActivityType;
  const profiler::ProfilerConfig config(profiler::ProfilerState::KINETO);
  const std::set<ActivityType> activities{ActivityType::CUDA, ActivityType::CPU};
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
}

void CudaTrace::save(const std::string& file) { profiler::disableProfiler()->save(file); }

void trace(const std::string& file, const std::function<void()>& work) {
  CudaTrace trace;
  work();
  trace.save(file);
}

}  // namespace diffract::bench
