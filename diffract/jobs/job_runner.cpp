#include "diffract/jobs/job_runner.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "diffract/core/log.h"
#include "diffract/distributed/lane.h"
#include "diffract/distributed/split.h"
#include "diffract/jobs/job_description.h"
#include "diffract/jobs/save_queue.h"
#include "diffract/loading/component.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::jobs {
namespace {

bool ends_job(const Error& error) {
  const ErrorKind kind = error.kind();
  return dynamic_cast<const loading::ModelDoesNotFit*>(&error) || kind == ErrorKind::checkpoint ||
         kind == ErrorKind::peer || kind == ErrorKind::io || kind == ErrorKind::cancelled;
}

void record_on_board(JobBoard& board, const Failure& failure) {
  // That a peer is lost the main process sees itself; the others do not see whom it misses.
  if (failure.kind == ErrorKind::peer && !board.is_main()) return;
  try {
    board.leave(failure);
  } catch (const PeerError&) {
    // The error that ends this process matters more.
  }
}

// A summary without its prompt, which the main process has itself: a prompt may be larger than what a store
// takes.
Json for_the_store(Json images) {
  for (Json& image : images) image.erase("prompt");
  return {{"images", std::move(images)}};
}

class Runner {
 public:
  Runner(const std::vector<JobBatch>& batches, JobSchedule schedule, JobBoard& board, const JobWork& work)
      : batches_(batches), schedule_(schedule), board_(board), work_(work) {}

  JobOutcome run() {
    board_.join(describe_job(batches_, schedule_, work_.settings));
    find_todo();
    if (is_together())
      distributed::run_in_flight(todo_.size(), work_.in_flight, [&](size_t t) { run_batch(todo_[t]); });
    else if (schedule_ == JobSchedule::fixed)
      for (const size_t b : distributed::split(todo_, board_.place())) run_batch(b, work_.keeps_results);
    else
      for (size_t t = board_.take(); t < todo_.size(); t = board_.take()) run_batch(todo_[t]);
    saving_.settle();
    if (!board_.is_main()) {
      work_.finish_share();
      return outcome_;
    }
    board_.wait_for_others([&] { work_.progress(outcome_.images_found); });
    work_.progress(outcome_.images_found);
    if (!is_together())
      for (const size_t b : todo_) run_batch(b);  // what a killed process had taken, when it came back
    saving_.settle();
    work_.finish_share();
    collect();
    return outcome_;
  }

 private:
  bool is_together() const { return schedule_ == JobSchedule::together; }

  void find_todo() {
    found_.resize(batches_.size());
    if (board_.is_local_main()) found_ = work_.find_finished();
    std::vector<bool> is_found(batches_.size());
    std::transform(found_.begin(), found_.end(), is_found.begin(),
                   [](const Json& f) { return !f.is_null(); });
    const auto finished = board_.agree_on_finished(is_found);
    for (size_t b = 0; b < batches_.size(); ++b) {
      if (!finished[b])
        todo_.push_back(b);
      else
        outcome_.images_found += batches_[b].images.size();
      if (is_found[b] && !board_.is_main()) board_.report(b, json_text(for_the_store(found_[b])), 0);
    }
    if (board_.is_main() && outcome_.images_found > 0)
      log::info("{} pictures are there already", outcome_.images_found);
    work_.progress(outcome_.images_found);
  }

  // By default without those that were reported: by this process before it was killed and came back, for one.
  void run_batch(size_t b, bool again = false) {
    const bool was_reported = !is_together() && board_.reported(b).has_value();
    if (was_reported && !again) return;
    const JobBatch& batch = batches_[b];
    if (!std::exchange(is_prepared_, true)) work_.prepare();
    log::debug("batch {} begins", b);
    JobWork::Save save;
    const auto failure = attempt([&] { save = work_.run(batch, [this] { saving_.look(); }); });
    outcome_.images_run += batch.images.size();
    if (is_together() && !board_.is_main()) return;
    saving_.put([this, b, was_reported, save = std::move(save), failure]() -> SaveQueue::Then {
      return
          [this, b, was_reported, saved = save_batch(b, save, failure)] { finish(b, saved, was_reported); };
    });
  }

