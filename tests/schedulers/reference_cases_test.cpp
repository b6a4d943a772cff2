#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "diffract/schedulers/schedule.h"
#include "diffract/tensor/noise.h"
#include "tests/support/temp_folder.h"

namespace diffract::schedulers {
namespace {

// As tools/make_scheduler_cases.py has them.
constexpr uint64_t kSeed = 42;
const std::vector<int64_t> kImageShape = {2, 3, 3}, kLearnedShape = {3, 3, 3};

// diffusers computes the solvers' coefficients in float32, we in float64. Coefficients that are small
// differences of large numbers lose digits there: 1e-5 is twice the worst error seen.
constexpr double kTolerance = 1e-5;

Tensor stand_in_model(const Tensor& input, double timestep, bool learned_variance) {
  const Tensor output = 0.3 * input + 0.1 * std::sin(timestep / 100);
  return learned_variance ? at::cat({output, 0.1 + 0.05 * input.sin()}, 1) : output;
}

ScheduleRequest request_of(const Json& expected) {
  ScheduleRequest request{.num_inference_steps = expected["steps"], .eta = expected["eta"]};
  request.timesteps = expected.value("own_timesteps", std::vector<double>());
  request.sigmas = expected.value("sigmas", std::vector<float>());
  if (expected.contains("mu")) request.mu = expected["mu"].get<double>();
  return request;
}

// A step that takes a sample of thousands (zero terminal SNR begins at sigma 4096) down to one of tens rounds
// at the thousands' last float32 digit, and later steps keep that difference.
constexpr double kRounding = 0x1p-23;

// DEIS on a straight path begins at alpha 0.001 and divides by it: its first step takes the difference of
// samples hundreds of times as large.
double magnified_by(const Json& expected) {
  constexpr double kFirstStep = 500;
  const bool is_flow = expected["config"].value("use_flow_sigmas", false);
  return is_flow && expected["class"] == "DEISMultistepScheduler" ? kFirstStep : 1;
}

double largest(const Json& values) {
  double most = 0;
  for (const Json& value : values) most = std::max(most, std::abs(value.get<double>()));
  return most;
}

double worst_error(const Tensor& found, const Json& expected) {
  const auto* values = found.const_data_ptr<float>();
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    worst = std::max(worst, std::abs(values[i] - expected[i].get<double>()));
  return worst;
}

void follow(const Json& expected) {
  const auto schedule = make_schedule(expected["class"], expected["config"], "config", request_of(expected));
  const double rounding = kRounding * magnified_by(expected);
  const bool learned = expected.value("learned", false);
  ASSERT_EQ(schedule->timesteps().size(), expected["timesteps"].size());
  EXPECT_NEAR(schedule->init_noise_sigma(), expected["init_noise_sigma"].get<double>(),
              1e-6 * expected["init_noise_sigma"].get<double>());
  tensor::SeededNoise noise({kSeed, kSeed + 1}, learned ? kLearnedShape : kImageShape);
  Tensor sample = noise.draw() * schedule->init_noise_sigma();
  double largest_so_far = sample.abs().max().item<double>();
  for (size_t i = 0; i < schedule->timesteps().size(); ++i) {
    const double timestep = schedule->timesteps()[i];
    ASSERT_NEAR(timestep, expected["timesteps"][i].get<double>(), 1e-3) << "timestep of step " << i;
    const Tensor output = stand_in_model(schedule->scale_model_input(sample, i), timestep, learned);
    sample = schedule->step(output, i, sample, [&] { return noise.draw(); }).contiguous();
    const Json& wanted = expected["samples"][i];
    ASSERT_LT(worst_error(sample, wanted), kTolerance * largest(wanted) + rounding * largest_so_far)
        << "sample after step " << i;
    largest_so_far = std::max(largest_so_far, largest(wanted));
  }
}

// All cases of one class, each with its config in the failure's message.
void follow_all(const std::string& class_name, size_t at_least) {
  std::ifstream lines(test::data("schedulers/cases.jsonl"));
  size_t cases = 0;
  for (std::string line; std::getline(lines, line);) {
    const Json expected = Json::parse(line);
    if (expected["class"] != class_name) continue;
    ++cases;
    SCOPED_TRACE(fmt::format("{} steps, eta {}, {}", expected["steps"].get<int>(),
                             expected["eta"].get<double>(), expected["config"].dump()));
    follow(expected);
  }
  EXPECT_GE(cases, at_least);
}

TEST(DDIM, FollowsDiffusersStepByStep) { follow_all("DDIMScheduler", 20); }
TEST(DDPM, FollowsDiffusersStepByStep) { follow_all("DDPMScheduler", 25); }
TEST(DEISMultistep, FollowsDiffusersStepByStep) { follow_all("DEISMultistepScheduler", 75); }
TEST(PNDM, FollowsDiffusersStepByStep) { follow_all("PNDMScheduler", 20); }
TEST(EulerDiscrete, FollowsDiffusersStepByStep) { follow_all("EulerDiscreteScheduler", 30); }
TEST(EulerAncestralDiscrete, FollowsDiffusersStepByStep) {
  follow_all("EulerAncestralDiscreteScheduler", 15);
}
TEST(FlowMatchEulerDiscrete, FollowsDiffusersStepByStep) {
  follow_all("FlowMatchEulerDiscreteScheduler", 60);
}
TEST(LMSDiscrete, FollowsDiffusersStepByStep) { follow_all("LMSDiscreteScheduler", 25); }
TEST(HeunDiscrete, FollowsDiffusersStepByStep) { follow_all("HeunDiscreteScheduler", 25); }
TEST(DPMSolverMultistep, FollowsDiffusersStepByStep) { follow_all("DPMSolverMultistepScheduler", 90); }
TEST(UniPCMultistep, FollowsDiffusersStepByStep) { follow_all("UniPCMultistepScheduler", 65); }
TEST(DPMSolverSinglestep, FollowsDiffusersStepByStep) { follow_all("DPMSolverSinglestepScheduler", 90); }
TEST(KDPM2Discrete, FollowsDiffusersStepByStep) { follow_all("KDPM2DiscreteScheduler", 25); }
TEST(KDPM2AncestralDiscrete, FollowsDiffusersStepByStep) {
  follow_all("KDPM2AncestralDiscreteScheduler", 25);
}
TEST(LCM, FollowsDiffusersStepByStep) { follow_all("LCMScheduler", 15); }
TEST(TCD, FollowsDiffusersStepByStep) { follow_all("TCDScheduler", 45); }
TEST(IPNDM, FollowsDiffusersStepByStep) { follow_all("IPNDMScheduler", 7); }
TEST(SASolver, FollowsDiffusersStepByStep) { follow_all("SASolverScheduler", 50); }
TEST(EDMEuler, FollowsDiffusersStepByStep) { follow_all("EDMEulerScheduler", 12); }
TEST(EDMDPMSolverMultistep, FollowsDiffusersStepByStep) { follow_all("EDMDPMSolverMultistepScheduler", 45); }

}  // namespace
}  // namespace diffract::schedulers
