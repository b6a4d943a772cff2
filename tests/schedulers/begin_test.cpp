// Walks that begin with a picture: what diffusers' schedulers do for image to image and inpainting.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "diffract/schedulers/schedule.h"
#include "diffract/tensor/noise.h"
#include "tests/support/temp_folder.h"

namespace diffract::schedulers {
namespace {

// As tools/make_begin_cases.py has them.
constexpr uint64_t kSeed = 42;
const std::vector<int64_t> kImageShape = {2, 3, 3};

// As for whole walks: diffusers computes coefficients in float32, we in float64.
constexpr double kTolerance = 1e-5;

double relative_error(const Tensor& found, const Json& expected) {
  const Tensor values = found.contiguous();
  const auto* value = values.const_data_ptr<float>();
  double worst = 0, largest = 1e-6;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(value[i] - expected[i].get<double>()));
    largest = std::max(largest, std::abs(expected[i].get<double>()));
  }
  return worst / largest;
}

void follow(const Json& expected) {
  const auto schedule = make_schedule(expected["class"], expected["config"], "config",
                                      {.num_inference_steps = expected["steps"]});
  const size_t begin = expected["begin"], left = expected["timesteps"].size();
  ASSERT_EQ(schedule->timesteps().size(), begin + left);
  schedule->begin_at(begin);
  tensor::SeededNoise source({kSeed, kSeed + 1}, kImageShape);
  const Tensor picture = source.draw(), noise = source.draw();
  Tensor sample = schedule->add_noise(picture, noise, begin);
  EXPECT_LT(relative_error(sample, expected["start"]), kTolerance);
  for (size_t i = 0; i < left; ++i) {
    const size_t index = begin + i;
    const double timestep = schedule->timesteps()[index];
    ASSERT_NEAR(timestep, expected["timesteps"][i].get<double>(), 1e-3);
    const Tensor output = 0.3 * schedule->scale_model_input(sample, index) + 0.1 * std::sin(timestep / 100);
    sample = schedule->step(output, index, sample, [&] { return source.draw(); });
    ASSERT_LT(relative_error(sample, expected["samples"][i]), kTolerance) << "after step " << i;
    if (i + 1 == left) break;
    ASSERT_LT(relative_error(schedule->add_noise(picture, noise, index + 1), expected["known"][i]),
              kTolerance)
        << "the known part after step " << i;
  }
}

TEST(WalksFromAPicture, FollowDiffusersStepByStep) {
  std::ifstream lines(test::data("schedulers/begin_cases.jsonl"));
  size_t cases = 0;
  for (std::string line; std::getline(lines, line); ++cases) {
    const Json expected = Json::parse(line);
    SCOPED_TRACE(fmt::format("{} {} steps from {}, {}", expected["class"].get<std::string>(),
                             expected["steps"].get<int>(), expected["begin"].get<int>(),
                             expected["config"].dump()));
    follow(expected);
  }
  EXPECT_GE(cases, 70u);
}

// Of LMS diffusers takes the coefficients of steps that a cut walk did not make (docs/differences.md). Where
// the model predicts the picture that is there, all derivatives are the same and any order walks a line.
TEST(WalksFromAPicture, LinearMultistepBeginsAsAWholeWalkDoes) {
  const auto schedule =
      make_schedule("LMSDiscreteScheduler", Json::object(), "config", {.num_inference_steps = 8});
  schedule->begin_at(3);
  const Tensor picture = at::full({1, 1}, 0.5), noise = at::ones({1, 1});
  Tensor sample = schedule->add_noise(picture, noise, 3);
  for (size_t i = 3; i < 8; ++i) {
    sample = schedule->step(noise, i, sample, [] { return Tensor(); });
    if (i + 1 < 8) {
      EXPECT_LT((sample - schedule->add_noise(picture, noise, i + 1)).abs().item<double>(), 1e-5) << i;
    }
  }
  EXPECT_LT((sample - picture).abs().item<double>(), 1e-5);
}

}  // namespace
}  // namespace diffract::schedulers
