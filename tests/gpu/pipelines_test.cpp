// Every reference case of diffusers on the GPU: step by step, pixel by pixel.
#include <fmt/format.h>

#include "diffract/core/error.h"
#include "diffract/io/png.h"
#include "tests/gpu/gpu.h"
#include "tests/support/reference_case.h"

namespace diffract::pipelines {
namespace {

using test::ReferenceCase;
using test::relative_error;

// In float32, without TF32. The sums come out in other orders than on a CPU, which the steps add up.
constexpr double kLatentTolerance = 1e-3;
constexpr int kPixelTolerance = 3;

int largest_pixel_difference(const io::Image& a, const io::Image& b) {
  EXPECT_EQ(a.pixels.size(), b.pixels.size());
  int worst = 0;
  for (size_t i = 0; i < std::min(a.pixels.size(), b.pixels.size()); ++i)
    worst = std::max(worst, std::abs(int{a.pixels[i]} - int{b.pixels[i]}));
  return worst;
}

class GpuCase : public test::Gpu, public ::testing::WithParamInterface<std::string> {};

TEST_P(GpuCase, GivesDiffusersLatentsAndPixels) {
  const ReferenceCase expected(GetParam());
  LoadOptions options = expected.load_options();
  options.device = at::Device(at::kCUDA, 0);
  const auto pipeline = expected.load(options);
  double worst = 0;
  const auto observe = [&](const StepReport& step) {
    const at::Tensor wanted = expected.tensor(fmt::format("latents_{:03}", step.index));
    const double error = relative_error(step.latents.cpu(), wanted);
    worst = std::max(worst, error);
    EXPECT_LT(error, kLatentTolerance) << "after step " << step.index;
  };
  const Output result = pipeline(expected.request(), observe);
  EXPECT_LT(relative_error(result.latents.cpu(), expected.tensor("latents")), kLatentTolerance);
  ASSERT_EQ(result.images.size(), expected.request().image_count());
  int pixels = 0;
  for (size_t i = 0; i < result.images.size(); ++i) {
    const auto png = io::load_png(expected.folder() / fmt::format("image_{}.png", i));
    pixels = std::max(pixels, largest_pixel_difference(result.images[i], png.image));
  }
  EXPECT_LE(pixels, kPixelTolerance);
  fmt::print("{}: latents {:.1e}, pixels {}\n", GetParam(), worst, pixels);
}

INSTANTIATE_TEST_SUITE_P(Reference, GpuCase, ::testing::ValuesIn(test::reference_cases("")),
                         [](const auto& info) { return info.param; });

class GpuErrors : public test::Gpu {};

TEST_F(GpuErrors, OutOfMemoryIsAnErrorAndTheProcessGoesOn) {
  const ReferenceCase some("sd15_euler");
  LoadOptions options = some.load_options();
  options.device = at::Device(at::kCUDA, 0);
  const auto pipeline = some.load(options);
  backend_->empty_cache();
  backend_->set_limit(0, backend_->memory(0).used + (uint64_t{8} << 20));
  Request large = some.request();
  large.height = large.width = 1024;
  large.num_inference_steps = 2;
  EXPECT_THROW(pipeline(large), MemoryError);
  backend_->set_limit(0, std::nullopt);
  EXPECT_EQ(pipeline(some.request()).images.size(), some.request().image_count());
}

}  // namespace
}  // namespace diffract::pipelines
