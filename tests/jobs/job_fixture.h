#pragma once
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "diffract/jobs/job_runner.h"
#include "diffract/jobs/store_board.h"

namespace diffract::jobs {

using distributed::Store;
using std::chrono::milliseconds;

inline std::vector<JobBatch> job_of(size_t pictures, int64_t batch_size = 1) {
  pipelines::Request request;
  for (size_t i = 0; i < pictures; ++i) request.prompt.push_back("prompt " + std::to_string(i));
  return plan_job({request}, 0, batch_size);
}

// An end of which nobody is told, as SIGKILL is.
struct Killed {};

// What the threads of a test did.
struct Log {
  std::mutex mutex;
  std::multiset<size_t> run;  // first pictures of batches
  std::map<int, size_t> shares;
  std::vector<std::string> failures;
};

inline JobWork work_of(Log& log, int rank, const std::vector<JobBatch>& batches) {
  return {.find_finished = [&batches] { return std::vector<Json>(batches.size()); },
          .run = [&log, rank](const JobBatch& batch, const auto&) -> JobWork::Save {
            const std::lock_guard lock(log.mutex);
            log.run.insert(batch.images[0].index);
            ++log.shares[rank];
            return [rank, &batch] {
              Json images = Json::array();
              for (const auto& image : batch.images)
                images.push_back({{"index", image.index}, {"rank", rank}});
              return images;
            };
          },
          .record_failure =
              [&log](const JobBatch&, const Failure& failure) {
                const std::lock_guard lock(log.mutex);
                log.failures.push_back(failure.message);
              },
          .finish_share = [] {},
          .progress = [](size_t) {}};
}

class Job : public ::testing::Test {
 protected:
  StoreBoard board(int rank, int world_size, JobMember member = {},
                   milliseconds silence = std::chrono::seconds(200)) {
    member.place = {.rank = rank, .world_size = world_size};
    const Store connected = Store::connect(
        store_.endpoint(), {.who = "rank " + std::to_string(rank), .timeout = std::chrono::seconds(200)});
    return StoreBoard(connected, member, silence);
  }
  // Runs all ranks; gives the main process' outcome, or throws what it threw.
  JobOutcome run(
      int world_size, JobSchedule schedule, const std::vector<JobBatch>& batches,
      const std::function<void(int rank, JobWork&)>& change = [](int, JobWork&) {},
      const JobMember& member = {}) {
    std::vector<std::thread> others;
    for (int rank = 1; rank < world_size; ++rank)
      others.emplace_back([&, rank] {
        try {
          run_rank(rank, world_size, schedule, batches, change, member);
        } catch (const std::exception&) {
          // The main process is to hear of it.
        }
      });
    struct Join {
      std::vector<std::thread>& threads;
      ~Join() {
        for (auto& thread : threads) thread.join();
      }
    } join{others};
    return run_rank(0, world_size, schedule, batches, change, member);
  }
  JobOutcome run_rank(int rank, int world_size, JobSchedule schedule, const std::vector<JobBatch>& batches,
                      const std::function<void(int rank, JobWork&)>& change, const JobMember& member) {
    JobWork work = work_of(log_, rank, batches);
    change(rank, work);
    StoreBoard mine = board(rank, world_size, member);
    return run_job(batches, schedule, mine, work);
  }

  Store store_ = Store::serve({.host = "127.0.0.1", .port = 0}, {.timeout = std::chrono::seconds(200)});
  Log log_;
};

inline std::multiset<size_t> numbers(size_t count) {
  std::multiset<size_t> all;
  for (size_t i = 0; i < count; ++i) all.insert(i);
  return all;
}

}  // namespace diffract::jobs
