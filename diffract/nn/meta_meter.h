#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace diffract::nn {

/// What a computation takes that runs on tensors without data (the meta device).
struct Cost {
  int64_t peak_bytes = 0;  // most of what is alive at once of the tensors that it makes
  double flops = 0;        // of matrix products, convolutions and attention
  double rare_runs = 1;    // of all runs, those that need the weights that serve several
  /// The flops of each layer that a device map may place by itself, by name, in the order in which they ran.
  std::vector<std::pair<std::string, double>> parts = {};
};

/// Kernels for the meta device that libtorch has in Python only.
void register_meta_kernels();

/// What is computed until its end is the named layer's, where it is measured.
class MeteredLayer {
 public:
  explicit MeteredLayer(const std::string& name);
  ~MeteredLayer();
  MeteredLayer(const MeteredLayer&) = delete;
  MeteredLayer& operator=(const MeteredLayer&) = delete;

 private:
  const std::string* name_ = nullptr;  // null: nothing is measured
  double before_ = 0;
};

/// Runs `compute` and counts what the CPU's kernels would allocate and calculate. One computation at a time
/// in a process; a second waits.
Cost measure_on_meta(const std::function<void()>& compute);

}  // namespace diffract::nn
