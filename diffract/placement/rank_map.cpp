#include "diffract/placement/rank_map.h"

#include <algorithm>
#include <limits>

#include "diffract/core/error.h"
#include "diffract/core/size_text.h"

namespace diffract::placement {
namespace {

bool names_ranks_only(const std::vector<Place>& places, const char* what) {
  const auto is_rank = [](Place place) { return place.is_rank(); };
  if (std::none_of(places.begin(), places.end(), is_rank)) return false;
  const auto other = std::find_if_not(places.begin(), places.end(), is_rank);
  if (other != places.end())
    throw UsageError(
        "{}: names {} beside {}; over processes, each keeps its part in its own memory. Name ranks only",
        what, other->name(), std::find_if(places.begin(), places.end(), is_rank)->name());
  return true;
}

// A layer in the row of all components' layers.
struct Item {
  size_t component;
  std::string name;  // with its component's
  int64_t bytes;
  double work;  // flops of a picture
};

std::vector<Item> line_up(const std::vector<PlannedComponent>& components,
                          const std::vector<std::vector<RankedLayer>>& layers) {
  std::vector<Item> row;
  for (size_t c = 0; c < components.size(); ++c) {
    const auto& component = components[c];
    const auto sizes = compute_module_sizes(component.tree, component.options.size);
    int64_t rest = sizes.total();
    const size_t first = row.size();
    for (const RankedLayer& layer : layers[c]) {
      const int64_t bytes = sizes[layer.name];
      rest -= bytes;
      row.push_back({.component = c,
                     .name = join_name(component.name, layer.name),
                     .bytes = bytes,
                     .work = layer.flops * static_cast<double>(component.runs)});
    }
    if (row.size() == first) throw InternalError("{}: has no layers to divide", component.name);
    row[first].bytes += rest;
  }
  return row;
}

// What neighbours in the row take, beginning anywhere.
struct Load {
  double work = 0;
  int64_t bytes = 0, working = 0;
  void add(const Item& item, const std::vector<PlannedComponent>& components) {
    work += item.work;
    bytes += item.bytes;
    working = std::max(working, components[item.component].working_bytes);
  }
};

// The best ends of the ranks' parts: part r is [ends[r - 1], ends[r]).
std::vector<size_t> best_ends(const std::vector<Item>& row, const std::vector<PlannedComponent>& components,
                              const MaxMemory& memory) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const size_t count = row.size(), ranks = memory.entries().size();
  // best[r][i]: the most that one of the first r ranks computes when they have the first i layers.
  std::vector<std::vector<double>> best(ranks + 1, std::vector<double>(count + 1, kNever));
  std::vector<std::vector<size_t>> begin(ranks + 1, std::vector<size_t>(count + 1, 0));
  best[0][0] = 0;
  for (size_t r = 1; r <= ranks; ++r) {
    const int64_t budget = memory.entries()[r - 1].second;
    for (size_t i = 0; i <= count; ++i) {
      best[r][i] = best[r - 1][i];  // this rank has nothing
      begin[r][i] = i;
      Load load;
      for (size_t j = i; j-- > 0;) {
        load.add(row[j], components);
        if (load.bytes + load.working > budget) break;
        const double most = std::max(best[r - 1][j], load.work);
        if (most < best[r][i]) {
          best[r][i] = most;
          begin[r][i] = j;
        }
      }
    }
  }
  if (best[ranks][count] == kNever) return {};
  std::vector<size_t> ends(ranks + 1, count);
  for (size_t r = ranks; r > 0; --r) ends[r - 1] = begin[r][ends[r]];
  return {ends.begin() + 1, ends.end()};
}

[[noreturn]] void refuse(const std::vector<PlannedComponent>& components, const MaxMemory& memory) {
  int64_t weights = 0, working = 0, budgets = 0;
  std::string names;
  for (const auto& component : components) {
    weights += compute_module_sizes(component.tree, component.options.size).total();
    working = std::max(working, component.working_bytes);
    names += (names.empty() ? "" : ", ") + component.name;
  }
  for (const auto& [place, bytes] : memory)
    budgets += std::min(bytes, std::numeric_limits<int64_t>::max() - budgets);
  throw MemoryError(
      "{}: {} of weights, and {} to compute on each rank, cannot be divided over {} ranks with {} in all. "
      "Raise max_memory, or start more processes",
      names, size_text(weights), size_text(working), memory.entries().size(), size_text(budgets));
}

}  // namespace

bool is_over_ranks(const DeviceMap& map) { return names_ranks_only(map.places(), "device_map"); }

bool is_over_ranks(const MaxMemory& memory) {
  std::vector<Place> places;
  for (const auto& [place, bytes] : memory) places.push_back(place);
  return names_ranks_only(places, "max_memory");
}

DeviceMap divide_over_ranks(const std::vector<PlannedComponent>& components,
                            const std::vector<std::vector<RankedLayer>>& layers, const MaxMemory& memory) {
  const auto row = line_up(components, layers);
  const auto ends = best_ends(row, components, memory);
  if (ends.empty()) refuse(components, memory);
  DeviceMap map;
  size_t rank = 0, component = components.size();
  for (size_t i = 0; i < row.size(); ++i) {
    while (i >= ends[rank]) ++rank;
    const Place place = memory.entries()[rank].first;
    if (row[i].component != component) map.set(components[component = row[i].component].name, place);
    if (map.find(row[i].name) != place) map.set(row[i].name, place);
  }
  return map;
}

DeviceMap plan_rank_map(const std::vector<PlannedComponent>& components,
                        const std::vector<std::vector<RankedLayer>>& layers, Strategy strategy,
                        const MaxMemory& memory) {
  if (strategy == Strategy::automatic || strategy == Strategy::balanced)
    return divide_over_ranks(components, layers, memory);
  MaxMemory as_accelerators;
  for (const auto& [place, bytes] : memory) as_accelerators.set(Place(place.index()), bytes);
  DeviceMap map;
  for (const auto& [name, place] :
       plan_pipeline_map(components, strategy, as_accelerators, Lifetime::whole_job))
    map.set(name, Place::rank(place.index()));
  return map;
}

}  // namespace diffract::placement
