// Memory that runs out at any point of a request: a clear error, nothing leaked, and the next request is
// right.
#include <gtest/gtest.h>

#include <cstdlib>

#include "diffract/core/error.h"
#include "diffract/families/diffusion_pipeline.h"
#include "tests/sim/sim_support.h"
#include "tests/support/reference_case.h"

namespace diffract::pipelines {
namespace {

using placement::DeviceMap;
using test::ReferenceCase;

int64_t points() {
  const char* given = std::getenv("DIFFRACT_FAILING_POINTS");
  return given ? std::atoll(given) : 30;  // of each pipeline
}

loading::LoadOptions spread_options(const ReferenceCase& reference, const DeviceMap& map) {
  loading::LoadOptions options = reference.load_options();
  options.device = sim::device(0);
  options.device_map = map;
  return options;
}

// What becomes of a run in which an allocation fails: it says so, or, where models that are kept for the next
// request can give way, it may begin a stage again and come to its end.
enum class Outcome { told, told_or_recovered };

// Every `stride`-th of the allocations that `run` makes fails in its turn.
void fail_each(const std::function<void()>& run, const std::function<void()>& check_next,
               Outcome outcome = Outcome::told) {
  auto& backend = sim::backend();
  run();  // what is allocated once and kept
  const int64_t begin = backend.allocations();
  run();
  const int64_t count = backend.allocations() - begin;
  const int64_t blocks = backend.live_blocks();
  const int64_t stride = std::max<int64_t>(1, count / points());
  ASSERT_GT(count, 100);
  for (int64_t k = 1; k <= count; k += stride) {
    backend.fail_allocation(k);
    try {
      run();
      if (outcome == Outcome::told)
        ADD_FAILURE() << "allocation " << k << " of " << count << " failed, and nobody was told";
    } catch (const MemoryError& error) {
      EXPECT_NE(std::string(error.what()).find("sim"), std::string::npos) << error.what();
    }
    backend.fail_allocation(0);
    if (outcome == Outcome::told_or_recovered) {
      EXPECT_LE(backend.live_blocks(), blocks) << "after allocation " << k << " of " << count << " failed";
      check_next();  // brings back the models that gave way
    }
    EXPECT_EQ(backend.live_blocks(), blocks) << "after allocation " << k << " of " << count << " failed";
    check_next();
    if (::testing::Test::HasFailure()) return;
  }
}

void check_pipeline(const std::string& name, const DeviceMap& map, Outcome outcome = Outcome::told) {
  const ReferenceCase reference(name);
  auto pipeline = families::DiffusionPipeline::from_pretrained(reference.checkpoint().string(),
                                                               spread_options(reference, map));
  Request request = reference.request();
  request.num_inference_steps = 2;
  request.height = request.width = 64;
  const auto pixels = [&] {
    request.prompt[0] += ' ';  // the same tokens, of a text that was not encoded before
    return pipeline(request).images[0].pixels;
  };
  const auto expected = pixels();
  const auto check = [&] { EXPECT_EQ(pixels(), expected); };
  fail_each(check, check, outcome);
}

TEST(FailingAllocations, OfAFluxRequestWithItsStages) {
  check_pipeline("flux_dev",
                 {{"text_encoder", 1},
                  {"text_encoder_2", "cpu"},
                  {"transformer", 0},
                  {"transformer.transformer_blocks.1", "disk"},
                  {"transformer.single_transformer_blocks.0", 1},
                  {"transformer.single_transformer_blocks.1", "cpu"},
                  {"vae", 1}},
                 Outcome::told_or_recovered);
}

TEST(FailingAllocations, OfAStableDiffusionRequest) {
  check_pipeline("sd15_euler", {{"text_encoder", 1},
                                {"unet", 0},
                                {"unet.mid_block", "disk"},
                                {"unet.up_blocks.1", 1},
                                {"unet.down_blocks.0", "cpu"},
                                {"vae", "cpu"}});
}

TEST(FailingAllocations, OfLoading) {
  const ReferenceCase reference("sd15_euler");
  const auto load = [&] {
    families::DiffusionPipeline::from_pretrained(reference.checkpoint().string(),
                                                 spread_options(reference, {{"", 0}, {"unet.mid_block", 1}}));
  };
  fail_each(load, [&] { EXPECT_NO_THROW(load()); });
}

}  // namespace
}  // namespace diffract::pipelines
