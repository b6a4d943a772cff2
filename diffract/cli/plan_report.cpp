#include "diffract/cli/plan_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_set>

#include "diffract/core/size_text.h"
#include "diffract/placement/keep.h"

namespace diffract::cli {
namespace {

using placement::DeviceMap;
using placement::Place;
using placement::PlaceUse;
using placement::PlannedComponent;

std::string cell(int64_t bytes) { return bytes == 0 ? "-" : size_text(bytes); }

bool is_offloaded(Place place, Place main) {
  return place.is_disk() || (place.is_cpu() && main.is_accelerator());
}

// A module or block that a plan places.
struct Block {
  std::string name;
  int64_t bytes, rare_bytes;  // of these, what is used once for many runs
  Place place;
};

// Bytes of the modules below that are used once for many runs.
int64_t rare_bytes(const placement::Module& module, const std::string& name,
                   const PlannedComponent& component, const placement::ModuleSizes& sizes) {
  const auto& classes = component.options.rare_module_classes;
  const std::unordered_set<std::string> rare(classes.begin(), classes.end());
  int64_t bytes = 0;
  for_each_layer(module, name, rare, [&](const std::string& below, const placement::Module& found) {
    if (rare.contains(found.class_name)) bytes += sizes[below];
  });
  return bytes;
}

// The blocks of a component that stay whole, in the model's order, and the layers between them.
std::vector<Block> blocks_of(const PlannedComponent& component, const DeviceMap& map) {
  const DeviceMap own = map.below(component.name);
  const auto sizes = compute_module_sizes(component.tree, component.options.size);
  const auto& classes = component.options.no_split_module_classes;
  std::vector<Block> blocks;
  for_each_layer(component.tree.root, "", {classes.begin(), classes.end()},
                 [&](const std::string& name, const placement::Module& module) {
                   const auto place = own.find(name);
                   if (!place || sizes[name] == 0) return;
                   const int64_t rare = rare_bytes(module, name, component, sizes);
                   blocks.push_back({.name = placement::join_name(component.name, name),
                                     .bytes = sizes[name],
                                     .rare_bytes = rare,
                                     .place = *place});
                 });
  return blocks;
}

// For every stage, which components are in memory.
std::vector<std::string> stage_names(const loading::PipelineLayout& layout) {
  std::map<int, std::string> names;
  for (const auto& component : layout.components) {
    std::string& text = names[layout.lifetime == placement::Lifetime::whole_job ? 0 : component.stage];
    text += (text.empty() ? "" : ", ") + component.name;
  }
  std::vector<std::string> list;
  list.reserve(names.size());
  for (const auto& [stage, text] : names) list.push_back(text);
  return list;
}

Json use_json(const std::vector<PlaceUse>& uses, const placement::MaxMemory& budgets) {
  Json memory = Json::object();
  for (const auto& [place, bytes] : budgets) memory[place.name()] = {{"budget", bytes}};
  for (const PlaceUse& use : uses) {
    Json& entry = memory[use.place.name()];
    if (!entry.contains("budget")) entry["budget"] = nullptr;
    entry.update({{"weights", use.weights}, {"working", use.working}, {"staging", use.staging}});
  }
  for (auto& entry : memory)
    for (const char* key : {"weights", "working", "staging"})
      if (!entry.contains(key)) entry[key] = 0;
  return memory;
}

// The most that any stage takes of each place.
std::vector<PlaceUse> most_of(const std::vector<std::vector<PlaceUse>>& stages) {
  std::map<Place, PlaceUse> most;
  for (const auto& stage : stages)
    for (const PlaceUse& use : stage) {
      const auto [found, added] = most.emplace(use.place, use);
      if (use.total() > found->second.total()) found->second = use;
    }
  std::vector<PlaceUse> list;
  list.reserve(most.size());
  for (const auto& [place, use] : most) list.push_back(use);
  return list;
}

std::string table(const Plan& plan) {
  const auto stages = uses_of(plan.layout.components, plan.map, plan.layout.lifetime);
  const auto names = stage_names(plan.layout);
  std::string text;
  for (size_t i = 0; i < stages.size(); ++i) {
    if (!names[i].empty()) text += fmt::format("{}:\n", names[i]);
    text += fmt::format("{:<8}{:>12}{:>12}{:>8}{:>12}{:>12}{:>12}\n", "device", "budget", "weights", "blocks",
                        "computing", "in transit", "free");
    for (const PlaceUse& use : stages[i]) {
      size_t blocks = 0;
      for (const auto& component : plan.layout.components) {
        if (plan.layout.lifetime == placement::Lifetime::stage && stages.size() > 1 &&
            names[i].find(component.name) == std::string::npos)
          continue;
        for (const Block& block : blocks_of(component, plan.map)) blocks += block.place == use.place ? 1 : 0;
      }
      const auto budget = plan.budgets.find(use.place);
      text +=
          fmt::format("{:<8}{:>12}{:>12}{:>8}{:>12}{:>12}{:>12}\n", use.place.name(),
                      budget ? size_text(*budget) : "no limit", cell(use.weights), blocks, cell(use.working),
                      cell(use.staging), budget ? size_text(*budget - use.total()) : "");
    }
  }
  return text;
}

// What is offloaded, and why.
std::string offload_text(const Plan& plan) {
  const Place main = plan.map.main_place();
  std::map<Place, std::vector<Block>> offloaded;
  for (const auto& component : plan.layout.components)
    for (const Block& block : blocks_of(component, plan.map))
      if (is_offloaded(block.place, main)) offloaded[block.place].push_back(block);
  if (offloaded.empty()) return "nothing is offloaded\n";
  std::string text;
  for (const auto& [place, blocks] : offloaded) {
    int64_t bytes = 0;
    for (const Block& block : blocks) bytes += block.bytes;
    text += fmt::format("on {}: {}, {} blocks from {} to {}", place.name(), size_text(bytes), blocks.size(),
                        blocks.front().name, blocks.back().name);
    std::string full;
    for (const PlaceUse& use : most_of(uses_of(plan.layout.components, plan.map, plan.layout.lifetime))) {
      const auto budget = plan.budgets.find(use.place);
      if (budget && use.place < place)
        full += fmt::format("{}{} has {} left", full.empty() ? "" : ", ", use.place.name(),
                            size_text(*budget - use.total()));
    }
    text += full.empty() ? "; no faster device has a budget\n"
                         : fmt::format("; {}, and the first of them takes {}\n", full,
                                       size_text(blocks.front().bytes));
  }
  return text;
}

// Whether each component of a pipeline's stages is still in memory when the next picture needs it.
std::vector<bool> stays_of(const Plan& plan) {
  if (plan.layout.lifetime == placement::Lifetime::whole_job)
    return std::vector<bool>(plan.layout.components.size(), true);
  return stay_between_requests(plan.layout.components, plan.map, plan.budgets);
}

std::string stays_text(const Plan& plan) {
  if (plan.layout.lifetime == placement::Lifetime::whole_job) return {};
  std::string staying, others;
  const auto stays = stays_of(plan);
  for (size_t i = 0; i < stays.size(); ++i) {
    std::string& names = stays[i] ? staying : others;
    names += (names.empty() ? "" : ", ") + plan.layout.components[i].name;
  }
  std::string text;
  if (!staying.empty()) text += fmt::format("in memory from picture to picture: {}\n", staying);
  if (!others.empty())
    text += fmt::format("loaded for each picture, for want of room beside the other stages: {}\n", others);
  return text;
}

std::string seconds_text(std::optional<double> seconds) {
  if (!seconds) return "unknown";
  return *seconds < 1 ? fmt::format("{:.0f} ms", *seconds * 1e3) : fmt::format("{:.2f} s", *seconds);
}

std::string run_text(const RunEstimate& run, const Speeds& speeds) {
  std::string text = fmt::format("{}{}: computes {:.3f} TFLOP in {} at {:.0f} GFLOP/s", run.component,
                                 run.runs > 1 ? fmt::format(", each of {} steps", run.runs) : "",
                                 run.flops / 1e12, seconds_text(run.compute_seconds), speeds.gflops);
  if (run.from_cpu_bytes + run.from_disk_bytes == 0)
    return text + fmt::format("; expected {}\n", seconds_text(run.seconds()));
  const std::string sources = run.from_cpu_bytes == 0    ? "disk"
                              : run.from_disk_bytes == 0 ? "the CPU"
                                                         : "the CPU and the disk";
  text += fmt::format(", brings {} from {} in {}", size_text(run.from_cpu_bytes + run.from_disk_bytes),
                      sources, seconds_text(run.transfer_seconds));
  if (!run.transfer_seconds) return text + " (give --disk-gbps)\n";
  return text + fmt::format("; expected {}, as copies run beside it; one after the other would take {}\n",
                            seconds_text(run.seconds()),
                            seconds_text(run.compute_seconds + *run.transfer_seconds));
}

Json optional_json(std::optional<double> value) { return value ? Json(*value) : Json(nullptr); }

}  // namespace

std::optional<double> RunEstimate::seconds() const {
  if (!transfer_seconds) return {};
  return std::max(compute_seconds, *transfer_seconds);
}

std::vector<RunEstimate> estimate_runs(const Plan& plan) {
  const Place main = plan.map.main_place();
  std::vector<RunEstimate> runs;
  runs.reserve(plan.layout.components.size());
  for (size_t i = 0; i < plan.layout.components.size(); ++i) {
    const auto& component = plan.layout.components[i];
    RunEstimate run{.component = component.name.empty() ? "the model" : component.name,
                    .runs = component.runs,
                    .flops = plan.layout.costs[i].flops};
    for (const Block& block : blocks_of(component, plan.map)) {
      const auto spared =
          static_cast<int64_t>((1 - plan.layout.costs[i].rare_runs) * static_cast<double>(block.rare_bytes));
      if (block.place.is_disk()) run.from_disk_bytes += block.bytes - spared;
      if (block.place.is_cpu() && main.is_accelerator()) run.from_cpu_bytes += block.bytes - spared;
    }
    run.compute_seconds = run.flops / 1e9 / plan.speeds.gflops;
    // What is on disk is read into the CPU's memory while what was read goes on to the device.
    const int64_t to_device = main.is_accelerator() ? run.from_cpu_bytes + run.from_disk_bytes : 0;
    run.transfer_seconds = static_cast<double>(to_device) / plan.speeds.host_bytes_per_second;
    if (run.from_disk_bytes > 0) {
      if (plan.speeds.disk_bytes_per_second)
        run.transfer_seconds = std::max(*run.transfer_seconds, static_cast<double>(run.from_disk_bytes) /
                                                                   *plan.speeds.disk_bytes_per_second);
      else
        run.transfer_seconds.reset();
    }
    runs.push_back(std::move(run));
  }
  return runs;
}

Json plan_json(const Plan& plan) {
  const auto stages = uses_of(plan.layout.components, plan.map, plan.layout.lifetime);
  const auto names = stage_names(plan.layout);
  Json stage_list = Json::array(), blocks = Json::array(), runs = Json::array();
  for (size_t i = 0; i < stages.size(); ++i)
    stage_list.push_back({{"components", names[i]}, {"memory", use_json(stages[i], plan.budgets)}});
  for (const auto& component : plan.layout.components)
    for (const Block& block : blocks_of(component, plan.map))
      blocks.push_back({{"name", block.name}, {"bytes", block.bytes}, {"place", block.place.to_json()}});
  for (const RunEstimate& run : estimate_runs(plan))
    runs.push_back({{"component", run.component},
                    {"runs", run.runs},
                    {"flops", run.flops},
                    {"from_cpu_bytes", run.from_cpu_bytes},
                    {"from_disk_bytes", run.from_disk_bytes},
                    {"compute_seconds", run.compute_seconds},
                    {"transfer_seconds", optional_json(run.transfer_seconds)},
                    {"seconds", optional_json(run.seconds())}});
  Json components = Json::object();
  const auto stays = stays_of(plan);
  for (size_t i = 0; i < stays.size(); ++i)
    components[plan.layout.components[i].name] = {{"stays", bool{stays[i]}}};
  return {{"device_map", plan.map.to_json()},
          {"components", components},
          {"memory", use_json(most_of(stages), plan.budgets)},
          {"stages", stage_list},
          {"height", plan.layout.height},
          {"width", plan.layout.width},
          {"runs", runs},
          {"speed",
           {{"gflops", plan.speeds.gflops},
            {"host_bytes_per_second", plan.speeds.host_bytes_per_second},
            {"disk_bytes_per_second", optional_json(plan.speeds.disk_bytes_per_second)}}},
          {"blocks", blocks},
          {"warnings", plan.warnings}};
}

std::string plan_text(const Plan& plan) {
  std::string text = plan.map.to_text() + "\n\n" + table(plan) + "\n" + offload_text(plan) + stays_text(plan);
  text += fmt::format("at {}x{} pixels, {:.1f} GB/s to the device, {} from disk:\n", plan.layout.height,
                      plan.layout.width, plan.speeds.host_bytes_per_second / 1e9,
                      plan.speeds.disk_bytes_per_second
                          ? fmt::format("{:.1f} GB/s", *plan.speeds.disk_bytes_per_second / 1e9)
                          : "unknown");
  for (const RunEstimate& run : estimate_runs(plan)) text += run_text(run, plan.speeds);
  return text;
}

}  // namespace diffract::cli
