#include "diffract/loading/placement_plan.h"

#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/distributed/process_group.h"
#include "diffract/loading/rank_agreement.h"
#include "diffract/placement/pipeline_map.h"
#include "diffract/placement/rank_map.h"
#include "diffract/tensor/dtype.h"
#include "diffract/weights/host_budget.h"

namespace diffract::loading {
namespace {

using placement::DeviceMap;
using placement::MaxMemory;
using placement::Place;

bool is_file(const std::string& text) {
  if (text.ends_with(".json")) return true;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(text, ignored)) return false;
  if (placement::parse_strategy(text) || text == kOverAllRanks) return false;
  try {
    Place::parse(text);  // a device, whatever lies in this folder
    return false;
  } catch (const UsageError&) {
    return true;
  }
}

DeviceMap given_map(const DeviceMapArgument& argument) {
  if (!argument.map().empty()) return argument.map();
  try {
    if (is_file(argument.text())) return DeviceMap::from_json(load_json(argument.text()), argument.text());
  } catch (const CheckpointError& error) {
    throw UsageError("device_map: {}", error.what());  // the file is the user's, not a model's
  }
  try {
    return {{"", Place::parse(argument.text())}};
  } catch (const UsageError&) {
    throw UsageError(
        "device_map \"{}\": expected auto, balanced, balanced_low_0, sequential, ranks, a device, or a JSON "
        "file",
        argument.text());
  }
}

// What the ranks of the world may take: without limits unless there are some.
MaxMemory rank_budgets(const MaxMemory& given) {
  if (!given.empty()) return given;
  MaxMemory memory;
  for (int rank = 0; rank < distributed::get_world_size(); ++rank)
    memory.set(Place::rank(rank), std::numeric_limits<int64_t>::max());
  return memory;
}

DeviceMap map_over_ranks(const PlacementRequest& request, const PipelineLayout& layout) {
  require_world();
  const std::string& text = request.device_map.text();
  const bool budgets_name_ranks = placement::is_over_ranks(request.max_memory);
  if (!request.max_memory.empty() && !budgets_name_ranks)
    throw UsageError("max_memory: names {}; over processes it names them: rank:0=8GB,rank:1=8GB",
                     request.max_memory.begin()->first.name());
  const auto strategy = placement::parse_strategy(text);
  DeviceMap map;
  if (!request.device_map.is_given() || text == kOverAllRanks)
    map = plan_map(layout, placement::Strategy::automatic, rank_budgets(request.max_memory));
  else
    map = strategy ? plan_map(layout, *strategy, request.max_memory) : given_map(request.device_map);
  if (budgets_name_ranks)
    check_budgets(layout.components, map, request.max_memory, placement::Lifetime::whole_job);
  require_agreement(map);
  return map;
}

void check_map(const DeviceMap& map, const PipelineLayout& layout, const tensor::DeviceBackend* backend) {
  for (const auto& component : layout.components)
    for (const auto& warning : check_device_map(component.tree, map, component.name))
      log::warning("device_map: {}", warning);
  for (const Place place : map.places())
    if (place.is_accelerator() && (!backend || place.index() >= backend->device_count()))
      throw UsageError("device_map: names accelerator {}; {}", place.index(),
                       backend ? fmt::format("there are {} {} devices, numbered from 0",
                                             backend->device_count(), backend->name())
                               : fmt::format("there is none here: {}", tensor::why_no_backend("cuda")));
}

// The other strategies keep the budgets by themselves. "balanced" puts what fits nowhere on the CPU, as in
// diffusers, whatever the CPU's budget is, and a map of one's own is the user's. What is counted for
// activations is an estimate, so it is a warning: an accelerator's budget is a hard limit anyway.
void warn_of_given_budgets(std::optional<placement::Strategy> strategy, const DeviceMap& map,
                           const PipelineLayout& layout, const MaxMemory& memory) {
  if (strategy && strategy != placement::Strategy::balanced) return;
  try {
    check_budgets(layout.components, map, memory, layout.lifetime);
  } catch (const MemoryError& error) {
    log::warning("device_map: {}", error.what());
  }
}

}  // namespace

DeviceMap parse_device_map(const std::string& text) { return given_map(text); }

tensor::DeviceBackend* accelerator_backend(at::Device device, const std::string& map) {
  if (!device.is_cpu()) return &tensor::backend_of(device);
  for (const char* kind : {"cuda", "sim"})  // a map may be one device's name
    if (map.starts_with(kind) && !is_file(map)) return &tensor::backend_of(tensor::parse_device(map));
  if (auto* cuda = tensor::find_backend("cuda"); cuda && cuda->device_count() > 0) return cuda;
  return std::getenv("DIFFRACT_SIM_MEMORY") ? tensor::find_backend("sim") : nullptr;
}

Place computes_on(const DeviceMapArgument& device_map, const MaxMemory& max_memory) {
  if (!device_map.map().empty() || (device_map.is_given() && !placement::parse_strategy(device_map.text())))
    return given_map(device_map).main_place();
  return max_memory.empty() ? Place::cpu() : max_memory.begin()->first;
}

