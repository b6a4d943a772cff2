#include "diffract/cli/job_summary.h"

#include <fmt/format.h>

#include <cstdio>

#include "diffract/cli/json_output.h"
#include "diffract/cli/status_line.h"
#include "diffract/core/log.h"
#include "diffract/loading/device_budgets.h"

namespace diffract::cli {

Json JobSummary::to_json() const {
  Json summary = worker_.parameters();
  summary["num_processes"] = world_size_;
  summary["images"] = outcome_.images;
  summary["failed"] = Json::array();
  for (const auto& [image, failure] : outcome_.failed)
    summary["failed"].push_back({{"index", image.index},
                                 {"prompt", image.prompt},
                                 {"seed", image.seed},
                                 {"error", describe_error(failure)}});
  summary["load_seconds"] = figures_.load_seconds;
  summary["run_seconds"] = figures_.run_seconds;
  if (!figures_.device_map.empty()) summary["device_map"] = figures_.device_map.to_json();
  summary["memory"] = Json::object();
  for (const auto& memory : loading::memory_peaks()) {
    summary["memory"][memory.device]["peak_bytes"] = memory.peak_bytes;
    if (memory.budget_bytes) summary["memory"][memory.device]["budget_bytes"] = *memory.budget_bytes;
  }
  summary["components"] = Json::object();
  for (const auto& component : figures_.stays) {
    Json& entry = summary["components"][component.name];
    entry = {{"stays", component.stays}, {"loads", component.loads}};
    if (!component.gone_for.empty()) entry["gone_for"] = component.gone_for;
  }
  return summary;
}

void JobSummary::print(bool as_json, const std::optional<jobs::Failure>& failure) const {
  if (as_json) {
    Json printed = to_json();
    if (failure) printed["error"] = describe_error(*failure);
    print_json(printed, 2);
    return;
  }
  for (const auto& memory : loading::memory_peaks())
    log::info("{}: at most {:.2f} GB in use{}", memory.device, static_cast<double>(memory.peak_bytes) / 1e9,
              memory.budget_bytes
                  ? fmt::format(" of {:.2f} GB allowed", static_cast<double>(*memory.budget_bytes) / 1e9)
                  : "");
  end_status();
  std::string last;  // latents: one file for all of a process
  for (const Json& image : outcome_.images)
    if (const auto name = image["file"].get<std::string>(); name != last) fmt::print("{}\n", last = name);
  std::fflush(stdout);  // before the lines on stderr that follow
  if (const size_t made = outcome_.images.size() - outcome_.images_found; made > 0)
    log::info("{} {} in {:.1f} s, after {:.1f} s of loading", made, made == 1 ? "picture" : "pictures",
              figures_.run_seconds, figures_.load_seconds);
}

}  // namespace diffract::cli
