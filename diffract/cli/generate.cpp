#include <ATen/Parallel.h>

#include <chrono>
#include <csignal>
#include <cstdio>

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/generate_options.h"
#include "diffract/cli/generate_output.h"
#include "diffract/cli/load_progress.h"
#include "diffract/cli/progress.h"
#include "diffract/core/error.h"
#include "diffract/core/log.h"

namespace diffract::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

// The first Ctrl-C ends the job after the step that runs; the second ends the process at once.
void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = SA_RESETHAND;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

pipelines::DiffusionPipeline load_pipeline(const GenerateOptions& options) {
  auto load = load_options(options);
  load.on_load = [progress = std::make_shared<LoadProgress>()](const auto& report) { (*progress)(report); };
  Json overrides = Json::object();
  if (!options.scheduler_config.empty()) {
    try {
      overrides = parse_json(options.scheduler_config, "--scheduler-config");
    } catch (const CheckpointError& error) {
      throw UsageError("{}", error.what());  // the option is the user's, not a model's
    }
  }
  auto pipeline = pipelines::DiffusionPipeline::from_pretrained(options.model, load);
  if (!options.scheduler.empty() || !options.scheduler_config.empty())
    pipeline.set_scheduler(options.scheduler.empty() ? pipeline.scheduler().class_name : options.scheduler,
                           overrides);
  return pipeline;
}

size_t count_images(const std::vector<pipelines::JobBatch>& batches) {
  size_t images = 0;
  for (const auto& batch : batches) images += batch.images.size();
  return images;
}

// Calls run(observe) for each batch with a step observer that shows progress and heeds Ctrl-C.
template <typename Run>
void run_batches(const std::vector<pipelines::JobBatch>& batches, Run&& run) {
  std::unique_ptr<Progress> progress;
  for (size_t b = 0; b < batches.size(); ++b) {
    const auto observe = [&](const pipelines::StepReport& step) {
      // The first report tells how many evaluations a picture takes; some methods make two a step.
      if (!progress)
        progress = std::make_unique<Progress>(step.count * batches.size(), "step", stderr_is_terminal());
      progress->advance();
      if (interrupted) throw Cancelled("stopped by a signal after step {} of {}", step.index + 1, step.count);
    };
    run(batches[b], observe);
  }
}

void generate(const GenerateOptions& options) {
  if (options.threads < 0 || options.threads > 4096)
    throw UsageError("--threads {}: expected 1 to 4096", options.threads);
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
  install_interrupt_handler();
  const auto batches = pipelines::plan_job(job_entries(options), options.seed, options.batch_size);
  GenerateOutput output(options, batches);  // checks the names and folders before anything is computed

  const Stopwatch load_watch;
  const auto pipeline = load_pipeline(options);
  const double load_seconds = load_watch.seconds();
  output.describe_model(pipeline);

  const auto todo = output.still_to_do(batches);
  const Stopwatch run_watch;
  run_batches(todo, [&](const pipelines::JobBatch& batch, const auto& observe) {
    const auto recorded = [&](const pipelines::StepReport& step) {
      output.record_step(step);
      observe(step);
    };
    output.finish_batch(batch, pipeline(batch.request, recorded));
  });
  output.finish(
      {.load_seconds = load_seconds, .run_seconds = run_watch.seconds(), .images = count_images(todo)});
}

}  // namespace

Command generate_command() {
  return {.name = "generate",
          .summary = "makes pictures of prompts",
          .declare = [](CLI::App& app) -> std::function<void()> {
            auto options = std::make_shared<GenerateOptions>();
            declare_generate_options(app, *options);
            return [options] { generate(*options); };
          }};
}

}  // namespace diffract::cli
