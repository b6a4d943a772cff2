#pragma once
#include <string>
#include <vector>

#include "diffract/placement/planner.h"

namespace diffract::placement {

/// A plan keeps room for so many of the largest offloaded layers: one that computes, one that is read.
inline constexpr int64_t kLayersInTransit = 2;

/// A component of a pipeline, as the planner sees it.
struct PlannedComponent {
  std::string name;  // "transformer"
  ModuleTree tree;
  PlanOptions options = {};
  int64_t working_bytes = 0;  // what computing with it takes beside its weights
  int64_t runs = 1;           // how often a request runs it: the steps for a denoiser
  int stage = 0;              // components of one stage are in memory together
  int importance = 0;         // of those that stay between requests the least important one goes first
};

/// Whether all components stay in memory, or only those of the stage that runs.
enum class Lifetime { whole_job, stage };

/// What is on a device while a stage runs, bytes.
struct PlaceUse {
  Place place;
  int64_t weights = 0;
  int64_t working = 0;  // activations, where a component that has a part here computes
  int64_t staging = 0;  // two of the largest offloaded layers, on their way through this device
  int64_t total() const { return weights + working + staging; }
};

/// One device a component, the largest first, forwards and backwards over the devices by their memory, as
/// DiffusionPipeline.from_pretrained(device_map="balanced") does it; what fits on none goes to the CPU, and
/// when that is full to the disk. Activations are not counted.
/// Source: diffusers _assign_components_to_devices, which forgets all but the last of those.
DeviceMap balance_components(const std::vector<PlannedComponent>& components, const MaxMemory& memory);

/// One map of all components and stages, named "transformer.transformer_blocks.0". Blocks stay whole.
/// Activations are counted where their component has blocks, and, for what is offloaded, on the first
/// accelerator, where room for two layers in transit is kept too; nothing is reserved where nothing is
/// offloaded.
/// - balanced: balance_components.
/// - automatic: equal shares where all fits on accelerators so; else accelerators are filled one after the
///   other, beginning with what runs most often, so that what is offloaded costs least.
/// - balanced_low_0: the same with accelerator 0 as empty as can be, where all fits on accelerators so.
/// - sequential: accelerators are filled one after the other, in the order of the components.
/// Throws MemoryError when the budgets cannot hold it.
DeviceMap plan_pipeline_map(const std::vector<PlannedComponent>& components, Strategy strategy,
                            const MaxMemory& memory, Lifetime lifetime);

/// What `map` takes on each place, for every stage in turn (one for all with Lifetime::whole_job).
std::vector<std::vector<PlaceUse>> uses_of(const std::vector<PlannedComponent>& components,
                                           const DeviceMap& map, Lifetime lifetime);

/// Throws MemoryError naming the stage's components, the device, what is needed and what is allowed, when
/// `map` takes more than `memory` has. The disk is endless unless it is named.
void check_budgets(const std::vector<PlannedComponent>& components, const DeviceMap& map,
                   const MaxMemory& memory, Lifetime lifetime);

}  // namespace diffract::placement
