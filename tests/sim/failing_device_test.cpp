// A device that fails whatever it is told, as a GPU does after a kernel's error.
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/pipelines/job_runner.h"
#include "tests/sim/sim_support.h"

namespace diffract::pipelines {
namespace {

class FailingDevice : public ::testing::Test {
 protected:
  void TearDown() override { sim::backend().set_broken(false); }
  // Three pictures, each of which meets an error of libtorch's.
  static JobOutcome run() {
    Request request;
    request.prompt = {"a", "b", "c"};
    const auto batches = plan_job({{.request = request}}, 0, 1);
    LocalBoard board;
    return run_job(batches, JobSchedule::dynamic, board,
                   {.find_finished = [&] { return std::vector<Json>(batches.size()); },
                    .run = [](const JobBatch&) -> Json { TORCH_CHECK(false, "a kernel failed"); },
                    .record_failure = [](const JobBatch&, const Failure&) {},
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