  struct Saved {
    Json result;  // for the store
    std::optional<Failure> failure;
  };
  Saved save_batch(size_t b, const JobWork::Save& save, std::optional<Failure> failure) {
    Json result;
    if (!failure) failure = attempt([&] { result = for_the_store(save()); });
    if (failure) {
      work_.record_failure(batches_[b], *failure);
      result = to_json(*failure);
    }
    log::debug("batch {} is finished", b);
    return {std::move(result), std::move(failure)};
  }

  // The board is told by the thread that asks it, after all is safe on the disk.
  void finish(size_t b, const Saved& saved, bool was_reported) {
    const JobBatch& batch = batches_[b];
    if (saved.failure)
      log::write(log::Level::error,
                 fmt::format("image {}: {}", batch.images.front().index, saved.failure->message));
    board_.report(b, json_text(saved.result), was_reported ? 0 : batch.images.size());
    work_.finished(batch);
    work_.progress(outcome_.images_found);
  }

  // Of computing or saving a batch; const, as both go on at once.
  std::optional<Failure> attempt(const std::function<void()>& work) const {
    try {
      work();
      return {};
    } catch (const Error& error) {
      if (ends_job(error) || batches_.size() == 1) throw;
      if (is_together() && error.kind() != ErrorKind::usage) throw;  // the others do not know of it
      if (error.kind() == ErrorKind::internal && !tensor::devices_answer()) throw;
      return Failure{error.kind(), error.what()};
    } catch (const std::bad_alloc&) {
      if (batches_.size() == 1 || is_together()) throw;
      return Failure{ErrorKind::memory, "out of memory"};
    } catch (const c10::Error& error) {
      if (batches_.size() == 1 || is_together() || !tensor::devices_answer()) throw;
      return Failure{ErrorKind::internal, fmt::format("libtorch: {}", error.what_without_backtrace())};
    }
  }

  void collect() {
    for (size_t b = 0; b < batches_.size(); ++b) {
      const auto& images = batches_[b].images;
      const auto reported =
          found_[b].is_null() ? board_.reported(b) : std::optional(json_text(for_the_store(found_[b])));
      // Found on another host, by a process that was killed before it said more: finished, but under which
      // name?
      if (!reported) continue;
      const Json result = parse_json(*reported, "store");
      for (size_t i = 0; i < images.size(); ++i) {
        if (!result.contains("images")) {
          outcome_.failed.push_back({images[i], failure_of(result)});
          continue;
        }
        Json summary = {{"index", images[i].index}, {"prompt", images[i].prompt}, {"seed", images[i].seed}};
        summary.update(result["images"].at(i));
        outcome_.images.push_back(std::move(summary));
      }
    }
  }

  const std::vector<JobBatch>& batches_;
  JobSchedule schedule_;
  JobBoard& board_;
  const JobWork& work_;
  std::vector<Json> found_;   // on this host
  std::vector<size_t> todo_;  // by all processes, the same in all
  bool is_prepared_ = false;
  JobOutcome outcome_;
  SaveQueue saving_;  // the last member: its thread uses the others
};

}  // namespace

JobOutcome run_job(const std::vector<JobBatch>& batches, JobSchedule schedule, JobBoard& board,
                   const JobWork& work) {
  JobOutcome outcome;
  run_as_member(board, [&] { outcome = Runner(batches, schedule, board, work).run(); });
  if (!board.is_main()) board.leave({});
  return outcome;
}

void run_as_member(JobBoard& board, const std::function<void()>& part) {
  try {
    part();
  } catch (const std::exception&) {
    record_on_board(board, current_failure());
    throw;
  }
}

void throw_if_failed(const JobOutcome& outcome) {
  if (outcome.failed.empty()) return;
  const FailedImage& first = outcome.failed.front();
  const bool alike = std::all_of(outcome.failed.begin(), outcome.failed.end(),
                                 [&](const FailedImage& f) { return f.failure.kind == first.failure.kind; });
  if (outcome.images.empty() && alike)
    throw Error(first.failure.kind, "all pictures: " + first.failure.message);
  throw SomeFailed("{} of {} pictures failed, the first is picture {}: {}. --resume tries them again",
                   outcome.failed.size(), outcome.failed.size() + outcome.images.size(), first.image.index,
                   first.failure.message);
}

}  // namespace diffract::jobs
