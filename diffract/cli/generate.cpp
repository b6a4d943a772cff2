#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "diffract/cli/command.h"
#include "diffract/cli/generate_options.h"
#include "diffract/cli/generate_output.h"
#include "diffract/cli/interrupt.h"
#include "diffract/cli/job_progress.h"
#include "diffract/cli/join_job.h"
#include "diffract/cli/load_progress.h"
#include "diffract/cli/prompts_file.h"
#include "diffract/core/busy_cores.h"
#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/core/log.h"
#include "diffract/core/stop.h"
#include "diffract/distributed/cores.h"
#include "diffract/distributed/devices.h"
#include "diffract/distributed/process_group.h"
#include "diffract/pipelines/small_models.h"
#include "diffract/tensor/threads.h"
#include "diffract/weights/host_budget.h"

namespace diffract::cli {
namespace {

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

pipelines::DiffusionPipeline load_pipeline(const GenerateOptions& options, int local_rank,
                                           const pipelines::MemoryCheck& memory, bool shows_progress) {
  auto load = load_options(options, local_rank);
  load.memory_check = memory;
  load.on_load = [progress = std::make_shared<LoadProgress>(), shows_progress](const auto& report) {
    stop_if_asked();
    if (shows_progress) (*progress)(report);
  };
  Json overrides = Json::object();
  if (!options.scheduler_config.empty()) {
    try {
      overrides = parse_json(options.scheduler_config, "--scheduler-config");
    } catch (const CheckpointError& error) {
      throw UsageError("{}", error.what());  // the option is the user's, not a model's
    }
  }
  load.scheduler = options.scheduler;
  load.scheduler_config = std::move(overrides);
  load.requires_scheduler = true;
  return pipelines::DiffusionPipeline::from_pretrained(options.model, load);
}

size_t count_images(const std::vector<pipelines::JobBatch>& batches) {
  size_t images = 0;
  for (const auto& batch : batches) images += batch.images.size();
  return images;
}

// What must be the same in all processes of a job, beside its requests.
Json job_settings(const GenerateOptions& o) {
  return {{"scheduler", o.scheduler},
          {"scheduler_config", o.scheduler_config},
          {"dtype", o.dtype},
          {"compute_dtype", o.compute_dtype},
          {"variant", o.variant},
          {"output", o.output},
          {"output_type", o.output_type},
          {"batch_size", o.batch_size},
          {"float8", o.float8},
          {"allow_tf32", o.allow_tf32},
          {"device_map", is_over_ranks(o) ? o.device_map : ""},
          {"max_memory", is_over_ranks(o) ? o.max_memory : ""}};
}

// One run of `generate` in one process: the pictures that the job's board deals to it.
class Generation {
 public:
  Generation(const GenerateOptions& options, const JobPlace& place)
      : options_(options),
        place_(place),
        board_(*place.board),
        is_together_(is_over_ranks(options)),
        batches_(pipelines::plan_job(job_entries(options), options.seed.value, options.batch_size)),
        output_(options, batches_, board_),  // checks the names and folders before anything is computed
        progress_(board_, count_images(batches_)),
        // Before the processes of the job have met: none computes yet.
        free_at_start_(weights::available_host_bytes()) {}

  void run() {
    if (board_.is_main()) warn_of_prompt_syntax(batches_);
    try {
      draw();
    } catch (const Cancelled& error) {
      if (!asked_to_stop() || !output_.can_resume()) throw;
      throw Cancelled("{}; --resume goes on with the job", error.what());
    }
  }

