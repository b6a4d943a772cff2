// The runner over a real store: the processes of a job as threads, each with a board of its own, as if each
// were alone on its host.
#include <atomic>

#include "tests/jobs/job_fixture.h"

namespace diffract::jobs {
namespace {

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
    work.run = [&, rank, run = work.run](const JobBatch& batch, const auto& look) {
      auto save = run(batch, look);
      // Rank 1 is stuck with its picture until all the others are done.
      if (rank == 1)
        while (finished < 11) std::this_thread::yield();
      ++finished;
      return save;
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
    work.run = [run = work.run](const JobBatch& batch, const auto& look) {
      if (batch.images[0].index == 2) throw MemoryError("no memory for {} pictures", batch.images.size());
      return run(batch, look);
    };
  });
  EXPECT_EQ(outcome.images.size(), 4u);
  ASSERT_EQ(outcome.failed.size(), 2u);
  EXPECT_EQ(outcome.failed[1].image.index, 3u);
  EXPECT_EQ(outcome.failed[1].failure.kind, ErrorKind::memory);
  EXPECT_EQ(log_.failures, (std::vector<std::string>{"no memory for 2 pictures"}));
  EXPECT_THROW(throw_if_failed(outcome), SomeFailed);
}

TEST_F(Job, ComputesAsManyAtOnceAsIsFastest) {
  for (const int world_size : {1, 3}) {
    log_.run.clear();
    const auto batches = job_of(120);
    std::mutex mutex;
    std::map<size_t, size_t> sizes;  // of batches: how many were computed
    const auto outcome = run(world_size, JobSchedule::dynamic, batches,
                             [&](int, JobWork& work) {
                               work.measures_batch_size = true;
                               work.run = [&, run = work.run](const JobBatch& batch, const auto& look) {
                                 // The same time for up to four, then as many times that as there are fours.
                                 const auto fours = static_cast<int>((batch.images.size() + 3) / 4);
                                 std::this_thread::sleep_for(milliseconds(20) * fours);
                                 const std::lock_guard lock(mutex);
                                 ++sizes[batch.images.size()];
                                 return run(batch, look);
                               };
                             },
                             {.run = std::to_string(world_size)});
    ASSERT_EQ(outcome.images.size(), 120u);
    for (size_t i = 0; i < 120; ++i) EXPECT_EQ(outcome.images[i]["index"], i);
    size_t images = 0;
    for (const auto& [size, count] : sizes) images += size * count;
    EXPECT_EQ(images, 120u);  // each once
    EXPECT_GT(sizes[4], 0u);
  }
}

TEST_F(Job, ComputesPicturesOneByOneWhichFailTogether) {
  const auto batches = job_of(40);
  std::atomic<size_t> most = 0;
  const auto outcome = run(1, JobSchedule::dynamic, batches, [&](int, JobWork& work) {
    work.measures_batch_size = true;
    work.run = [&, run = work.run](const JobBatch& batch, const auto& look) {
      if (batch.images.size() > 1) throw MemoryError("no memory for {} pictures", batch.images.size());
      most = std::max<size_t>(most, batch.images.size());
      if (batch.images[0].index == 7) throw UsageError("not this one");
      return run(batch, look);
    };
  });
  EXPECT_EQ(outcome.images.size(), 39u);
  ASSERT_EQ(outcome.failed.size(), 1u);
  EXPECT_EQ(outcome.failed[0].image.index, 7u);
  EXPECT_EQ(log_.failures, (std::vector<std::string>{"not this one"}));
  EXPECT_EQ(most, 1u);
}

// Its time says nothing, and others may still be computed together.
TEST_F(Job, SearchesOnAfterAPictureThatCannotBeMade) {
  for (const size_t bad : {1, 2}) {
    const auto batches = job_of(60);
    std::map<size_t, size_t> sizes;
    const auto outcome = run(1, JobSchedule::dynamic, batches,
                             [&](int, JobWork& work) {
                               work.measures_batch_size = true;
                               work.run = [&, run = work.run](const JobBatch& batch, const auto& look) {
                                 for (const JobImage& image : batch.images)
                                   if (image.index == bad) throw UsageError("not this one");
                                 std::this_thread::sleep_for(milliseconds(20));
                                 ++sizes[batch.images.size()];
                                 return run(batch, look);
                               };
                             },
                             {.run = std::to_string(bad)});
    EXPECT_EQ(outcome.images.size(), 59u);
    ASSERT_EQ(outcome.failed.size(), 1u);
    EXPECT_EQ(outcome.failed[0].image.index, bad);
    EXPECT_GT(sizes[4], 0u) << bad;
  }
}

TEST_F(Job, EndsAsItsPicturesDidWhenAllFailAlike) {
  const auto batches = job_of(3);
  const auto outcome = run(2, JobSchedule::dynamic, batches, [](int, JobWork& work) {
    work.run = [](const JobBatch&, const auto&) -> JobWork::Save { throw UsageError("steps 0"); };
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
      if (rank == 1)
        work.run = [](const JobBatch&, const auto&) -> JobWork::Save {
          throw IoError("no space left on device");
        };
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_STREQ(error.what(), "rank 1 of 2: no space left on device");
  }
}

// Else a process that cannot load its model would take picture after picture and fail them all.
TEST_F(Job, EndsWhenAProcessCannotPrepare) {
  const auto batches = job_of(12);
  std::atomic<bool> failed = false;
  try {
    run(2, JobSchedule::dynamic, batches, [&](int rank, JobWork& work) {
      if (rank == 1)
        work.prepare = [&] {
          failed = true;
          throw MemoryError("the model does not fit");
        };
      else
        work.prepare = [&] {
          while (!failed) std::this_thread::yield();
        };
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::memory);
    EXPECT_STREQ(error.what(), "rank 1 of 2: the model does not fit");
  }
  EXPECT_TRUE(log_.failures.empty());
}

TEST_F(Job, TellsTheMainProcessOfErrorsOfAnyKind) {
  const auto batches = job_of(4);
  try {
    run(2, JobSchedule::fixed, batches, [](int rank, JobWork& work) {
      if (rank == 1) work.finish_share = [] { throw std::length_error("too many"); };
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::internal);
    EXPECT_STREQ(error.what(), "rank 1 of 2: too many");
  }
}

}  // namespace
}  // namespace diffract::jobs
