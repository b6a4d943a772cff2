#include "diffract/jobs/worker.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/core/stop.h"
#include "diffract/distributed/cores.h"
#include "diffract/loading/addition_files.h"
#include "diffract/loading/small_models.h"
#include "diffract/pipelines/task_class.h"
#include "diffract/placement/rank_map.h"
#include "diffract/tensor/threads.h"
#include "diffract/weights/host_budget.h"

namespace diffract::jobs {
namespace {

using loading::LoadField;

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// What must be the same in all processes of a job, beside its requests.
Json job_settings(const JobOptions& options) {
  Json settings = load_parameters(options.loading, LoadField::Scope::images);
  if (options.is_over_ranks()) settings.update(load_parameters(options.loading, LoadField::Scope::placement));
  settings["output"] = options.output.pattern;
  settings["batch_size"] = options.batch_size ? Json(*options.batch_size) : Json("auto");
  return settings;
}

const JobObserver& nobody() {
  static const JobObserver none;
  return none;
}

// A checkpoint may have one of its own.
size_t controlnets_of(const JobOptions& options) {
  return std::max<size_t>(1, loading::lines_of(loading::given_text(options.loading, "controlnet")).size());
}

}  // namespace

Worker::Worker(const JobOptions& options, const JobPlace& place)
    : options_(options),
      place_(place),
      board_(*place.board),
      is_together_(options.is_over_ranks()),
      batches_(
          plan_job(options.requests, options.seed, options.batch_size.value_or(1), controlnets_of(options))),
      output_(options.output, batches_, board_),
      observer_(&nobody()),
      // Before the processes of the job have met: none computes yet.
      free_at_start_(weights::available_host_bytes()) {}

size_t Worker::image_count() const {
  size_t images = 0;
  for (const auto& batch : batches_) images += batch.images.size();
  return images;
}

JobWork Worker::work() {
  return {.settings = job_settings(options_),
          .keeps_results = options_.output.latent,
          .find_finished = [this] { return find_finished(); },
          .prepare =
              [this] {
                observer_->begins();
                take_cores();
                pipeline();
                spare_threads();
              },
          .run = [this](const JobBatch& batch, const auto& look) { return run_batch(batch, look); },
          .record_failure =
              [this](const auto& batch, const auto& failure) {
                if (writes()) output_.record_failure(batch, failure);
              },
          .finished = [this](const JobBatch& batch) { observer_->finished_batch(batch); },
          .finish_share = [this] { output_.finish_share(); },
          .progress =
              [this](size_t found) {
                stop_if_asked();
                observer_->progress(found);
              },
          .in_flight = in_flight(),
          .measures_batch_size = !options_.batch_size};
}

JobOutcome Worker::run(const JobObserver& observer) {
  observer_ = &observer;
  const Stopwatch watch;
  try {
    if (is_together_) pipeline();  // all processes at once
    auto outcome = run_job(batches_, schedule(), board_, work());
    observer_ = &nobody();
    figures_.run_seconds = watch.seconds() - figures_.load_seconds;
    return outcome;
  } catch (const Cancelled& error) {
    if (!asked_to_stop() || !output_.can_resume() || options_.seed_is_random) throw;
    throw Cancelled("{}; --resume goes on with the job", error.what());
  }
}

JobFigures Worker::figures() const {
  JobFigures figures = figures_;
  if (pipeline_) {
    figures.stays = pipeline_->stays();
    figures.device_map = pipeline_->hf_device_map();
  }
  return figures;
}

Json Worker::parameters() const {
  return parameters_ ? parameters_->of_model(batches_.front().request) : Json::object();
}

// Which latents are in which process' file must not depend on who is faster.
JobSchedule Worker::schedule() const {
  if (is_together_) return JobSchedule::together;
  return options_.equal_shares || options_.output.latent ? JobSchedule::fixed : JobSchedule::dynamic;
}

int Worker::in_flight() const {
  if (!options_.output.save_steps.empty()) return 1;  // they are saved in their order
  return options_.in_flight > 0 ? options_.in_flight : 2 * board_.world_size();
}

// A process that comes back finds others at work, whose memory is no longer free.
void Worker::share_memory(loading::MemoryCheck& check) const {
  const bool shares = place_.local_world_size > 1 && !board_.rejoined();
  check.processes_on_host = shares ? std::min(place_.local_world_size, static_cast<int>(batches_.size())) : 1;
  check.free_at_start = free_at_start_;
}

// The largest over all batches; what one of them leaves open is the model's own.
loading::ExpectedRequest Worker::expected() const {
  const auto largest = [this](auto&& value_of) {
    std::optional<int64_t> most = value_of(batches_.front().request);
    for (const JobBatch& batch : batches_) {
      const std::optional<int64_t> value = value_of(batch.request);
      most = most && value ? std::optional(std::max(*most, *value)) : std::nullopt;
    }
    return most;
  };
  using pipelines::Request;
  const auto field = [](std::optional<int64_t> Request::*member) {
    return [member](const Request& request) { return request.*member; };
  };
  const auto side = [](std::optional<int64_t> pipelines::GivenSize::*of) {
    return [of](const Request& request) -> std::optional<int64_t> {
      const bool is_in_latents = !request.image.empty() && request.image[0].is_latents();
      return is_in_latents ? std::nullopt : pipelines::size_given(request).*of;
    };
  };
  return {.height = largest(side(&pipelines::GivenSize::height)),
          .width = largest(side(&pipelines::GivenSize::width)),
          .batch_size = options_.batch_size.value_or(1),
          .max_sequence_length = largest(field(&Request::max_sequence_length)),
          .num_inference_steps = largest([](const Request& request) { return request.steps(); }),
          .encodes_pictures = std::any_of(batches_.begin(), batches_.end(), [](const JobBatch& batch) {
            return !batch.request.image.empty();
          })};
}

// Loaded when first needed: a process without a share does not load it.
const families::DiffusionPipeline& Worker::pipeline() {
  if (pipeline_) return *pipeline_;
  const Stopwatch watch;
  const auto& first = batches_.front().request;
  auto load = loading::load_options(options_.loading, place_.local_rank);
  load.expected = expected();
  share_memory(load.memory_check);
  load.on_load = [this](const auto& report) {
    stop_if_asked();
    if (observer_->on_load) observer_->on_load(report);
  };
  // What is wrong with the scheduler of all pictures shows before weights are read.
  const bool all_alike = std::all_of(batches_.begin(), batches_.end(), [&](const JobBatch& batch) {
    return batch.request.scheduler == first.scheduler &&
           batch.request.scheduler_config == first.scheduler_config;
  });
  if (all_alike) {
    load.scheduler = first.scheduler;
    load.scheduler_config = first.scheduler_config;
    load.requires_scheduler = true;
  }
  pipeline_ = families::DiffusionPipeline::from_pretrained(options_.model, load);
  if (options_.output.preview_every > 0 && !pipeline_->facts().has_previews)
    throw UsageError("--preview-every: {} has no previews yet; leave it out", pipeline_->facts().class_name);
  figures_.load_seconds = watch.seconds();
  parameters_.emplace(*pipeline_, load_parameters(options_.loading, LoadField::Scope::images));
  output_.describe(*parameters_);
  const auto& map = pipeline_->hf_device_map();
  if (!map.empty() && (board_.is_main() || !placement::is_over_ranks(map)))
    log::info("device map: {}", map.to_text());
  return *pipeline_;
}

std::vector<Json> Worker::find_finished() {
  if (output_.looks_for_finished() || board_.rejoined()) pipeline();  // its defaults are in the parameters
  return output_.find_finished();
}

JobWork::Save Worker::run_batch(const JobBatch& batch, const std::function<void()>& look) {
  output_.begin_batch();
  const auto observe = [&](const pipelines::StepReport& step) {
    log::debug("step {} of {}", step.index + 1, step.count);
    if (writes()) output_.record_step(step);
    if (output_.is_preview_due(step))
      output_.put_previews(batch, step.index, pipeline().preview(step.latents));
    observer_->step(step, batch);
    if (step.latents.is_cpu()) busy_cores_.look(at::get_num_threads());
    stop_if_asked();
    look();
  };
  auto result = pipeline().begin(batch.request, observe);
  return writes() ? output_.finish_batch(batch, std::move(result)) : JobWork::Save();
}

// Once, when all processes of this host have come: its part of their cores. Those that compute together have
// shared them when they met.
void Worker::take_cores() {
  if (is_together_ || options_.threads > 0 || place_.local_world_size == 1) return;
  distributed::share_cores(place_.local_rank, place_.local_world_size, board_.shares_cpus());
}

// As they will be drawn: of the model's own size where none is given. Those that cannot be drawn count as
// none.
int64_t Worker::pixels_of(const JobBatch& batch) const {
  try {
    const loading::ImageSize size = pipeline_->image_size(batch.request);
    return size.height * size.width * static_cast<int64_t>(batch.images.size());
  } catch (const UsageError&) {
    return 0;
  }
}

// A model that is too small to gain from several threads gets one. That is asked of the largest batch of the
// job, so that all processes answer the same.
void Worker::spare_threads() const {
  if (is_together_ || options_.threads > 0 || tensor::chosen_threads() || at::get_num_threads() == 1) return;
  if (!loading::load_options(options_.loading, place_.local_rank).device.is_cpu()) return;
  const auto& largest =
      *std::max_element(batches_.begin(), batches_.end(),
                        [this](const JobBatch& a, const JobBatch& b) { return pixels_of(a) < pixels_of(b); });
  if (pixels_of(largest) == 0) return;  // none can be drawn
  try {
    const auto needs = pipeline_->needs_of(largest.request);  // kept for the request itself
    if (needs && loading::is_too_small_to_share(*needs, pipeline_->facts().denoiser)) at::set_num_threads(1);
  } catch (const UsageError&) {
    // Its own failure says so.
  }
}

}  // namespace diffract::jobs
