#include "diffract/jobs/job_runner.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "diffract/core/log.h"
#include "diffract/distributed/lane.h"
#include "diffract/distributed/split.h"
#include "diffract/jobs/job_description.h"
#include "diffract/jobs/measured_batch_size.h"
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
      distributed::run_in_flight(todo_.size(), work_.in_flight,
                                 [&](size_t t) { run_at_once({{.batch = todo_[t]}}); });
    else if (schedule_ == JobSchedule::fixed)
      run_list(distributed::split(todo_, board_.place()), work_.keeps_results);
    else
      run_taken();
    saving_.settle();
    if (!board_.is_main()) {
      work_.finish_share();
      return outcome_;
    }
    board_.wait_for_others([&] { work_.progress(outcome_.images_found); });
    work_.progress(outcome_.images_found);
    if (!is_together()) run_list(todo_, false);  // what a killed process had taken, when it came back
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

  // A batch that this process is to compute now.
  struct Turn {
    size_t batch;
    bool was_reported = false;
    size_t left = 0;  // batches that this process computes from here on, about
  };
  using Turns = std::function<std::optional<Turn>()>;

  // Without those that were reported: by this process before it was killed and came back, for one.
  void run_list(const std::vector<size_t>& list, bool again) {
    run_turns([&, i = size_t{0}]() mutable -> std::optional<Turn> {
      for (; i < list.size(); ++i)
        if (const bool was_reported = board_.reported(list[i]).has_value(); again || !was_reported) {
          const Turn turn{.batch = list[i], .was_reported = was_reported, .left = list.size() - i};
          ++i;
          return turn;
        }
      return std::nullopt;
    });
  }

  void run_taken() {
    run_turns([&]() -> std::optional<Turn> {
      for (size_t t = board_.take(); t < todo_.size(); t = board_.take())
        if (!board_.reported(todo_[t]))
          return Turn{.batch = todo_[t],
                      .left = (todo_.size() - t) / static_cast<size_t>(board_.world_size())};
      return std::nullopt;
    });
  }

  // Takes no turn before it is computed: another process may be free sooner.
  void run_turns(const Turns& next) {
    std::optional<Turn> turn;
    while (turn || (turn = next())) {
      const std::string kind = kind_of_turn(*turn);
      const size_t most = work_.measures_batch_size ? sizes_.next(kind, turn->left) : 1;
      std::vector<Turn> turns = {*std::exchange(turn, std::nullopt)};
      while (turns.size() < most && (turn = next()) && kind_of_turn(*turn) == kind)
        turns.push_back(*std::exchange(turn, std::nullopt));
      // With the wait until the last ones are saved, which a device may still compute: what counts is how
      // many are finished in how long.
      const auto begin = std::chrono::steady_clock::now();
      const auto failure = run_at_once(turns);
      if (!failure && work_.measures_batch_size) {
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        sizes_.took(kind, turns.size(), seconds.count());
      }
      if (!failure || turns.size() == 1) continue;
      if (failure->kind == ErrorKind::memory) sizes_.failed(kind, turns.size());
      for (const Turn& one : turns) run_at_once({one});
    }
  }
  std::string kind_of_turn(const Turn& turn) const {
    return work_.measures_batch_size ? kind_of(batches_[turn.batch]) : "";
  }

  // The plan's own, or a new one of several.
  std::shared_ptr<const JobBatch> batch_of(const std::vector<Turn>& turns) const {
    const JobBatch& first = batches_[turns.front().batch];
    if (turns.size() == 1) return {std::shared_ptr<void>(), &first};
    auto all = std::make_shared<JobBatch>(first);
    for (size_t i = 1; i < turns.size(); ++i) append(*all, batches_[turns[i].batch]);
    return all;
  }

  // What went wrong. Where several failed it is written down nowhere: each may do alone.
  std::optional<Failure> run_at_once(const std::vector<Turn>& turns) {
    if (!std::exchange(is_prepared_, true)) work_.prepare();
    const auto batch = batch_of(turns);
    for (const Turn& turn : turns) log::debug("batch {} begins", turn.batch);
    JobWork::Save save;
    const auto failure = attempt([&] { save = work_.run(*batch, [this] { saving_.look(); }); });
    if (failure && turns.size() > 1) return failure;
    outcome_.images_run += batch->images.size();
    if (is_together() && !board_.is_main()) return failure;
    saving_.put([this, turns, batch, save = std::move(save), failure]() -> SaveQueue::Then {
      return [this, turns, batch, saved = save_batch(turns, *batch, save, failure)] {
        finish(turns, *batch, saved);
      };
    });
    return failure;
  }

  struct Saved {
    Json images;  // their summaries
    std::optional<Failure> failure;
  };
  Saved save_batch(const std::vector<Turn>& turns, const JobBatch& batch, const JobWork::Save& save,
                   std::optional<Failure> failure) const {
    Json images;
    if (!failure) failure = attempt([&] { images = save(); });
    if (failure) work_.record_failure(batch, *failure);
    for (const Turn& turn : turns) log::debug("batch {} is finished", turn.batch);
    return {std::move(images), std::move(failure)};
  }

  // The board is told by the thread that asks it, after all is safe on the disk.
  void finish(const std::vector<Turn>& turns, const JobBatch& batch, const Saved& saved) {
    if (saved.failure)
      log::write(log::Level::error,
                 fmt::format("image {}: {}", batch.images.front().index, saved.failure->message));
    auto image = saved.images.begin();
    for (const Turn& turn : turns) {
      const size_t count = batches_[turn.batch].images.size();
      Json result;
      if (saved.failure) {
        result = to_json(*saved.failure);
      } else {
        Json own = Json::array();
        for (size_t i = 0; i < count; ++i) own.push_back(*image++);
        result = for_the_store(std::move(own));
      }
      board_.report(turn.batch, json_text(result), turn.was_reported ? 0 : count);
    }
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
  MeasuredBatchSize sizes_;
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