MaxMemory free_memory(const tensor::DeviceBackend* backend) {
  MaxMemory memory;
  for (int i = 0; backend && i < backend->device_count(); ++i)
    memory.set(Place(i), static_cast<int64_t>(backend->memory(i).free));
  memory.set(Place::cpu(), static_cast<int64_t>(weights::available_host_bytes()));
  return memory;
}

bool asks_for_ranks(const DeviceMapArgument& device_map, const MaxMemory& max_memory) {
  if (device_map.text() == kOverAllRanks) return true;
  const bool is_map =
      !device_map.map().empty() || is_file(device_map.text()) || device_map.text().starts_with("rank:");
  return is_map ? placement::is_over_ranks(given_map(device_map)) : placement::is_over_ranks(max_memory);
}

DeviceMap plan_map(const PipelineLayout& layout, placement::Strategy strategy, const MaxMemory& memory) {
  if (layout.components.empty()) return {};  // all were given or left out
  if (placement::is_over_ranks(memory)) {
    std::vector<std::vector<placement::RankedLayer>> layers;
    for (const auto& cost : layout.costs) {
      layers.emplace_back();
      for (const auto& [name, flops] : cost.parts) layers.back().push_back({.name = name, .flops = flops});
    }
    return plan_rank_map(layout.components, layers, strategy, memory);
  }
  const auto& first = layout.components.front();
  if (layout.components.size() == 1 && first.name.empty())
    return plan_device_map(first.tree, strategy, memory, first.options);
  return plan_pipeline_map(layout.components, strategy, memory, layout.lifetime);
}

PlacementPlan PlacementPlan::plan(const PlacementRequest& request,
                                  const std::function<PipelineLayout(at::Device)>& lay_out) {
  PlacementPlan placed(request.device);
  if (!request.device.is_cpu()) tensor::backend_of(request.device).prepare(request.device.index());
  if (!request.device_map.is_given() && request.max_memory.empty()) return placed;
  if (asks_for_ranks(request.device_map, request.max_memory)) {
    const PipelineLayout layout = lay_out(request.device);
    placed.map_ = map_over_ranks(request, layout);
    placed.over_ranks_ = true;
    placed.has_budgets_ = !request.max_memory.empty();
    check_map(placed.map_, layout, nullptr);
    return placed;
  }
  tensor::DeviceBackend* backend = accelerator_backend(request.device, request.device_map.text());
  if (backend) placed.accelerator_ = backend->type();
  const MaxMemory memory =
      request.max_memory.empty() ? placement::get_max_memory({}, free_memory(backend)) : request.max_memory;
  const bool on_accelerator = backend && computes_on(request.device_map, memory).is_accelerator();
  const PipelineLayout layout =
      lay_out(on_accelerator ? at::Device(backend->type(), 0) : at::Device(at::kCPU));
  if (backend && !request.max_memory.empty())
    placed.budgets_ = std::make_shared<const DeviceBudgets>(*backend, request.max_memory);
  const std::string strategy_name = request.device_map.is_given() ? request.device_map.text() : "auto";
  const auto strategy = placement::parse_strategy(strategy_name);
  if (!strategy || !request.device_map.map().empty()) {
    placed.map_ = given_map(request.device_map);
  } else {
    placed.map_ = plan_map(layout, *strategy, memory);
    placed.keeps_budgets_ = !request.max_memory.empty() && *strategy != placement::Strategy::balanced;
  }
  check_map(placed.map_, layout, backend);
  for (const at::Device used : placed.accelerators()) backend->prepare(used.index());
  if (!request.max_memory.empty()) warn_of_given_budgets(strategy, placed.map_, layout, request.max_memory);
  const Place main = placed.map_.main_place();
  if (main.is_accelerator())
    placed.device_ = {placed.accelerator_, static_cast<c10::DeviceIndex>(main.index())};
  if (const auto host = memory.find(Place::cpu())) placed.host_bytes_ = static_cast<uint64_t>(*host);
  placed.offload_folder_ = request.offload_folder;
  return placed;
}

std::vector<at::Device> PlacementPlan::accelerators() const {
  if (map_.empty() || over_ranks_) return device_.is_cpu() ? std::vector<at::Device>() : std::vector{device_};
  std::vector<at::Device> devices;
  for (const Place place : map_.places())
    if (place.is_accelerator())
      devices.emplace_back(accelerator_, static_cast<c10::DeviceIndex>(place.index()));
  return devices;
}

weights::ModelPlacement PlacementPlan::of(const std::string& component) const {
  weights::ModelPlacement placement{.device = device_, .accelerator = accelerator_};
  if (map_.empty()) return placement;
  placement.map = map_.below(component);
  placement.may_widen = over_ranks_ && !has_budgets_;
  if (device_.is_cpu()) placement.stream_bytes = host_bytes_;
  if (budgets_) placement.parts_in_transit = static_cast<uint64_t>(placement::kLayersInTransit);
  placement.offload_folder = offload_folder_;
  return placement;
}

}  // namespace diffract::loading
