// The runner over a real store: the processes of a job as threads, each with a board of its own, as if each
// were alone on its host.
#include "diffract/pipelines/job_runner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "diffract/pipelines/store_board.h"

namespace diffract::pipelines {
namespace {

using distributed::Store;
using std::chrono::milliseconds;

std::vector<JobBatch> job_of(size_t pictures, int64_t batch_size = 1) {
  Request request;
  for (size_t i = 0; i < pictures; ++i) request.prompt.push_back("prompt " + std::to_string(i));
  return plan_job({{.request = request}}, 0, batch_size);
}

// What the threads of a test did.
struct Log {
  std::mutex mutex;
  std::multiset<size_t> run;  // first pictures of batches
  std::map<int, size_t> shares;
  std::vector<std::string> failures;
};

JobWork work_of(Log& log, int rank, const std::vector<JobBatch>& batches) {
  return {.find_finished = [&batches] { return std::vector<Json>(batches.size()); },
          .run =
              [&log, rank](const JobBatch& batch) {
                const std::lock_guard lock(log.mutex);
                log.run.insert(batch.images[0].index);
                ++log.shares[rank];
                Json images = Json::array();
                for (const auto& image : batch.images)
                  images.push_back({{"index", image.index}, {"rank", rank}});
                return images;
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
                   milliseconds silence = std::chrono::seconds(20)) {
    member.place = {.rank = rank, .world_size = world_size};
    const Store connected = Store::connect(
        store_.endpoint(), {.who = "rank " + std::to_string(rank), .timeout = std::chrono::seconds(20)});
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
        } catch (const Error&) {
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

  Store store_ = Store::serve({.host = "127.0.0.1", .port = 0}, {.timeout = std::chrono::seconds(20)});
  Log log_;
};

std::multiset<size_t> numbers(size_t count) {
  std::multiset<size_t> all;
  for (size_t i = 0; i < count; ++i) all.insert(i);
  return all;
}

TEST_F(Job, ComputesEveryPictureOnceOnAnyNumberOfProcesses) {
  for (const auto schedule : {JobSchedule::fixed, JobSchedule::dynamic})
    for (const int world_size : {1, 2, 3, 8})
      for (const size_t pictures : {1, 5, 16}) {
        log_.run.clear();
        const auto batches = job_of(pictures);
        const auto outcome =
            run(world_size, schedule, batches, [](int, JobWork&) {},
                {.run = fmt::format("{}/{}/{}", static_cast<int>(schedule), world_size, pictures)});
        EXPECT_EQ(log_.run, numbers(pictures));
        ASSERT_EQ(outcome.images.size(), pictures);
        for (size_t i = 0; i < pictures; ++i) EXPECT_EQ(outcome.images[i]["index"], i);
      }
}

TEST_F(Job, GivesContiguousSharesWhenStatic) {
  const auto batches = job_of(7);
  const auto outcome = run(3, JobSchedule::fixed, batches);
  std::vector<int> ranks;
  for (const Json& image : outcome.images) ranks.push_back(image["rank"]);
  EXPECT_EQ(ranks, (std::vector<int>{0, 0, 0, 1, 1, 2, 2}));
}

TEST_F(Job, GivesMoreToTheFastWhenDynamic) {
  std::atomic<size_t> finished = 0;
  const auto batches = job_of(12);
  run(2, JobSchedule::dynamic, batches, [&](int rank, JobWork& work) {
    work.run = [&, rank, run = work.run](const JobBatch& batch) {
      const Json images = run(batch);
      // Rank 1 is stuck with its picture until all the others are done.
      if (rank == 1)
        while (finished < 11) std::this_thread::yield();
      ++finished;
      return images;
    };
  });
  EXPECT_EQ(log_.run, numbers(12));
  EXPECT_LE(log_.shares[1], 1u);
}

TEST_F(Job, LeavesOutWhatAnyHostFoundFinished) {
  const auto batches = job_of(6);
  const auto outcome = run(3, JobSchedule::fixed, batches, [](int rank, JobWork& work) {
    work.find_finished = [rank] {  // picture 1 on one host, picture 4 on another
      std::vector<Json> found(6);
      if (rank == 1) found[1] = Json::array({{{"index", 1}}});
      if (rank == 2) found[4] = Json::array({{{"index", 4}}});
      return found;
    };
  });
  EXPECT_EQ(log_.run, (std::multiset<size_t>{0, 2, 3, 5}));
  EXPECT_EQ(outcome.images_found, 2u);
  ASSERT_EQ(outcome.images.size(), 6u);
  EXPECT_EQ(outcome.images[4]["index"], 4);
}

TEST_F(Job, GoesOnAfterAFailedPicture) {
  const auto batches = job_of(6, 2);
  const auto outcome = run(2, JobSchedule::dynamic, batches, [](int, JobWork& work) {
    work.run = [run = work.run](const JobBatch& batch) {
      if (batch.images[0].index == 2) throw MemoryError("no memory for {} pictures", batch.images.size());
      return run(batch);
    };
  });
  EXPECT_EQ(outcome.images.size(), 4u);
  ASSERT_EQ(outcome.failed.size(), 2u);
  EXPECT_EQ(outcome.failed[1].image.index, 3u);
  EXPECT_EQ(outcome.failed[1].failure.kind, ErrorKind::memory);
  EXPECT_EQ(log_.failures, (std::vector<std::string>{"no memory for 2 pictures"}));
  EXPECT_THROW(throw_if_failed(outcome), SomeFailed);
}

TEST_F(Job, EndsAsItsPicturesDidWhenAllFailAlike) {
  const auto batches = job_of(3);
  const auto outcome = run(2, JobSchedule::dynamic, batches, [](int, JobWork& work) {
    work.run = [](const JobBatch&) -> Json { throw UsageError("steps 0"); };
  });
  EXPECT_EQ(outcome.failed.size(), 3u);
  EXPECT_THROW(throw_if_failed(outcome), Error);
  try {
    throw_if_failed(outcome);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
}

TEST_F(Job, TellsTheMainProcessWhatEndedAnother) {
  const auto batches = job_of(4);
  try {
    run(2, JobSchedule::fixed, batches, [](int rank, JobWork& work) {
      if (rank == 1) work.run = [](const JobBatch&) -> Json { throw IoError("no space left on device"); };
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_STREQ(error.what(), "rank 1 of 2: no space left on device");
  }
}

TEST_F(Job, RefusesRanksWithDifferentJobs) {
  const auto three = job_of(3), four = job_of(4);
  std::thread other([&] {
    StoreBoard mine = board(1, 2);
    EXPECT_THROW(run_job(four, JobSchedule::dynamic, mine, work_of(log_, 1, four)), UsageError);
  });
  StoreBoard mine = board(0, 2);
  EXPECT_THROW(run_job(three, JobSchedule::dynamic, mine, work_of(log_, 0, three)), UsageError);
  other.join();
  EXPECT_TRUE(log_.run.empty());
}

TEST_F(Job, NamesARankThatDoesNotCome) {
  const auto batches = job_of(3);
  const Store impatient =
      Store::connect(store_.endpoint(), {.who = "rank 0 of 2", .timeout = milliseconds(300)});
  StoreBoard mine(impatient, {.place = {.rank = 0, .world_size = 2}});
  try {
    run_job(batches, JobSchedule::dynamic, mine, work_of(log_, 0, batches));
    FAIL() << "no error";
  } catch (const PeerError& error) {
    EXPECT_NE(std::string(error.what()).find("rank 1 of 2 did not come"), std::string::npos) << error.what();
  }
}

TEST_F(Job, NamesARankThatGivesNoSignOfLife) {
  const auto batches = job_of(3);
  { const StoreBoard dead = board(1, 2); }  // came, and is gone
  StoreBoard mine = board(0, 2, {}, milliseconds(1500));
  try {
    mine.wait_for_others([] {});
    FAIL() << "no error";
  } catch (const PeerError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("rank 1 of 2 (host "), std::string::npos) << message;
    EXPECT_NE(message.find("no sign of life"), std::string::npos) << message;
  }
}

// A process that is started again by itself (a pod, a batch system) while the others go on.
TEST_F(Job, FinishesWhatAKilledProcessHadTakenWhenItComesBack) {
  for (const auto schedule : {JobSchedule::fixed, JobSchedule::dynamic}) {
    log_.run.clear();
    const auto batches = job_of(8);
    const JobMember member{.run = std::to_string(static_cast<int>(schedule))};
    std::thread killed([&] {
      StoreBoard first = board(1, 2, member);
      EXPECT_FALSE(first.came_back());
      // Takes a picture and dies with it: an error of no kind that run_job knows.
      JobWork work = work_of(log_, 1, batches);
      work.run = [](const JobBatch&) -> Json { throw std::runtime_error("killed"); };
      EXPECT_THROW(run_job(batches, schedule, first, work), std::runtime_error);
    });
    std::atomic<bool> died = false;
    std::thread back([&] {
      killed.join();
      died = true;
      StoreBoard second = board(1, 2, member);
      EXPECT_TRUE(second.came_back());
      run_job(batches, schedule, second, work_of(log_, 1, batches));
    });
    StoreBoard mine = board(0, 2, member);
    JobWork work = work_of(log_, 0, batches);
    work.run = [&, run = work.run](const JobBatch& batch) {
      while (!died) std::this_thread::yield();  // so that the other has one to take
      return run(batch);
    };
    const auto outcome = run_job(batches, schedule, mine, work);
    back.join();
    EXPECT_EQ(log_.run, numbers(8));
    EXPECT_EQ(outcome.images.size(), 8u);
  }
}

}  // namespace
}  // namespace diffract::pipelines
