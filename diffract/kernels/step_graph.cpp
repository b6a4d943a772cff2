#include "diffract/kernels/step_graph.h"

#include <algorithm>
#include <atomic>
#include <map>

#include "diffract/core/heartbeat.h"
#include "diffract/kernels/cuda_kernels.h"

namespace diffract::kernels {
namespace {

bool same_shapes(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Tensor& x, const Tensor& y) {
    return x.defined() == y.defined() &&
           (!x.defined() ||
            (x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() && x.device() == y.device()));
  });
}

// One launch for all of a type, where there may be hundreds.
void copy_all(const std::vector<Tensor>& to, const std::vector<Tensor>& from) {
  std::map<at::ScalarType, std::pair<std::vector<Tensor>, std::vector<Tensor>>> of_type;
  for (size_t i = 0; i < from.size(); ++i) {
    if (!from[i].defined()) continue;
    auto& [targets, sources] = of_type[from[i].scalar_type()];
    targets.push_back(to[i]);
    sources.push_back(from[i]);
  }
  for (const auto& [type, lists] : of_type)
    at::_foreach_copy_(lists.first, lists.second, /*non_blocking=*/true);
}

std::atomic<uint64_t> replay_count{0};

}  // namespace

uint64_t StepGraphs::replays() { return replay_count.load(std::memory_order_relaxed); }

Tensor StepGraphs::run(const std::vector<Tensor>& inputs, const Step& step) {
  const auto* cuda = inputs.empty() ? nullptr : cuda_kernels(inputs.front());
  const std::unique_lock lock(busy_, std::try_to_lock);
  if (!cuda || !lock.owns_lock()) return step(inputs);
  if (most_graphs_ == 0) {
    if (++unrecorded_ != 2) return step(inputs);
    Tensor output;
    cuda->measure([&] { output = step(inputs); });
    return output;
  }
  auto found = std::find_if(graphs_.begin(), graphs_.end(),
                            [&](const Recorded& r) { return same_shapes(r.inputs, inputs); });
  if (found == graphs_.end()) {
    // The first time it runs as it is: libraries are set up, memory taken.
    graphs_.push_front({.inputs = inputs, .graph = nullptr, .output = {}});
    for (Tensor& input : graphs_.front().inputs)
      if (input.defined()) input = at::empty_like(input, at::MemoryFormat::Contiguous);
    if (graphs_.size() > most_graphs_) graphs_.pop_back();
    return step(inputs);
  }
  graphs_.splice(graphs_.begin(), graphs_, found);
  Recorded& recorded = graphs_.front();
  copy_all(recorded.inputs, inputs);
  if (recorded.graph) {
    heartbeat_queued(recorded.work);
  } else {
    const auto before = queued_work();
    recorded.graph = cuda->record(inputs.front(), [&] { recorded.output = step(recorded.inputs); });
    recorded.work = std::max(queued_work() - before, std::chrono::milliseconds(0));  // or there was a rest
  }
  recorded.graph->replay();
  replay_count.fetch_add(1, std::memory_order_relaxed);
  return recorded.output.clone();
}

}  // namespace diffract::kernels