 private:
  void draw() {
    const Stopwatch watch;
    if (is_together_) pipeline();  // all processes at once
    const auto outcome =
        pipelines::run_job(batches_, schedule(), board_,
                           {.settings = job_settings(options_),
                            .keeps_results = options_.latent(),
                            .find_finished = [&] { return find_finished(); },
                            .prepare = [&] { prepare(); },
                            .run = [&](const pipelines::JobBatch& batch) { return run_batch(batch); },
                            .record_failure =
                                [&](const auto& batch, const auto& failure) {
                                  if (writes()) output_.record_failure(batch, failure);
                                },
                            .finish_share = [&] { output_.finish_share(); },
                            .progress =
                                [&](size_t found) {
                                  stop_if_asked();
                                  progress_.finished(found);
                                },
                            .in_flight = in_flight()});
    if (!board_.is_main()) return;
    const RunFigures figures{
        .load_seconds = load_seconds_,
        .run_seconds = watch.seconds() - load_seconds_,
        .stays = pipeline_ ? pipeline_->stays() : std::vector<pipelines::ComponentStay>()};
    try {
      pipelines::throw_if_failed(outcome);
    } catch (const Error& error) {  // the summary holds it, and what was made all the same
      output_.print_summary(outcome, figures, pipelines::Failure{error.kind(), error.what()});
      throw;
    }
    output_.print_summary(outcome, figures, {});
  }

  // Which latents are in which process' file must not depend on who is faster.
  pipelines::JobSchedule schedule() const {
    if (is_together_) return pipelines::JobSchedule::together;
    return options_.schedule == "static" || options_.latent() ? pipelines::JobSchedule::fixed
                                                              : pipelines::JobSchedule::dynamic;
  }

  int in_flight() const {
    if (!options_.save_steps.empty()) return 1;  // they are saved in their order
    return static_cast<int>(options_.in_flight > 0 ? options_.in_flight : 2 * board_.world_size());
  }

  // Loaded when first needed: a process without a share does not load it.
  const pipelines::DiffusionPipeline& pipeline() {
    if (!pipeline_) {
      const Stopwatch watch;
      pipeline_ = load_pipeline(options_, place_.local_rank, memory_check(), board_.is_main());
      load_seconds_ = watch.seconds();
      output_.describe_model(*pipeline_);
    }
    return *pipeline_;
  }

  // A process that comes back finds others at work, whose memory is no longer free.
  pipelines::MemoryCheck memory_check() const {
    const bool shares = place_.local_world_size > 1 && !board_.came_back();
    return {.refuses = !options_.no_memory_check,
            .processes_on_host =
                shares ? std::min(place_.local_world_size, static_cast<int>(batches_.size())) : 1,
            .free_at_start = free_at_start_};
  }

  std::vector<Json> find_finished() {
    if (output_.looks_for_finished() || board_.came_back()) pipeline();  // its defaults are in the parameters
    return output_.find_finished();
  }

  void prepare() {
    // Only now: a process that waits for the others of its job to come is ended by a signal at once.
    // Of a job, the launcher says it, or else the main process.
    install_interrupt_handler(board_.is_main() && !std::getenv(kHeartbeatVariable));
    take_cores();
    pipeline();
    spare_threads();
  }

  Json run_batch(const pipelines::JobBatch& batch) {
    const auto observe = [&](const pipelines::StepReport& step) {
      log::debug("step {} of {}", step.index + 1, step.count);
      if (writes()) output_.record_step(step);
      progress_.step(step, batch);
      if (step.latents.is_cpu()) busy_cores_.look(at::get_num_threads());
      stop_if_asked();
    };
    const auto result = pipeline()(batch.request, observe);
    progress_.finish(batch);
    return writes() ? output_.finish_batch(batch, result) : Json::array();
  }

  // Where processes compute a picture together, all of them have it.
  bool writes() const { return !is_together_ || board_.is_main(); }

  // Once, when all processes of this host have come: its part of their cores. Those that compute together
  // have shared them when they met.
  void take_cores() {
    if (is_together_ || options_.threads > 0 || place_.local_world_size == 1) return;
    distributed::share_cores(place_.local_rank, place_.local_world_size, board_.shares_cpus());
  }

