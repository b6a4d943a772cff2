// What is saved while the next batch is computed: order and failures.
#include <atomic>
#include <future>
#include <new>

#include "tests/jobs/job_fixture.h"

namespace diffract::jobs {
namespace {

constexpr auto kPatience = std::chrono::seconds(100);

// A job in one process, with its events in their order.
class Saving : public ::testing::Test {
 protected:
  void note(const std::string& event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
  }
  JobWork work() {
    return {
        .find_finished = [this] { return std::vector<Json>(batches_.size()); },
        .run = [this](const JobBatch& batch, const auto& look) -> JobWork::Save {
          const size_t index = batch.images[0].index;
          note(fmt::format("compute {}", index));
          compute_(index, look);
          return [this, index] {
            save_(index);
            note(fmt::format("saved {}", index));
            return Json::array({{{"index", index}}});
          };
        },
        .record_failure = [this](const JobBatch& batch,
                                 const Failure&) { note(fmt::format("failed {}", batch.images[0].index)); },
        .finished = [this](const JobBatch& batch) { note(fmt::format("told {}", batch.images[0].index)); },
        .finish_share = [this] { note("share"); },
        .progress = [](size_t) {}};
  }
  JobOutcome run() { return run_job(batches_, JobSchedule::dynamic, board_, work()); }
  size_t place_of(const std::string& event) const {
    const auto at = std::find(events_.begin(), events_.end(), event);
    EXPECT_NE(at, events_.end()) << event;
    return static_cast<size_t>(at - events_.begin());
  }

  std::vector<JobBatch> batches_ = job_of(4);
  LocalBoard board_;
  std::function<void(size_t, const std::function<void()>& look)> compute_ = [](size_t, const auto&) {};
  std::function<void(size_t)> save_ = [](size_t) {};
  std::mutex mutex_;
  std::vector<std::string> events_;
};

TEST_F(Saving, GoesOnBesideTheComputingOfTheNextBatch) {
  std::promise<void> second_began;
  auto began = second_began.get_future();
  compute_ = [&](size_t index, const auto&) {
    if (index == 1) second_began.set_value();
  };
  save_ = [&](size_t index) {
    if (index == 0) {
      EXPECT_EQ(began.wait_for(kPatience), std::future_status::ready);
    }
  };
  EXPECT_EQ(run().images.size(), 4u);
  EXPECT_LT(place_of("compute 1"), place_of("saved 0"));
}

TEST_F(Saving, KeepsTheOrderAndOneBatchAtMost) {
  save_ = [](size_t) { std::this_thread::sleep_for(milliseconds(20)); };
  run();
  const auto place = [&](const char* what, size_t i) { return place_of(fmt::format("{} {}", what, i)); };
  for (size_t i = 0; i < 4; ++i) EXPECT_LT(place("saved", i), place("told", i));
  for (size_t i = 1; i < 4; ++i) EXPECT_LT(place("saved", i - 1), place("saved", i));
  for (size_t i = 2; i < 4; ++i) EXPECT_LT(place("told", i - 2), place("compute", i));
  EXPECT_EQ(events_.back(), "share");
}

TEST_F(Saving, TellsTheBoardBetweenSteps) {
  compute_ = [&](size_t index, const auto& look) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (index == 1 && !board_.reported(0) && std::chrono::steady_clock::now() < deadline) look();
  };
  run();
  EXPECT_LT(place_of("told 0"), place_of("saved 1"));
}

TEST_F(Saving, EndsTheJobInTheMiddleOfABatchWhenTheDiskIsFull) {
  save_ = [](size_t index) {
    if (index == 1) throw IoError("no space left on device");
  };
  compute_ = [](size_t index, const auto& look) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    try {
      while (index == 2 && std::chrono::steady_clock::now() < deadline) look();
    } catch (const IoError&) {
      // Somebody between may take it for a step that failed and try another way.
    }
  };
  try {
    run();
    ADD_FAILURE() << "no error";
  } catch (const IoError& error) {
    EXPECT_STREQ(error.what(), "no space left on device");
  }
  EXPECT_EQ(events_.back(), "compute 2");
}

TEST_F(Saving, ThatRunsOutOfMemoryIsThatPicturesFailure) {
  save_ = [](size_t index) {
    if (index == 1) throw std::bad_alloc();
  };
  const JobOutcome outcome = run();
  EXPECT_EQ(outcome.images.size(), 3u);
  ASSERT_EQ(outcome.failed.size(), 1u);
  EXPECT_EQ(outcome.failed[0].image.index, 1u);
  EXPECT_EQ(outcome.failed[0].failure.kind, ErrorKind::memory);
  EXPECT_LT(place_of("failed 1"), place_of("saved 2"));
}

TEST_F(Saving, KeepsWhatWasComputedBeforeTheEnd) {
  save_ = [](size_t) { std::this_thread::sleep_for(milliseconds(20)); };
  compute_ = [](size_t index, const auto&) {
    if (index == 1) throw Cancelled("stopped by a signal");
  };
  EXPECT_THROW(run(), Cancelled);
  EXPECT_EQ(events_.back(), "saved 0");
}

}  // namespace
}  // namespace diffract::jobs
