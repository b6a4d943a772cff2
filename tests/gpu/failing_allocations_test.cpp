// GPU memory that runs out at any point of a request: a clear error, nothing leaked, and the next request is
// right.
#include <fmt/format.h>

#include <cstdlib>

#include "diffract/core/error.h"
#include "tests/gpu/failing_allocator.h"
#include "tests/gpu/gpu.h"
#include "tests/support/pictures.h"

namespace diffract::pipelines {
namespace {

using test::FailingAllocator;
using test::ReferenceCase;

int64_t points() {
  const char* given = std::getenv("DIFFRACT_FAILING_POINTS");
  return given ? std::atoll(given) : 40;  // of each pipeline
}

class GpuFailingAllocations : public test::Gpu {
 protected:
  // Every `stride`-th of the allocations that `run` makes fails in its turn. A pipeline of stages recovers:
  // it gives up its other models and begins the stage once more.
  void fail_each(const std::function<void()>& run, const std::function<void()>& check_next,
                 bool recovers = false) {
    auto& memory = FailingAllocator::install();
    run();  // what is allocated once and kept
    run();
    const int64_t begin = memory.allocations();
    run();
    const int64_t count = memory.allocations() - begin;
    ASSERT_GT(count, 100);
    const uint64_t used = backend_->memory(0).used;
    int64_t failed = 0, tried = 0;
    for (int64_t k = 1; k <= count; k += std::max<int64_t>(1, count / points()), ++tried) {
      memory.fail_allocation(k);
      try {
        run();  // a workspace that cuDNN does not get, it does without
      } catch (const MemoryError& error) {
        ++failed;
        EXPECT_NE(std::string(error.what()).find("out of device memory"), std::string::npos) << error.what();
      }
      memory.fail_allocation(0);
      check_next();
      EXPECT_EQ(backend_->memory(0).used, used) << "after allocation " << k << " of " << count << " failed";
      if (HasFailure()) return;
    }
    if (recovers)
      EXPECT_EQ(failed, 0) << "of " << tried;
    else
      EXPECT_GE(failed, tried * 9 / 10) << "of " << tried;
    fmt::print("{} of {} failures of {} allocations were reported\n", failed, tried, count);
  }

  void check(const char* name, std::optional<at::ScalarType> dtype, bool recovers = false) {
    const ReferenceCase reference(name);
    const auto pipeline = load_on_gpu(reference, dtype);
    Request request = reference.request();
    request.num_inference_steps = 4;  // as it is, recorded, replayed
    const auto images = [&] {
      request.prompt[0] += ' ';  // the same tokens, of a text that was not encoded before
      return pipeline(request).images;
    };
    const auto expected = images();
    fail_each([&] { images(); }, [&] { EXPECT_LE(test::largest_pixel_difference(images(), expected), 1); },
              recovers);
  }
};

TEST_F(GpuFailingAllocations, OfAStableDiffusionRequest) { check("sd15_euler", {}); }
TEST_F(GpuFailingAllocations, OfAStableDiffusionRequestInHalfPrecision) { check("sd15_unipc", at::kHalf); }
TEST_F(GpuFailingAllocations, OfAFluxRequestWithItsStages) {
  check("flux_dev", at::kBFloat16, /*recovers=*/true);
}

// Where a graph is recorded: each time with a new pipeline.
TEST_F(GpuFailingAllocations, OfLoadingAndRecording) {
  const ReferenceCase reference("sd15_euler");
  Request request = reference.request();
  request.num_inference_steps = 3;
  const auto expected = load_on_gpu(reference, at::kHalf)(request).images;
  std::vector<io::Image> found;
  const auto run = [&] { found = load_on_gpu(reference, at::kHalf)(request).images; };
  fail_each(run, [&] {
    run();
    EXPECT_LE(test::largest_pixel_difference(found, expected), 1);
  });
}

}  // namespace
}  // namespace diffract::pipelines
