#pragma once
#include <functional>
#include <memory>
#include <string>

#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/pipelines/request.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/schedulers/scheduler_spec.h"

namespace diffract::pipelines {

/// Which schedulers a pipeline can use.
struct SchedulerRules {
  const loading::FamilyFacts& facts;
  /// Builds a schedule of the fewest steps that a scheduler takes, so that a bad config shows before anything
  /// is computed.
  std::function<void(const schedulers::SchedulerSpec& spec)> try_out;
};

/// Throws UsageError for a class that is not known or not of the family's path, CheckpointError for a bad
/// config.
void check_scheduler(const schedulers::SchedulerSpec& spec, const SchedulerRules& rules);

/// Throws CheckpointError naming the scheduler's file, what there is instead, and how to choose it, unless
/// the scheduler can be used.
void require_usable(const schedulers::SchedulerSpec& of_checkpoint, const loading::FamilyFacts& facts);

/// Another scheduler over a config, as `Class.from_config(config, **overrides)`. Throws UsageError for
/// overrides that are wrong; warns once of those that the class does not know.
schedulers::SchedulerSpec changed_scheduler(schedulers::SchedulerSpec spec, const std::string& class_name,
                                            const Json& overrides, const SchedulerRules& rules);

/// The scheduler of a request: its own over the pipeline's config, else the pipeline's. Throws as
/// changed_scheduler and require_usable do.
schedulers::SchedulerSpec scheduler_of(const Request& request, const schedulers::SchedulerSpec& of_pipeline,
                                       const SchedulerRules& rules);

/// The scheduler that a pipeline begins with: the checkpoint's, or what `options` put in its place; checked.
/// One that diffract has not is an error where `options` require it, else it is given unchecked: another may
/// be set before a picture is asked for.
schedulers::SchedulerSpec first_scheduler(schedulers::SchedulerSpec of_checkpoint,
                                          const loading::LoadOptions& options, const SchedulerRules& rules);

}  // namespace diffract::pipelines
