#include "diffract/placement/pipeline_map.h"

#include <algorithm>
#include <map>
#include <set>

#include "diffract/core/error.h"
#include "diffract/core/size_text.h"
#include "diffract/placement/infer_device_map.h"
#include "diffract/placement/spread_offload.h"

namespace diffract::placement {
namespace {

using Group = std::vector<const PlannedComponent*>;  // in memory together

std::vector<Group> groups_of(const std::vector<PlannedComponent>& components, Lifetime lifetime) {
  std::map<int, Group> groups;
  for (const auto& component : components)
    groups[lifetime == Lifetime::whole_job ? 0 : component.stage].push_back(&component);
  std::vector<Group> list;
  list.reserve(groups.size());
  for (auto& [stage, group] : groups) list.push_back(std::move(group));
  return list;
}

// The components below one root, their tensors in the sizes that they are loaded in.
ModuleTree join(const Group& group, PlanOptions& options) {
  ModuleTree joined;
  for (const PlannedComponent* component : group) {
    Module root = sized(component->tree, component->options.size).root;
    root.name = component->name;
    joined.root.children.push_back(std::move(root));
    for (auto names : component->tree.tied) {
      for (std::string& name : names) name = join_name(component->name, name);
      joined.tied.push_back(std::move(names));
    }
    const auto& classes = component->options.no_split_module_classes;
    options.no_split_module_classes.insert(options.no_split_module_classes.end(), classes.begin(),
                                           classes.end());
  }
  options.fallback_allocation = true;
  return joined;
}

bool is_offloaded(Place place, Place main) {
  return place.is_disk() || (place.is_cpu() && main.is_accelerator());
}

bool offloads(const DeviceMap& map, Place main) {
  return std::any_of(map.begin(), map.end(),
                     [&](const auto& entry) { return is_offloaded(entry.second, main); });
}

// `main` computes what is offloaded.
std::vector<PlaceUse> use_of(const Group& group, const DeviceMap& map, Place main) {
  std::map<Place, PlaceUse> uses;
  const auto use = [&](Place place) -> PlaceUse& {
    return uses.emplace(place, PlaceUse{.place = place}).first->second;
  };
  for (const PlannedComponent* component : group) {
    const DeviceMap own = map.below(component->name);
    const auto sizes = compute_module_sizes(component->tree, component->options.size);
    for (const std::string& tensor : component->tree.tensor_names()) {
      const Place place = own.at(tensor);
      use(place).weights += sizes[tensor];
      PlaceUse& computing = use(is_offloaded(place, main) ? main : place);
      computing.working = std::max(computing.working, component->working_bytes);
    }
    const auto& classes = component->options.no_split_module_classes;
    for_each_layer(component->tree.root, "", {classes.begin(), classes.end()},
                   [&](const std::string& name, const Module&) {
                     const Place place = own.find(name).value_or(main);
                     if (!is_offloaded(place, main) || sizes[name] == 0) return;
                     for (const Place passed : {main, place.is_disk() ? Place::cpu() : main})
                       use(passed).staging = std::max(use(passed).staging, kLayersInTransit * sizes[name]);
                   });
  }
  std::vector<PlaceUse> list;
  list.reserve(uses.size());
  for (const auto& [place, what] : uses) list.push_back(what);
  return list;
}

std::string names_of(const Group& group) {
  std::string names;
  for (const PlannedComponent* component : group) names += (names.empty() ? "" : ", ") + component->name;
  return names;
}

// Names what does not fit; nothing when all does.
std::string over_budget(const Group& group, const DeviceMap& map, const MaxMemory& memory, Place main) {
  for (const PlaceUse& use : use_of(group, map, main)) {
    const auto budget = memory.find(use.place);
    const bool unlimited = !budget && (use.place.is_disk() || use.weights == 0);
    if (unlimited || use.total() <= budget.value_or(0)) continue;
    return fmt::format(
        "{}: needs {} on {} ({} of weights, {} to compute, {} for layers in transit); its budget is {}. "
        "Raise --max-memory, ask for smaller pictures or batches, or offload less to it",
        names_of(group), size_text(use.total()), use.place.name(), size_text(use.weights),
        size_text(use.working), size_text(use.staging), size_text(budget.value_or(0)));
  }
  return {};
}

Place main_of(const MaxMemory& memory) {
  const bool has_accelerator = !memory.empty() && memory.begin()->first.is_accelerator();
  return has_accelerator ? memory.begin()->first : Place::cpu();
}

class GroupPlanner {
 public:
  GroupPlanner(const Group& group, const MaxMemory& memory)
      : group_(group), memory_(memory), main_(main_of(memory)) {
    tree_ = join(group, options_);
    for (const PlannedComponent* component : group) working_[component->name] = component->working_bytes;
  }

