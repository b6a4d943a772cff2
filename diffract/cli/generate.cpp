#include <ATen/Parallel.h>

#include <chrono>
#include <cstdlib>

#include "diffract/cli/command.h"
#include "diffract/cli/generate_options.h"
#include "diffract/cli/interrupt.h"
#include "diffract/cli/job_progress.h"
#include "diffract/cli/job_summary.h"
#include "diffract/cli/load_progress.h"
#include "diffract/core/error.h"
#include "diffract/core/heartbeat.h"
#include "diffract/distributed/process_group.h"
#include "diffract/jobs/worker.h"
#include "diffract/tensor/threads.h"

namespace diffract::cli {
namespace {

// What a job shows on the terminal while it runs.
jobs::JobObserver observer_of(jobs::JobBoard& board, JobProgress& progress) {
  jobs::JobObserver observer{
      // Only now: a process that waits for the others of its job to come is ended by a signal at once.
      // Of a job, the launcher says it, or else the main process.
      .begins = [&board] { install_interrupt_handler(board.is_main() && !std::getenv(kHeartbeatVariable)); },
      .on_load = {},
      .step = [&progress](const auto& step, const auto& batch) { progress.step(step, batch); },
      .finished_batch = [&progress](const auto& batch) { progress.finish(batch); },
      .progress = [&progress](size_t found) { progress.finished(found); }};
  if (board.is_main())
    observer.on_load = [shown = std::make_shared<LoadProgress>()](const auto& report) { (*shown)(report); };
  return observer;
}

void run_job(const GenerateOptions& options, const jobs::JobOptions& job, const jobs::JobPlace& place) {
  jobs::JobBoard& board = *place.board;
  jobs::Worker worker(job, place);
  if (board.is_main()) warn_of_prompt_syntax(worker.batches());
  JobProgress progress(board, worker.image_count());
  const jobs::JobOutcome outcome = worker.run(observer_of(board, progress));
  if (!board.is_main()) return;
  const JobSummary summary(worker, board.world_size(), outcome);
  try {
    jobs::throw_if_failed(outcome);
  } catch (const Error& error) {  // the summary holds it, and what was made all the same
    summary.print(options.json, jobs::Failure{error.kind(), error.what()});
    throw;
  }
  summary.print(options.json, {});
}

// Before processes compute together they connect to each other.
void meet_other_ranks(const jobs::JobOptions& options, const jobs::JobPlace& place) {
  if (place.board->world_size() == 1) return;  // which the loading refuses
  const auto timeout = std::chrono::milliseconds(static_cast<int64_t>(options.peer_timeout_seconds * 1000));
  distributed::init_process_group("gloo", timeout.count() > 0 ? timeout : distributed::kDefaultTimeout);
}

void generate(const GenerateOptions& options) {
  jobs::JobOptions job = job_options(options);
  const jobs::JobPlace place = jobs::join_job([&](int world_size) { check_options(job, world_size); });
  jobs::run_as_member(*place.board, [&] {
    if (job.is_over_ranks()) meet_other_ranks(job, place);
    // A quota and the meeting say how many threads there are; what was asked for goes before.
    tensor::take_chosen_threads();
    if (job.threads > 0) at::set_num_threads(job.threads);
    job.requests = job_requests(options);
    run_job(options, job, place);
  });
}

}  // namespace

Command generate_command() {
  return {.name = "generate",
          .summary = "makes images from prompts",
          .declare = [](CLI::App& app) -> std::function<void()> {
            auto options = std::make_shared<GenerateOptions>();
            declare_generate_options(app, *options);
            return [options] { generate(*options); };
          }};
}

}  // namespace diffract::cli
