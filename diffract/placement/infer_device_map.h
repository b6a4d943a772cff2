#pragma once
#include <map>
#include <string>

#include "diffract/placement/planner.h"

namespace diffract::placement {

/// What stays free on a device beside the weights that are kept there.
struct Reserve {
  /// Room for the largest layer on the first device and the CPU, as accelerate keeps it, whether anything is
  /// offloaded or not.
  bool largest_layer = false;
  /// What computing with a top-level module takes, by its name, on each device that has a part of it.
  std::map<std::string, int64_t> working = {};
  /// What is kept on a device in any case.
  std::map<Place, int64_t> at_least = {};

  /// What `place` must keep free when module `name` is on it.
  int64_t working_bytes(Place place, const std::string& name) const;
};

/// infer_auto_device_map with another reserve than accelerate's.
DeviceMap infer_device_map(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options,
                           const Reserve& reserve);

}  // namespace diffract::placement
