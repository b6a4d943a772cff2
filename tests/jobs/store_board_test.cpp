// Who belongs to a job: ranks that do not fit, do not come, are lost, or come back.
#include <sched.h>

#include <atomic>

#include "diffract/core/cpus.h"
#include "tests/jobs/job_fixture.h"

namespace diffract::jobs {
namespace {

TEST_F(Job, RefusesRanksWithDifferentJobs) {
  struct Rank {
    std::vector<JobBatch> batches = job_of(3);
    JobSchedule schedule = JobSchedule::dynamic;
    std::string scheduler = "euler";
  };
  const auto changed = [](const std::function<void(pipelines::Request&)>& change) {
    Rank rank;
    for (JobBatch& batch : rank.batches) change(batch.request);
    return rank;
  };
  const std::vector<Rank> others = {
      {.batches = job_of(4)},
      {.schedule = JobSchedule::fixed},
      {.scheduler = "ddim"},
      changed([](pipelines::Request& r) { r.prompt_2 = {"more"}; }),
      changed([](pipelines::Request& r) { r.negative_prompt = {"less"}; }),
      changed([](pipelines::Request& r) { r.true_cfg_scale = 2; }),
      changed([](pipelines::Request& r) { r.guidance_rescale = 0.5; }),
      changed([](pipelines::Request& r) { r.clip_skip = 1; }),
      changed([](pipelines::Request& r) { r.max_sequence_length = 8; }),
      changed([](pipelines::Request& r) { r.output_type = pipelines::OutputType::latent; })};
  for (size_t i = 0; i < others.size(); ++i) {
    const JobMember member{.run = std::to_string(i)};
    const auto refuses = [&](int number, const Rank& rank) {
      StoreBoard mine = board(number, 2, member);
      JobWork work = work_of(log_, number, rank.batches);
      work.settings = {{"scheduler", rank.scheduler}};
      try {
        run_job(rank.batches, rank.schedule, mine, work);
        ADD_FAILURE() << "no error " << i;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::usage) << i;
        EXPECT_NE(std::string(error.what()).find("has another job: "), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find(" for rank 0 and "), std::string::npos) << error.what();
      }
    };
    std::thread other([&] { refuses(1, others[i]); });
    refuses(0, {});
    other.join();
  }
  EXPECT_TRUE(log_.run.empty());
}

// A process that meets a job that is none of its own, on the same port, must not disturb it.
TEST_F(Job, IsNotDisturbedByStrangers) {
  const auto batches = job_of(4), others = job_of(3);
  std::atomic<bool> tried = false;
  std::thread strangers;
  const auto outcome = run(2, JobSchedule::fixed, batches, [&](int rank, JobWork& work) {
    work.run = [&, rank, run = work.run](const JobBatch& batch, const auto& look) {
      if (rank == 0 && !strangers.joinable())
        strangers = std::thread([&] {
          for (const int world_size : {2, 3}) {
            StoreBoard board_of_other = board(1, world_size);
            const auto& list = world_size == 2 ? others : batches;
            EXPECT_THROW(run_job(list, JobSchedule::fixed, board_of_other, work_of(log_, 1, list)),
                         UsageError);
          }
          StoreBoard again = board(1, 2);  // of this job, but rank 1 is there
          try {
            run_job(batches, JobSchedule::fixed, again, work_of(log_, 1, batches));
            ADD_FAILURE() << "two processes with one rank";
          } catch (const UsageError& error) {
            const std::string message = error.what();
            EXPECT_NE(message.find("has this rank already"), std::string::npos) << message;
            EXPECT_NE(message.find("pid "), std::string::npos) << message;
          }
          tried = true;
        });
      while (!tried) std::this_thread::sleep_for(milliseconds(1));
      return run(batch, look);
    };
  });
  strangers.join();
  EXPECT_EQ(log_.run, numbers(4));
  EXPECT_EQ(outcome.images.size(), 4u);
}

// Before it has come to the job, and after that, before it says what it found.
TEST_F(Job, HearsAtOnceOfARankThatFailsBeforeAnythingIsComputed) {
  const auto batches = job_of(6);
  for (const bool early : {true, false}) {
    const JobMember member{.run = early ? "early" : "late"};
    const auto expect_told = [&](int rank) {
      StoreBoard mine = board(rank, 3, member);
      try {
        run_job(batches, JobSchedule::dynamic, mine, work_of(log_, rank, batches));
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io);
        EXPECT_NE(std::string(error.what()).find("rank 2 of 3: no permission"), std::string::npos)
            << error.what();
      }
    };
    const auto begin = std::chrono::steady_clock::now();
    std::thread other([&] { expect_told(1); });
    std::thread failing([&] {
      StoreBoard mine = board(2, 3, member);
      EXPECT_THROW(run_as_member(mine,
                                 [&] {
                                   if (early) throw IoError("no permission");
                                   JobWork work = work_of(log_, 2, batches);
                                   work.find_finished = []() -> std::vector<Json> {
                                     throw IoError("no permission");
                                   };
                                   run_job(batches, JobSchedule::dynamic, mine, work);
                                 }),
                   IoError);
    });
    expect_told(0);
    other.join();
    failing.join();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(150));
  }
}

