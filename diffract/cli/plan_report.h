#pragma once
#include <optional>
#include <string>
#include <vector>

#include "diffract/loading/pipeline_layout.h"

namespace diffract::cli {

/// What a plan's times are computed from.
struct Speeds {
  double gflops = 0;                                 // arithmetic, of the device that computes
  double host_bytes_per_second = 0;                  // CPU memory to a device
  std::optional<double> disk_bytes_per_second = {};  // unset: not known
};

struct Plan {
  loading::PipelineLayout layout;
  placement::DeviceMap map;
  placement::MaxMemory budgets;
  Speeds speeds;
  std::vector<std::string> warnings;
};

/// {"device_map": {...}, "memory": {...}, ...}: docs/placement.md lists the keys.
Json plan_json(const Plan& plan);
/// The map as accelerate prints it, and a table.
std::string plan_text(const Plan& plan);

/// What one run of a component moves and computes.
struct RunEstimate {
  std::string component;
  int64_t runs = 1;
  int64_t from_cpu_bytes = 0, from_disk_bytes = 0;  // of weights, brought to the main device
  double flops = 0;
  double compute_seconds = 0;
  std::optional<double> transfer_seconds = 0;  // unset: the disk's speed is not known
  /// Copies run beside the computing, so that the longer of the two counts.
  std::optional<double> seconds() const;
};
std::vector<RunEstimate> estimate_runs(const Plan& plan);

}  // namespace diffract::cli
