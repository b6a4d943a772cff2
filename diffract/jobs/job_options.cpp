#include "diffract/jobs/job_options.h"

#include <filesystem>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/io/png.h"
#include "diffract/io/safetensors.h"
#include "diffract/jobs/join_job.h"
#include "diffract/jobs/output_pattern.h"
#include "diffract/jobs/prompts_file.h"
#include "diffract/loading/placement_plan.h"

namespace diffract::jobs {
namespace fs = std::filesystem;
namespace {

// A name that says JPEG must not hold PNG, nor a picture's name latents; nor is "-" standard output.
void check_file_names(const OutputOptions& options) {
  const auto require_safetensors = [](const char* option, const std::string& file) {
    if (!io::has_suffix(file, ".safetensors"))
      throw UsageError("{} \"{}\": latents are saved as safetensors; name it {}", option, file,
                       fs::path(file).replace_extension(".safetensors").string());
  };
  if (options.pattern == "-" || options.save_steps == "-")
    throw UsageError("\"-\": nothing but the summary goes to standard output; expected a file's name");
  if (!options.save_steps.empty()) require_safetensors("--save-steps", options.save_steps);
  const std::string pattern = options.file_pattern();
  const OutputPattern checked(pattern);  // its braces, first
  if (options.latent)
    require_safetensors("--output", pattern);
  else
    io::require_png_name(pattern);
}

void check_output(const OutputOptions& options, int world_size) {
  if (options.resume && (options.latent || !options.save_steps.empty()))
    throw UsageError("--resume works with pictures; leave --output-type latent and --save-steps out");
  check_file_names(options);
  constexpr int64_t kMostSteps = 10'000;
  if (options.preview_every < 0 || options.preview_every > kMostSteps)
    throw UsageError("--preview-every {}: expected 1 to {} steps", options.preview_every, kMostSteps);
  if (options.preview_every > 0 && options.latent)
    throw UsageError("--preview-every: previews lie beside pictures; leave --output-type latent out");
  if (world_size == 1) return;
  if (!options.save_steps.empty())
    throw UsageError("--save-steps works in one process; this job has {}", world_size);
  const OutputPattern pattern(options.file_pattern());
  if (options.latent && pattern.file({}, 0) == pattern.file({}, 1))
    throw UsageError(
        "--output \"{}\": each of the {} processes writes its latents into a file of its own; put "
        "{{rank}} into the name",
        options.file_pattern(), world_size);
}

// A drawn seed is this process' own.
void check_seed(const JobOptions& options, int world_size) {
  if (!options.seed_is_random) return;
  if (options.output.resume) throw UsageError("--resume needs the job's own seed: name it with --seed");
  if (world_size > 1)
    throw UsageError("--seed random: each of the {} processes of this job would draw another; name a seed",
                     world_size);
  if (may_start_again())
    throw UsageError(
        "--seed random: the launcher may start this process again, which would draw another; name a seed, or "
        "launch without restarts");
  log::info("seed {0}, drawn; --seed {0} makes the same pictures again", options.seed);
}

}  // namespace

std::string OutputOptions::file_pattern() const {
  if (!pattern.empty()) return pattern;
  return latent ? "latents.safetensors" : "image_{index}.png";
}

bool JobOptions::is_over_ranks() const {
  const std::string budgets = loading::given_text(loading, "max_memory");
  return loading::asks_for_ranks(
      loading::given_text(loading, "device_map"),
      budgets.empty() ? placement::MaxMemory() : placement::MaxMemory::parse(budgets));
}

void check_options(const JobOptions& options, int world_size) {
  if (options.output.preview_every > 0 && options.is_over_ranks())
    throw UsageError("--preview-every: processes that share the models make no previews; leave it out");
  check_output(options.output, options.is_over_ranks() ? 1 : world_size);
  require_shared_prompts(options.prompts_file, world_size, may_start_again());
  check_seed(options, world_size);
  if (!options.batch_size && options.is_over_ranks())
    throw UsageError("--batch-size auto: processes that share the models take a number of images");
}

}  // namespace diffract::jobs