TEST_F(Job, NamesARankThatIsLostBeforeItSaysWhatItFound) {
  const auto batches = job_of(3);
  std::thread lost([&] {
    StoreBoard mine = board(1, 2);
    JobWork work = work_of(log_, 1, batches);
    work.find_finished = []() -> std::vector<Json> { throw Killed(); };
    EXPECT_THROW(run_job(batches, JobSchedule::dynamic, mine, work), Killed);
  });
  StoreBoard mine = board(0, 2, {}, milliseconds(1500));
  try {
    run_job(batches, JobSchedule::dynamic, mine, work_of(log_, 0, batches));
    ADD_FAILURE() << "no error";
  } catch (const PeerError& error) {
    EXPECT_NE(std::string(error.what()).find("no sign of life"), std::string::npos) << error.what();
  }
  lost.join();
}

TEST_F(Job, KnowsWhetherTheRanksOfAHostShareItsCpus) {
  const auto batches = job_of(2);
  for (const bool own : {false, true}) {
    const JobMember member{.local_world_size = 2, .run = own ? "own" : "shared"};
    std::mutex mutex;
    std::vector<bool> shares;
    const auto take = [&](int rank) {
      if (own) {  // as srun and mpirun bind their processes; of this thread alone
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<size_t>(allowed_cpus().at(static_cast<size_t>(rank))), &set);
        ASSERT_EQ(::sched_setaffinity(0, sizeof set, &set), 0);
      }
      StoreBoard mine = board(rank, 2, member);
      mine.join("job");
      mine.agree_on_finished({false, false});
      const std::lock_guard lock(mutex);
      shares.push_back(mine.shares_cpus());
    };
    if (own && allowed_cpus().size() < 2) GTEST_SKIP() << "one CPU cannot be divided";
    std::thread first([&] { take(0); }), second([&] { take(1); });
    first.join();
    second.join();
    EXPECT_EQ(shares, std::vector<bool>(2, !own));
  }
}

TEST_F(Job, NamesARankThatDoesNotCome) {
  const auto batches = job_of(3);
  const Store impatient =
      Store::connect(store_.endpoint(), {.who = "rank 0 of 2", .timeout = milliseconds(2000)});
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
  StoreBoard mine = board(0, 2, {}, milliseconds(1500));
  mine.join("job");
  board(1, 2).join("job");  // came, and is gone
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
      // Takes a picture and dies with it.
      JobWork work = work_of(log_, 1, batches);
      work.run = [](const JobBatch&, const auto&) -> JobWork::Save { throw Killed(); };
      EXPECT_THROW(run_job(batches, schedule, first, work), Killed);
      EXPECT_FALSE(first.rejoined());
    });
    std::atomic<bool> died = false;
    std::thread back([&] {
      killed.join();
      died = true;
      StoreBoard second = board(1, 2, member);
      run_job(batches, schedule, second, work_of(log_, 1, batches));
      EXPECT_TRUE(second.rejoined());
    });
    StoreBoard mine = board(0, 2, member);
    JobWork work = work_of(log_, 0, batches);
    work.run = [&, run = work.run](const JobBatch& batch, const auto& look) {
      while (!died) std::this_thread::sleep_for(milliseconds(1));  // so that the other has one to take
      return run(batch, look);
    };
    const auto outcome = run_job(batches, schedule, mine, work);
    back.join();
    EXPECT_EQ(log_.run, numbers(8));
    EXPECT_EQ(outcome.images.size(), 8u);
  }
}

// Latents are saved at the end of a share: what was computed before is gone with the process.
TEST_F(Job, ComputesAWholeShareAnewWhereResultsAreKept) {
  const auto batches = job_of(6);
  Log second_life;
  std::thread other([&] {
    {
      StoreBoard first = board(1, 2);
      JobWork work = work_of(log_, 1, batches);
      work.keeps_results = true;
      work.run = [&, run = work.run](const JobBatch& batch, const auto& look) {
        if (batch.images[0].index == 5) throw Killed();
        return run(batch, look);
      };
      EXPECT_THROW(run_job(batches, JobSchedule::fixed, first, work), Killed);
    }
    StoreBoard second = board(1, 2);
    JobWork work = work_of(second_life, 1, batches);
    work.keeps_results = true;
    run_job(batches, JobSchedule::fixed, second, work);
  });
  StoreBoard mine = board(0, 2);
  JobWork work = work_of(log_, 0, batches);
  work.keeps_results = true;
  const auto outcome = run_job(batches, JobSchedule::fixed, mine, work);
  other.join();
  EXPECT_EQ(second_life.run, (std::multiset<size_t>{3, 4, 5}));
  EXPECT_EQ(outcome.images.size(), 6u);
  EXPECT_EQ(mine.images_reported(), 6u);
}

}  // namespace
}  // namespace diffract::jobs