  DeviceMap plan(Strategy strategy) const {
    if (strategy != Strategy::sequential) {
      const bool low_zero = strategy == Strategy::balanced_low_0;
      const auto shares = get_balanced_memory(tree_, with_working(), options_, low_zero);
      if (const auto map = try_without_offload(shares_with_working(shares))) return *map;
    }
    if (const auto map = try_without_offload(memory_)) return *map;
    return plan_with_offload();
  }

 private:
  int64_t most_working() const {
    int64_t most = 0;
    for (const auto& [name, bytes] : working_) most = std::max(most, bytes);
    return most;
  }

  // Shares are of weights: what computing takes is set aside first, and given back to each device after.
  MaxMemory with_working() const {
    MaxMemory rest;
    for (const auto& [place, bytes] : memory_)
      rest.set(place, place.is_accelerator() ? std::max<int64_t>(bytes - most_working(), 0) : bytes);
    return rest;
  }
  MaxMemory shares_with_working(const MaxMemory& shares) const {
    MaxMemory full;
    for (const auto& [place, bytes] : memory_)
      full.set(place, std::min(bytes, *shares.find(place) + (place.is_accelerator() ? most_working() : 0)));
    return full;
  }

  std::optional<DeviceMap> try_without_offload(const MaxMemory& memory) const {
    MaxMemory endless_disk;  // what reaches it is not wanted, whatever the disk's budget
    for (const auto& [place, bytes] : memory)
      if (!place.is_disk()) endless_disk.set(place, bytes);
    DeviceMap map = infer({.working = working_}, endless_disk);
    if (offloads(map, main_)) return {};
    return map;
  }

  DeviceMap plan_with_offload() const {
    Reserve reserve{.layers_on_main = kLayersInTransit, .working = working_};
    // What turns out to be offloaded computes on the main device, and what is on disk passes through the CPU:
    // room for that may push out more.
    while (true) {
      const DeviceMap map = infer(reserve, memory_);
      int64_t needed = 0;
      for (const PlannedComponent* component : group_)
        if (offloads(map.below(component->name), main_)) needed = std::max(needed, component->working_bytes);
      const bool lacks_buffers = map.uses(Place::disk()) && reserve.layers_on_cpu == 0;
      if (needed <= reserve.at_least[main_] && !lacks_buffers) return map;
      reserve.at_least[main_] = std::max(reserve.at_least[main_], needed);
      if (lacks_buffers) reserve.layers_on_cpu = kLayersInTransit;
    }
  }

  DeviceMap infer(const Reserve& reserve, const MaxMemory& memory) const {
    return infer_device_map(tree_, memory, options_, reserve);
  }

