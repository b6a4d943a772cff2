#pragma once
#include <functional>
#include <string>

#include "diffract/pipelines/pipeline.h"

namespace diffract::pipelines {

/// What a family of pipelines can use.
struct UsableSchedulers {
  bool (*is_usable)(const std::string& class_name);  // of those that diffract has
  const char* suggestion;                            // instead of one that it has not
  /// Throws UsageError for a class that the pipeline cannot use, CheckpointError for a bad config.
  void (*check)(const SchedulerSpec& spec);
};

/// Throws CheckpointError naming the scheduler's file, what there is instead, and how to choose it, unless
/// the scheduler can be used.
void require_usable(const SchedulerSpec& of_checkpoint, const UsableSchedulers& usable);

/// Another scheduler over a config, as `Class.from_config(config, **overrides)`. Throws UsageError for
/// overrides that are wrong; warns of those that the class does not know.
SchedulerSpec changed_scheduler(SchedulerSpec spec, const std::string& class_name, const Json& overrides,
                                const std::function<void(const SchedulerSpec&)>& check);

/// The scheduler that a pipeline begins with: the checkpoint's, or what `options` put in its place; checked.
/// One that diffract has not is an error where `options` require it, else it is given unchecked: another may
/// be set before a picture is asked for.
SchedulerSpec first_scheduler(SchedulerSpec of_checkpoint, const LoadOptions& options,
                              const UsableSchedulers& usable);

}  // namespace diffract::pipelines