  // As they will be drawn: of the model's own size where none is given. Those that cannot be drawn count as
  // none.
  int64_t pixels_of(const pipelines::JobBatch& batch) const {
    try {
      const pipelines::ImageSize size = pipeline_->image_size(batch.request);
      return size.height * size.width * static_cast<int64_t>(batch.images.size());
    } catch (const UsageError&) {
      return 0;
    }
  }

  // A model that is too small to gain from several threads gets one. That is asked of the largest batch of
  // the job, so that all processes answer the same.
  void spare_threads() const {
    if (is_together_ || options_.threads > 0 || tensor::chosen_threads() || at::get_num_threads() == 1)
      return;
    if (!tensor::parse_device(options_.device, place_.local_rank).is_cpu()) return;
    const auto pixels = [this](const pipelines::JobBatch& batch) { return pixels_of(batch); };
    const auto& largest =
        *std::max_element(batches_.begin(), batches_.end(),
                          [&](const auto& a, const auto& b) { return pixels(a) < pixels(b); });
    if (pixels(largest) == 0) return;  // none can be drawn
    if (pipelines::is_too_small_to_share(io::ModelFolder::open(pipelines::find_model(options_.model)),
                                         {.height = largest.request.height,
                                          .width = largest.request.width,
                                          .batch_size = static_cast<int64_t>(largest.images.size())}))
      at::set_num_threads(1);
  }

  const GenerateOptions& options_;
  const JobPlace& place_;
  pipelines::JobBoard& board_;
  bool is_together_;
  std::vector<pipelines::JobBatch> batches_;
  GenerateOutput output_;
  JobProgress progress_;
  uint64_t free_at_start_;
  std::optional<pipelines::DiffusionPipeline> pipeline_;
  BusyCores busy_cores_;
  double load_seconds_ = 0;
};

void check_rank_options(const GenerateOptions& options) {
  if (options.in_flight < 0 || options.in_flight > 1024)
    throw UsageError("--in-flight {}: expected 1 to 1024", options.in_flight);
  if (!(options.peer_timeout >= 0 && options.peer_timeout <= 1e6))
    throw UsageError("--peer-timeout {}: expected seconds, more than 0 and up to 1,000,000",
                     options.peer_timeout);
}

// A drawn seed is this process' own.
void check_seed(const GenerateOptions& options, int world_size) {
  if (!options.seed.is_random) return;
  if (options.resume) throw UsageError("--resume needs the job's own seed: name it with --seed");
  if (world_size > 1)
    throw UsageError("--seed random: each of the {} processes of this job would draw another; name a seed",
                     world_size);
  if (may_start_again())
    throw UsageError(
        "--seed random: the launcher may start this process again, which would draw another; name a seed, or "
        "launch without restarts");
  log::info("seed {0}, drawn; --seed {0} makes the same pictures again", options.seed.value);
}

// Before processes compute together they connect to each other.
void meet(const GenerateOptions& options, const JobPlace& place) {
  if (place.board->world_size() == 1) return;  // which the loading refuses
  const auto timeout = std::chrono::milliseconds(static_cast<int64_t>(options.peer_timeout * 1000));
  distributed::init_process_group("gloo", timeout.count() > 0 ? timeout : distributed::kDefaultTimeout);
}

void generate(const GenerateOptions& options) {
  if (options.threads < 0 || options.threads > 4096)
    throw UsageError("--threads {}: expected 1 to 4096", options.threads);
  check_rank_options(options);
  const bool together = is_over_ranks(options);
  const JobPlace place = join_job([&](int world_size) {
    check_output_options(options, together ? 1 : world_size);
    require_shared_prompts(options.prompts_file, world_size, may_start_again());
    check_seed(options, world_size);
  });
  pipelines::take_part(*place.board, [&] {
    if (together) meet(options, place);
    // A quota and the meeting say how many threads there are; what was asked for goes before.
    tensor::settle_threads();
    if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
    Generation(options, place).run();
  });
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