  const Group& group_;
  const MaxMemory& memory_;
  const Place main_;
  PlanOptions options_;
  ModuleTree tree_;
  std::map<std::string, int64_t> working_;
};

// Without the accelerators that have no memory, and without the first `count` of the others.
MaxMemory without_first(const MaxMemory& memory, size_t count) {
  MaxMemory rest;
  for (const auto& [place, bytes] : memory) {
    if (place.is_accelerator() && bytes == 0) continue;
    if (place.is_accelerator() && count > 0)
      --count;
    else
      rest.set(place, bytes);
  }
  return rest;
}

void check_groups(const std::vector<Group>& groups, const DeviceMap& map, const MaxMemory& memory,
                  Place main) {
  for (const Group& group : groups)
    if (const std::string problem = over_budget(group, map, memory, main); !problem.empty())
      throw MemoryError("{}", problem);
}

// What is offloaded of each component lies evenly among what is kept, where the budgets hold so too.
DeviceMap spread_group(const Group& group, DeviceMap map, const MaxMemory& memory) {
  const Place main = main_of(memory);
  if (!offloads(map, main)) return map;
  const auto spread = [&](const PlannedComponent* component, Exchange exchange) {
    DeviceMap trial;
    for (const PlannedComponent* one : group) {
      const DeviceMap own = map.below(one->name);
      const bool moves = one == component;
      trial.add_below(one->name, moves ? spread_offload(one->tree, own, one->options, main, exchange) : own);
    }
    return trial;
  };
  for (const PlannedComponent* component : group) {
    DeviceMap trial = spread(component, Exchange::any_blocks);
    // Where larger blocks are offloaded than before, more is on its way at once.
    if (!over_budget(group, trial, memory, main).empty()) trial = spread(component, Exchange::equal_blocks);
    if (over_budget(group, trial, memory, main).empty()) map = std::move(trial);
  }
  return map;
}

DeviceMap plan_groups(std::vector<Group> groups, Strategy strategy, const MaxMemory& memory) {
  DeviceMap map;
  for (Group& group : groups) {
    const bool in_order = strategy == Strategy::sequential;
    if (!in_order)
      std::stable_sort(group.begin(), group.end(),
                       [](const auto* a, const auto* b) { return a->runs > b->runs; });
    DeviceMap planned = GroupPlanner(group, memory).plan(strategy);
    if (!in_order) planned = spread_group(group, std::move(planned), memory);
    for (const PlannedComponent* component : group)
      map.add_below(component->name, planned.below(component->name));
  }
  return map;
}

}  // namespace

DeviceMap balance_components(const std::vector<PlannedComponent>& components, const MaxMemory& memory) {
  using Sized = std::pair<std::string, int64_t>;
  std::vector<Sized> largest_first;
  largest_first.reserve(components.size());
  for (const auto& component : components)
    largest_first.emplace_back(component.name,
                               compute_module_sizes(component.tree, component.options.size).total());
  std::stable_sort(largest_first.begin(), largest_first.end(),
                   [](const Sized& a, const Sized& b) { return a.second > b.second; });
  std::vector<MaxMemory::Entry> devices;
  for (const auto& entry : memory)
    if (entry.first.is_accelerator()) devices.push_back(entry);
  std::stable_sort(devices.begin(), devices.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });

  DeviceMap map;
  auto host_bytes = memory.find(Place::cpu());
  size_t turn = 0;
  for (const auto& [name, bytes] : largest_first) {
    const size_t round = devices.empty() ? 0 : turn % (2 * devices.size());
    const size_t at = round < devices.size() ? round : 2 * devices.size() - 1 - round;
    if (!devices.empty() && bytes <= devices[at].second) {
      map.set(name, devices[at].first);
      devices[at].second -= bytes;
      ++turn;
    } else if (!host_bytes || bytes <= *host_bytes) {
      map.set(name, Place::cpu());
      if (host_bytes) *host_bytes -= bytes;
    } else {
      map.set(name, Place::disk());
    }
  }
  return map;
}

DeviceMap plan_pipeline_map(const std::vector<PlannedComponent>& components, Strategy strategy,
                            const MaxMemory& memory, Lifetime lifetime) {
  if (strategy == Strategy::balanced) return balance_components(components, memory);
  // The first accelerator computes what is offloaded; one that is too small for that is left out.
  std::optional<MemoryError> first_error;
  for (size_t skipped = 0;; ++skipped) {
    const MaxMemory usable = without_first(memory, skipped);
    if (first_error && !main_of(usable).is_accelerator()) throw *first_error;
    try {
      DeviceMap map = plan_groups(groups_of(components, lifetime), strategy, usable);
      check_groups(groups_of(components, lifetime), map, memory, main_of(usable));
      if (main_of(usable).is_accelerator() && map.main_place() != main_of(usable))
        throw MemoryError("device {}: its budget {} holds what computing takes, but not a block beside it",
                          main_of(usable).name(), size_text(usable.begin()->second));
      return map;
    } catch (const MemoryError& error) {
      if (!first_error) first_error = error;
    }
  }
}

std::vector<std::vector<PlaceUse>> uses_of(const std::vector<PlannedComponent>& components,
                                           const DeviceMap& map, Lifetime lifetime) {
  std::vector<std::vector<PlaceUse>> uses;
  for (const Group& group : groups_of(components, lifetime))
    uses.push_back(use_of(group, map, map.main_place()));
  return uses;
}

void check_budgets(const std::vector<PlannedComponent>& components, const DeviceMap& map,
                   const MaxMemory& memory, Lifetime lifetime) {
  check_groups(groups_of(components, lifetime), map, memory, map.main_place());
}

}  // namespace diffract::placement
