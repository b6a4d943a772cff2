#pragma once
#include "diffract/placement/device_map.h"

namespace diffract::loading {

/// Throws UsageError, saying what to do, unless this process is one of several that have met.
void require_world();
/// All ranks call it with their map, which must be one and the same: they will follow it in step. Throws
/// UsageError naming the ranks that have another, or a rank that is not there; PeerError when a rank does not
/// come.
void require_agreement(const placement::DeviceMap& map);

}  // namespace diffract::loading
