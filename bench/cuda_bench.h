// What cuda_table's rows share: random weights on the GPU, and how a row is timed.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/cuda_trace.h"
#include "diffract/core/error.h"
#include "diffract/kernels/cuda_kernels.h"
#include "diffract/tensor/device_backend.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::bench {

using at::Tensor;
using Clock = std::chrono::steady_clock;

constexpr int kRepeats = 10;

struct Options {  // of the command line
  std::string only, trace;
  bool graph = true;
  bool trace_first = false;  // instead of a later step
};

inline double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)), backend_(tensor::find_backend("cuda")) {
    if (!backend_) throw UsageError("no GPU: {}", tensor::why_no_backend("cuda"));
  }

  at::TensorOptions on_gpu(at::ScalarType dtype) const { return at::TensorOptions(at::kCUDA).dtype(dtype); }

  // A row, with what belongs to it: flux, flux+ahead.
  bool wants(const std::string& name) const {
    const std::string row = name.substr(0, name.find('+'));
    return options_.only.empty() || ("," + options_.only + ",").find("," + row + ",") != std::string::npos;
  }

  // A checkpoint of any names, its tensors drawn on the GPU.
  // Those that `stays` does not want go to host memory.
  weights::TensorSourcePtr random_checkpoint(at::ScalarType dtype,
                                             const std::function<bool(const std::string&)>& stays) const {
    const auto make = [=, this](const std::string& name, at::IntArrayRef shape) {
      Tensor values = at::randn(shape, on_gpu(dtype)).mul_(0.02);
      const bool is_norm_scale = shape.size() == 1 && name.ends_with("weight");
      if (is_norm_scale) values.add_(1);
      return stays(name) ? values : values.cpu();
    };
    return weights::made_source(make, [](const std::string& name) { return name == "shared.weight"; });
  }
  weights::WeightScope random_weights(at::ScalarType dtype, bool float8 = false) const {
    return {random_checkpoint(dtype, [](const std::string&) { return true; }),
            {.storage = dtype, .arithmetic = dtype, .float8 = float8},
            at::Device(at::kCUDA, 0)};
  }

  // Times `work`, as it is and as a recorded graph, and prints a line.
  void time(const std::string& name, const std::vector<Tensor>& inputs, const kernels::StepGraphs::Step& work,
            bool with_graph) {
    if (!wants(name)) return;
    backend_->reset_peak(0);
    const auto begin = Clock::now();
    const auto whole = [&] {
      work(inputs);
      backend_->synchronize(0);
    };
    const auto file = options_.trace + "/" + name + ".json";
    if (options_.trace_first) {
      trace(file, whole);
      return;
    }
    whole();
    const double first = milliseconds_since(begin);
    const auto peak = backend_->peak(0);
    double recorded = 0;
    if (with_graph && options_.graph) {
      kernels::StepGraphs graphs;
      graphs.run(inputs, work);
      graphs.run(inputs, work);
      recorded = median([&] { graphs.run(inputs, work); });
    } else {
      kernels::cuda_kernels(inputs.front())->measure(whole);
    }
    const double plain = median([&] { work(inputs); });
    std::printf(
        "{\"row\": \"%s\", \"first_ms\": %.1f, \"eager_ms\": %.3f, \"graph_ms\": %.3f, \"peak_gib\": %.2f}\n",
        name.c_str(), first, plain, recorded, static_cast<double>(peak) / (1 << 30));
    std::fflush(stdout);
    if (!options_.trace.empty()) trace(file, whole);
  }

  double median(const std::function<void()>& work) const {
    work();
    backend_->synchronize(0);
    std::vector<double> times;
    for (int i = 0; i < kRepeats; ++i) {
      const auto begin = Clock::now();
      work();
      backend_->synchronize(0);
      times.push_back(milliseconds_since(begin));
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  tensor::DeviceBackend& backend() { return *backend_; }

 private:
  Options options_;
  tensor::DeviceBackend* backend_;
};

// What a FLUX step is made of, each alone; rows "passes", "products" and "attention".
void passes(Bench& bench);
void products(Bench& bench);
void attention(Bench& bench);

}  // namespace diffract::bench
