#pragma once
#include <cstdint>
#include <map>
#include <vector>

#include "diffract/placement/pipeline_map.h"

namespace diffract::placement {

/// Bytes on each of several places.
using PlaceBytes = std::map<Place, int64_t>;
/// 0 for a place that is not named.
int64_t bytes_at(const PlaceBytes& bytes, Place place);

/// What computing with a component takes beside its weights, and its weights, where the map has them.
struct ComponentUse {
  PlaceBytes weights, computing;  // computing: activations and layers in transit
  PlaceBytes total() const;
};
ComponentUse use_of(const PlannedComponent& component, const DeviceMap& map);

/// Which models that are in memory go so that `need` fits into `room`: of `held`, the least needed first,
/// each with what it has where. As few as will do, and none whose going helps nothing; where all together do
/// not make enough room, all that help.
std::vector<size_t> choose_to_free(const std::vector<PlaceBytes>& held, const PlaceBytes& need,
                                   const PlaceBytes& room);

/// The components' places in the order in which they are given up: the least important first.
std::vector<size_t> least_needed_first(const std::vector<PlannedComponent>& components);

/// For each component whether its weights are still in memory when a request like the one before needs them
/// again. Components run in their order, and each stays where there is room.
std::vector<bool> stay_between_requests(const std::vector<PlannedComponent>& components, const DeviceMap& map,
                                        const MaxMemory& memory);

}  // namespace diffract::placement
