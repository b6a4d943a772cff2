#pragma once
#include <memory>
#include <string>

#include "diffract/loading/device_budgets.h"
#include "diffract/loading/device_map_argument.h"
#include "diffract/loading/pipeline_layout.h"
#include "diffract/weights/model_placement.h"

namespace diffract::loading {

/// What from_pretrained is told about places.
struct PlacementRequest {
  at::Device device = at::kCPU;
  const DeviceMapArgument& device_map;
  const placement::MaxMemory& max_memory;
  std::string offload_folder;
};

/// A device map that is no strategy: one device's name for everything ("cpu", "cuda:1"), or a JSON file's
/// path. Throws UsageError for anything else, or for a file that holds no map.
placement::DeviceMap parse_device_map(const std::string& text);
/// The accelerators that a map's numbers mean: those of the device that was asked for, or that `map` names,
/// else CUDA's; null without any. Sim devices are for tests, which say how much memory they have.
tensor::DeviceBackend* accelerator_backend(at::Device device, const std::string& map = "");
/// Where a map computes, or the plan of a strategy within such budgets: the CPU only where no accelerator has
/// a part in it. Throws UsageError for a bad map.
placement::Place computes_on(const DeviceMapArgument& device_map, const placement::MaxMemory& max_memory);
/// device_map's text for all processes of the job.
inline constexpr const char* kOverAllRanks = "ranks";
/// Whether a device map, or budgets, ask for the models to be divided over processes. Throws UsageError for a
/// file that is no map, and for a mixture of processes and other places.
bool asks_for_ranks(const DeviceMapArgument& device_map, const placement::MaxMemory& max_memory);
/// The map of a strategy: of a single model, of a pipeline, or over the ranks that `memory` names.
placement::DeviceMap plan_map(const PipelineLayout& layout, placement::Strategy strategy,
                              const placement::MaxMemory& memory);
/// What is free on each device of `backend` (null: there is none) and on the CPU.
placement::MaxMemory free_memory(const tensor::DeviceBackend* backend);

/// Where the models of a pipeline, or a single model, are kept and computed.
class PlacementPlan {
 public:
  /// Everything on one device.
  explicit PlacementPlan(at::Device device) : device_(device) {}
  /// Plans for the layout, which `lay_out` gives for the kind of device that computes, when a device map or
  /// budgets are asked for (budgets alone mean "auto"). Its components are named as the pipeline names them;
  /// one without a name is a single model, planned as accelerate plans it. Throws UsageError for a bad map,
  /// MemoryError when the budgets cannot hold the models.
  static PlacementPlan plan(const PlacementRequest& request,
                            const std::function<PipelineLayout(at::Device)>& lay_out);

  /// Of a component; of the single model with an empty name.
  weights::ModelPlacement of(const std::string& component) const;
  /// Computes what belongs to no model, and what the map keeps in CPU memory or on disk.
  at::Device device() const { return device_; }
  /// As accelerate prints it: modules, or whole components, and their places. Empty without a plan.
  const placement::DeviceMap& hf_device_map() const { return map_; }
  /// Those that this process uses.
  std::vector<at::Device> accelerators() const;
  /// True where processes of the job share the models.
  bool over_ranks() const { return over_ranks_; }
  /// The limits that hold while this lives; null without any.
  const std::shared_ptr<const DeviceBudgets>& budgets() const { return budgets_; }
  /// True when the plan keeps all budgets, the CPU's too. "balanced" and a map of one's own need not.
  bool keeps_budgets() const { return keeps_budgets_; }

 private:
  at::Device device_;
  c10::DeviceType accelerator_ = c10::DeviceType::CUDA;
  placement::DeviceMap map_;
  std::optional<uint64_t> host_bytes_;  // budget of the CPU
  std::string offload_folder_;
  std::shared_ptr<const DeviceBudgets> budgets_;
  bool over_ranks_ = false;
  bool has_budgets_ = false;
  bool keeps_budgets_ = false;
};

}  // namespace diffract::loading
