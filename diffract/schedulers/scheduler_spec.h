#pragma once
#include <string>
#include <vector>

#include "diffract/core/json.h"
#include "diffract/schedulers/schedule.h"

namespace diffract::schedulers {

/// A scheduler's class and the keys of its config; the schedule itself is made for each request.
struct SchedulerSpec {
  std::string class_name;
  Json config = Json::object();
  /// Keys of the config that its file does not have: another scheduler made from it has its own defaults.
  std::vector<std::string> not_in_file = {};
  std::string source;  // names the config in messages

  int64_t num_train_timesteps() const {
    return ConfigReader(config, source).integer("num_train_timesteps", 1, 1'000'000, 1000);
  }
};

/// How a scheduler of this config goes: use_flow_sigmas makes some of them flow matching ones. Of a class
/// that is not known: diffusion.
Path path_of(const SchedulerSpec& spec);

}  // namespace diffract::schedulers
