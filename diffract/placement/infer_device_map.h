#pragma once
#include <map>
#include <string>

#include "diffract/placement/planner.h"

namespace diffract::placement {

/// What stays free on a device beside the weights that are kept there.
struct Reserve {
  /// Room for so many of the largest layer: on the main device, where what is offloaded is computed (the
  /// first accelerator, or the CPU without one), and on a CPU that is not it, which disk reads pass through.
  int64_t layers_on_main = 0, layers_on_cpu = 0;
  /// With fallback_allocation, keeps room on every device for what did not fit, as accelerate does.
  bool cautious_fallback = false;
  /// What computing with a top-level module takes, by its name, where a part of it is computed.
  std::map<std::string, int64_t> working = {};
  /// What is kept on a device in any case.
  std::map<Place, int64_t> at_least = {};
};

/// infer_auto_device_map with another reserve than accelerate's.
DeviceMap infer_device_map(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options,
                           const Reserve& reserve);

}  // namespace diffract::placement
