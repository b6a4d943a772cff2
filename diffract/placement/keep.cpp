#include "diffract/placement/keep.h"

#include <algorithm>
#include <numeric>

namespace diffract::placement {
namespace {

void add(PlaceBytes& to, const PlaceBytes& bytes, int64_t sign) {
  for (const auto& [place, count] : bytes) to[place] += sign * count;
}

bool is_enough(const PlaceBytes& lacking) {
  return std::all_of(lacking.begin(), lacking.end(), [](const auto& entry) { return entry.second <= 0; });
}

}  // namespace

int64_t bytes_at(const PlaceBytes& bytes, Place place) {
  const auto found = bytes.find(place);
  return found == bytes.end() ? 0 : found->second;
}

PlaceBytes ComponentUse::total() const {
  PlaceBytes sum = weights;
  add(sum, computing, +1);
  return sum;
}

ComponentUse use_of(const PlannedComponent& component, const DeviceMap& map) {
  ComponentUse bytes;
  const auto uses = uses_of({component}, map, Lifetime::whole_job);
  for (const PlaceUse& use : uses.front()) {
    if (use.place.is_disk()) continue;
    bytes.weights[use.place] = use.weights;
    bytes.computing[use.place] = use.working + use.staging;
  }
  return bytes;
}

std::vector<size_t> choose_to_free(const std::vector<PlaceBytes>& held, const PlaceBytes& need,
                                   const PlaceBytes& room) {
  PlaceBytes lacking;
  for (const auto& [place, bytes] : need) lacking[place] = bytes - bytes_at(room, place);
  const auto helps = [&](const PlaceBytes& bytes) {
    return std::any_of(lacking.begin(), lacking.end(), [&](const auto& entry) {
      return entry.second > 0 && bytes_at(bytes, entry.first) > 0;
    });
  };
  std::vector<size_t> chosen;
  for (size_t i = 0; i < held.size() && !is_enough(lacking); ++i)
    if (helps(held[i])) {
      chosen.push_back(i);
      for (auto& [place, bytes] : lacking) bytes -= bytes_at(held[i], place);
    }
  // What a large one's going made needless stays after all.
  std::erase_if(chosen, [&](size_t i) {
    PlaceBytes with = lacking;
    for (auto& [place, bytes] : with) bytes += bytes_at(held[i], place);
    if (!is_enough(with)) return false;
    lacking = std::move(with);
    return true;
  });
  return chosen;
}

std::vector<size_t> least_needed_first(const std::vector<PlannedComponent>& components) {
  std::vector<size_t> order(components.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return components[a].importance < components[b].importance; });
  return order;
}

std::vector<bool> stay_between_requests(const std::vector<PlannedComponent>& components, const DeviceMap& map,
                                        const MaxMemory& memory) {
  std::vector<ComponentUse> uses;
  uses.reserve(components.size());
  for (const auto& component : components) uses.push_back(use_of(component, map));
  const auto order = least_needed_first(components);
  std::vector<bool> is_held(components.size()), stays(components.size());
  constexpr int kRounds = 3;  // from the third on every round is the same
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < components.size(); ++i) {
      stays[i] = is_held[i];
      PlaceBytes room;
      for (const auto& [place, bytes] : memory) room[place] = bytes;
      std::vector<size_t> others;
      std::vector<PlaceBytes> held;
      for (const size_t other : order) {
        if (!is_held[other]) continue;
        add(room, uses[other].weights, -1);
        if (other == i) continue;
        others.push_back(other);
        held.push_back(uses[other].weights);
      }
      const PlaceBytes need = is_held[i] ? uses[i].computing : uses[i].total();
      for (const size_t gone : choose_to_free(held, need, room)) is_held[others[gone]] = false;
      is_held[i] = true;
    }
  }
  return stays;
}

}  // namespace diffract::placement
