#include "bench/cuda_trace.h"

#include <torch/csrc/autograd/profiler_kineto.h>

namespace diffract::bench {

void trace(const std::string& file, const std::function<void()>& work) {
  namespace profiler = torch::autograd::profiler;
  using torch::profiler::impl::ActivityType;
  const profiler::ProfilerConfig config(profiler::ProfilerState::KINETO);
  const std::set<ActivityType> activities{ActivityType::CUDA, ActivityType::CPU};
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  work();
  profiler::disableProfiler()->save(file);
}

}  // namespace diffract::bench
