#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "diffract/placement/pipeline_map.h"

namespace diffract::placement {

/// A part of a component that one process computes as a whole.
struct RankedLayer {
  std::string name;  // within its component
  double flops = 0;  // of one run
};

/// True when a map, or budgets, name processes of the job. Throws UsageError when they name other places too:
/// each process keeps what is its own in its own memory.
bool is_over_ranks(const DeviceMap& map);
bool is_over_ranks(const MaxMemory& memory);

/// Divides the layers of all components, in the order in which they compute (`layers`: those of each
/// component), into as many runs of neighbours as `memory` names ranks: so that the rank with the most to
/// compute for a picture has as little as can be, and none has more than its budget, what computing takes
/// included. All components stay in memory. What is not among the layers goes with the first of its
/// component. Throws MemoryError when no division keeps the budgets.
DeviceMap divide_over_ranks(const std::vector<PlannedComponent>& components,
                            const std::vector<std::vector<RankedLayer>>& layers, const MaxMemory& memory);

/// The same by a strategy: "auto" and "balanced" as above; "sequential" and "balanced_low_0" by memory alone,
/// as they fill accelerators.
DeviceMap plan_rank_map(const std::vector<PlannedComponent>& components,
                        const std::vector<std::vector<RankedLayer>>& layers, Strategy strategy,
                        const MaxMemory& memory);

}  // namespace diffract::placement
