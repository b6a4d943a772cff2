#pragma once
#include "diffract/placement/planner.h"

namespace diffract::placement {

/// Whether any two blocks may change places, or only those of one size, which takes nothing more anywhere.
enum class Exchange { any_blocks, equal_blocks };

/// The same map with a model's blocks arranged so that those that `main` keeps lie among those that are
/// brought to it from the CPU or the disk as spread_kept() says, and the CPU's so among the disk's: while
/// `main` computes a block of its own, the next ones are read, and neither waits for the other. No place gets
/// more bytes of blocks than it had, but for the last one in the order of filling, which may get as much more
/// as the others leave for want of a block that fits. What is not a block, is on another accelerator or is
/// tied stays where it is.
DeviceMap spread_offload(const ModuleTree& tree, const DeviceMap& map, const PlanOptions& options, Place main,
                         Exchange exchange);

}  // namespace diffract::placement
