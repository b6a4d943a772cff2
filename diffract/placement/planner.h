#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "diffract/placement/device_map.h"
#include "diffract/placement/module_tree.h"

namespace diffract::placement {

/// How a map is chosen: "balanced" gives each accelerator an equal share, "balanced_low_0" leaves accelerator
/// 0 as empty as it can, "sequential" fills one after the other. "auto" is "balanced" for a single model.
enum class Strategy { automatic, balanced, balanced_low_0, sequential };
/// One of "auto", "balanced", "balanced_low_0", "sequential"; none for another name.
std::optional<Strategy> parse_strategy(std::string_view name);

struct PlanOptions {
  SizeOptions size = {};
  std::vector<std::string> no_split_module_classes = {};  // blocks that stay whole on one device
  std::vector<std::string> rare_module_classes = {};      // in them, brought once for many runs
  bool offload_buffers = false;                           // buffers of offloaded modules are offloaded too
  bool fallback_allocation = false;  // a device that the next module does not fit gets a later one that does
};

/// The budgets to plan with: those given, or, without any, what `free` says the devices have; then a tenth of
/// a single accelerator stays free, for "balanced" and "auto" hold nothing back on the last one.
/// Source: accelerate get_max_memory.
MaxMemory get_max_memory(const std::optional<MaxMemory>& given, const MaxMemory& free);

/// The budgets that make accelerators share a model equally, plus room for the largest block; the last one
/// keeps all of its own. With `low_zero` the first gets only what the others cannot hold.
/// Source: accelerate get_balanced_memory.
MaxMemory get_balanced_memory(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options,
                              bool low_zero = false);

/// Puts modules on devices in the order of the model: accelerators, CPU, disk. On the first accelerator and
/// the CPU the largest layer's size stays free, for what is offloaded is brought there to be computed. A
/// module that does not fit is split, unless its class may not be; tied tensors go to one device.
/// Throws MemoryError when the budgets, one for the disk among them, cannot hold the model.
/// Source: accelerate infer_auto_device_map.
DeviceMap infer_auto_device_map(const ModuleTree& tree, const MaxMemory& memory, const PlanOptions& options);

/// The map of a strategy within the budgets: what from_pretrained(device_map="auto") uses.
DeviceMap plan_device_map(const ModuleTree& tree, Strategy strategy, const MaxMemory& memory,
                          const PlanOptions& options);

/// What to tell the user where the buffers of offloaded modules, which stay on accelerators, fit on none of
/// them; empty where they do, or are offloaded too (`offload_buffers`).
std::string buffer_warning(const ModuleTree& tree, const DeviceMap& map, const MaxMemory& memory,
                           const PlanOptions& options, bool offload_buffers = false);

/// Names a module instead of all that is below it where that is on one device.
DeviceMap clean_device_map(const DeviceMap& map);

/// Throws UsageError where the map leaves a tensor out. Gives warnings of keys that name nothing in the model
/// and of tied tensors on different devices. With `component` the map is a pipeline's, whose names begin with
/// it.
std::vector<std::string> check_device_map(const ModuleTree& tree, const DeviceMap& map,
                                          const std::string& component = "");

}  // namespace diffract::placement
