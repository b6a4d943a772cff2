#pragma once
#include <ATen/ATen.h>

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

namespace diffract::kernels {

using at::Tensor;

/// Work on a GPU that was recorded once and can be started again as a whole, over the same memory.
class RecordedGraph {
 public:
  virtual ~RecordedGraph() = default;
  virtual void replay() = 0;
};

/// A model's step, recorded for each shape of its inputs that comes twice, so that starting its hundreds of
/// kernels costs one call. The least recently used graph goes when there are more than `most_graphs`, since
/// each keeps memory of its own. The second step is also the one that measures products, so that the first is
/// there soon. On a CPU, and where recording is off, the step is simply called.
class StepGraphs {
 public:
  using Step = std::function<Tensor(const std::vector<Tensor>& inputs)>;
  explicit StepGraphs(size_t most_graphs = 4) : most_graphs_(most_graphs) {}

  /// step(inputs), all tensors on one device where it records. `step` must not wait for the GPU, and must
  /// give the same for the same inputs. The result is the caller's. Calls from several threads are safe: one
  /// uses the graphs, the others call the step.
  Tensor run(const std::vector<Tensor>& inputs, const Step& step);
  size_t size() const { return graphs_.size(); }
  /// How many recorded steps this process has started so far.
  static uint64_t replays();

 private:
  struct Recorded {
    std::vector<Tensor> inputs;
    std::unique_ptr<RecordedGraph> graph;  // null: seen once
    Tensor output;
    std::chrono::milliseconds work = {};  // of a slow GPU: what a replay tells the heartbeat, as the step did
  };
  size_t most_graphs_;
  int64_t unrecorded_ = 0;  // steps, where nothing is recorded
  std::mutex busy_;
  std::list<Recorded> graphs_;  // the last used first
};

}  // namespace diffract::kernels
