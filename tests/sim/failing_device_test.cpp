// A device that fails whatever it is told, as a GPU does after a kernel's error.
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/jobs/job_runner.h"
#include "tests/sim/sim_support.h"

namespace diffract::pipelines {
namespace {

class FailingDevice : public ::testing::Test {
 protected:
  void TearDown() override { sim::backend().set_broken(false); }
  // Three pictures, each of which meets an error of libtorch's.
  static jobs::JobOutcome run() {
    Request request;
    request.prompt = {"a", "b", "c"};
    const auto batches = jobs::plan_job({request}, 0, 1);
    jobs::LocalBoard board;
    return jobs::run_job(batches, jobs::JobSchedule::dynamic, board,
                         {.find_finished = [&] { return std::vector<Json>(batches.size()); },
                          .run = [](const jobs::JobBatch&, const auto&) -> jobs::JobWork::Save {
                            TORCH_CHECK(false, "a kernel failed");
                          },
                          .record_failure = [](const jobs::JobBatch&, const jobs::Failure&) {},
                          .finish_share = [] {},
                          .progress = [](size_t) {}});
  }
};

TEST_F(FailingDevice, EndsAJobInsteadOfFailingItPictureByPicture) {
  const at::Tensor used = at::empty({8}, at::TensorOptions(sim::device(0)));
  EXPECT_EQ(run().failed.size(), 3u);  // the device does what it is told: the error is the picture's
  sim::backend().set_broken(true);
  EXPECT_THROW(run(), c10::Error);
}

}  // namespace
}  // namespace diffract::pipelines
