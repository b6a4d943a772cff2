#include "diffract/pipelines/scheduler_choice.h"

#include <fmt/ranges.h>

#include "diffract/core/error.h"
#include "diffract/core/keys_read.h"
#include "diffract/core/log.h"
#include "diffract/core/nearest.h"
#include "diffract/schedulers/schedule.h"

namespace diffract::pipelines {
namespace {

bool can_use(const std::string& class_name, const UsableSchedulers& usable) {
  return schedulers::is_known(class_name) && usable.is_usable(class_name);
}

}  // namespace

void require_usable(const SchedulerSpec& of_checkpoint, const UsableSchedulers& usable) {
  if (can_use(of_checkpoint.class_name, usable)) return;
  std::vector<std::string> names;
  for (const std::string& name : schedulers::scheduler_names())
    if (usable.is_usable(name)) names.push_back(name);
  throw CheckpointError(
      "{}: the checkpoint's scheduler is {}, which diffract does not have for this model. Choose another "
      "over the same config: --scheduler {}. There are {}",
      of_checkpoint.source, of_checkpoint.class_name, usable.suggestion, fmt::join(names, ", "));
}

SchedulerSpec changed_scheduler(SchedulerSpec spec, const std::string& class_name, const Json& overrides,
                                const std::function<void(const SchedulerSpec&)>& check) {
  if (!overrides.is_object())
    throw UsageError("scheduler config: is {}; expected a JSON object", excerpt(overrides));
  spec.class_name = class_name;
  for (const std::string& key : spec.not_in_file) spec.config.erase(key);
  spec.not_in_file.clear();
  for (const auto& [key, value] : overrides.items()) spec.config[key] = value;
  if (overrides.empty()) {
    check(spec);
    return spec;
  }
  spec.source += " with overrides";
  try {
    const auto known = keys_read_by([&] { check(spec); });
    for (const auto& [key, value] : overrides.items())
      if (!known.contains(key)) {
        const auto meant = nearest(key, {known.begin(), known.end()});
        log::warning("scheduler config: \"{}\" has no effect on {}{}", key, class_name,
                     meant ? fmt::format("; did you mean \"{}\"?", *meant) : "");
      }
  } catch (const CheckpointError& error) {
    throw UsageError("{}", error.what());  // the overrides are the caller's, not the checkpoint's
  }
  return spec;
}

SchedulerSpec first_scheduler(SchedulerSpec of_checkpoint, const LoadOptions& options,
                              const UsableSchedulers& usable) {
  const bool is_own = options.scheduler.empty();
  // Keys for a scheduler that is not there would be lost without a word.
  if (is_own && (options.requires_scheduler || !options.scheduler_config.empty()))
    require_usable(of_checkpoint, usable);
  if (is_own && !can_use(of_checkpoint.class_name, usable)) return of_checkpoint;
  if (!is_own || !options.scheduler_config.empty()) {
    const std::string class_name = is_own ? of_checkpoint.class_name : options.scheduler;
    return changed_scheduler(std::move(of_checkpoint), class_name, options.scheduler_config, usable.check);
  }
  usable.check(of_checkpoint);
  return of_checkpoint;
}

}  // namespace diffract::pipelines
