#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "diffract/core/error.h"
#include "diffract/schedulers/foreign_schedulers.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/schedulers/scheduler_spec.h"
#include "tests/support/temp_folder.h"

namespace diffract::schedulers {
namespace {

using test::error_of;

void make(const std::string& name, const Json& config, int64_t steps, double eta = 0) {
  make_schedule(name, config, "scheduler_config.json", {.num_inference_steps = steps, .eta = eta});
}

constexpr const char* kFlow = "FlowMatchEulerDiscreteScheduler";

// Those that know neither a training schedule nor a spacing of timesteps.
bool has_own_keys(const std::string& name) {
  return name == kFlow || name.starts_with("EDM") || name == "IPNDMScheduler";
}

TEST(MakeSchedule, ListsTheKnownClassesForAnUnknownOne) {
  const auto message = error_of<UsageError>([] { make("EulerScheduler", Json::object(), 5); });
  EXPECT_NE(message.find("EulerDiscreteScheduler"), std::string::npos) << message;
  EXPECT_EQ(scheduler_names().size(), 20u);
  EXPECT_TRUE(std::is_sorted(scheduler_names().begin(), scheduler_names().end()));
}

TEST(MakeSchedule, KnowsWhatOtherProgramsCallItsClasses) {
  const std::pair<const char*, const char*> names[] = {
      {"euler_a", "it is EulerAncestralDiscreteScheduler here"},
      {"Euler a", "it is EulerAncestralDiscreteScheduler here"},
      {"euler", "it is EulerDiscreteScheduler here"},
      {"EulerDiscrete", "it is EulerDiscreteScheduler here"},
      {"dpmpp_2m", "it is DPMSolverMultistepScheduler here"},
      {"DPM++ 2M Karras", R"(DPMSolverMultistepScheduler here, with the config {"use_karras_sigmas": true})"},
      {"DPM++ 2M SDE", R"({"algorithm_type": "sde-dpmsolver++"})"},
      {"uni_pc", "it is UniPCMultistepScheduler here"},
      {"SCMScheduler", "it is not there yet"},
      {"lcm", "it is LCMScheduler here"},
      {"DPM2 a", "it is KDPM2AncestralDiscreteScheduler here"},
      {"DPM++ SDE Karras",
       R"(DPMSolverSinglestepScheduler here, with the config {"use_karras_sigmas": true})"},
      {"deis", "it is DEISMultistepScheduler here"},
      {"PNDMSheduler", "did you mean PNDMScheduler?"},
      {"UniPCMultistep2Scheduler", "did you mean UniPCMultistepScheduler?"}};
  for (const auto& [name, advice] : names) {
    const auto message = error_of<UsageError>([&] { make(name, Json::object(), 5); });
    EXPECT_NE(message.find(advice), std::string::npos) << message;
  }
  for (const char* unlike : {"SCMScheduler", "XYZScheduler"}) {
    const auto message = error_of<UsageError>([&] { make(unlike, Json::object(), 5); });
    EXPECT_EQ(message.find("did you mean"), std::string::npos) << message;
  }
}

// An advice must be one that can be followed.
TEST(ForeignSchedulers, NameClassesAndConfigsThatThereAre) {
  for (const ForeignName& entry : foreign_schedulers()) {
    const std::string advice(entry.advice);
    if (advice.find("not there yet") != std::string::npos) {
      EXPECT_EQ(traits_of(std::string(entry.name)), nullptr);
      continue;
    }
    constexpr std::string_view kBegin = "it is ";
    ASSERT_TRUE(advice.starts_with(kBegin)) << advice;
    const std::string name = advice.substr(kBegin.size(), advice.find(' ', kBegin.size()) - kBegin.size());
    const size_t config = advice.find('{');
    make(name, config == std::string::npos ? Json::object() : Json::parse(advice.substr(config)), 5);
  }
}

TEST(MakeSchedule, RefusesStepsAndEtaOutOfRange) {
  for (const auto& name : scheduler_names()) {
    EXPECT_NE(error_of<UsageError>([&] { make(name, Json::object(), 0); }), "<no error>") << name;
    EXPECT_NE(error_of<UsageError>([&] { make(name, Json::object(), -3); }), "<no error>") << name;
    EXPECT_NE(error_of<UsageError>([&] { make(name, Json::object(), 5, 1.5); }), "<no error>") << name;
    EXPECT_NE(error_of<UsageError>([&] { make(name, Json::object(), 5, std::nan("")); }), "<no error>")
        << name;
  }
}

TEST(MakeSchedule, NamesTheBadKeyOfAConfig) {
  const std::pair<const char*, Json> bad[] = {
      {"num_train_timesteps", 1},
      {"num_train_timesteps", "many"},
      {"num_train_timesteps", 1e12},
      {"beta_start", -0.1},
      {"beta_end", 2},
      {"beta_schedule", "magic"},
      {"timestep_spacing", "even"},
      {"steps_offset", -1},
      {"prediction_type", "flow"},
      {"trained_betas", Json::array({0.1, 2.0})},
      {"trained_betas", "all"},
  };
  for (const auto& name : scheduler_names()) {
    if (has_own_keys(name)) continue;  // below
    for (const auto& [key, value] : bad) {
      // These three look at no spacing.
      const bool spaces =
          name != "DPMSolverSinglestepScheduler" && name != "LCMScheduler" && name != "TCDScheduler";
      if (!spaces && (std::string_view(key) == "timestep_spacing" || std::string_view(key) == "steps_offset"))
        continue;
      const auto message = error_of<CheckpointError>([&] { make(name, Json{{key, value}}, 5); });
      EXPECT_NE(message.find(std::string("\"") + key + "\""), std::string::npos) << name << ": " << message;
      EXPECT_NE(message.find("scheduler_config.json"), std::string::npos) << message;
    }
  }
}

TEST(MakeSchedule, NamesTheBadKeyOfAFlowConfig) {
  const std::pair<const char*, Json> bad[] = {
      {"num_train_timesteps", 0},     {"shift", -1},           {"shift", "x"},
      {"use_dynamic_shifting", 1},    {"invert_sigmas", "no"}, {"time_shift_type", "square"},
      {"shift_terminal", 1.5},        {"shift_terminal", -1},  {"stochastic_sampling", 2},
      {"use_karras_sigmas", "maybe"},
  };
  for (const auto& [key, value] : bad) {
    const auto message = error_of<CheckpointError>([&] { make(kFlow, Json{{key, value}}, 5); });
    EXPECT_NE(message.find(std::string("\"") + key + "\""), std::string::npos) << message;
  }
  EXPECT_NE(error_of<UsageError>([] {
              make(kFlow, {{"use_dynamic_shifting", true}}, 5);
            }).find("mu"),
            std::string::npos);
}

TEST(MakeSchedule, NamesTheBadKeyOfAnEdmConfig) {
  const std::pair<const char*, Json> bad[] = {
      {"sigma_min", 0}, {"sigma_min", 90},          {"sigma_max", "x"},     {"sigma_data", -1},
      {"rho", 0},       {"sigma_schedule", "even"}, {"prediction_type", 3}, {"final_sigmas_type", "one"}};
  for (const char* name : {"EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"})
    for (const auto& [key, value] : bad) {
      const auto message = error_of<CheckpointError>([&] { make(name, Json{{key, value}}, 5); });
      EXPECT_NE(message.find(std::string("\"") + key + "\""), std::string::npos) << name << ": " << message;
    }
}

TEST(IPNDM, TakesSharesAsTrainedBetas) {
  for (const Json& bad : {Json::array({0.5}), Json::array({0.5, 1.5}), Json("all")})
    EXPECT_NE(error_of<CheckpointError>([&] {
                make("IPNDMScheduler", {{"trained_betas", bad}}, 5);
              }).find("trained_betas"),
              std::string::npos);
}

TEST(FlowSigmas, GoWithThePredictionOfAFlow) {
  const auto said = [](const char* name, const Json& config) {
    return error_of<CheckpointError>([&] { make(name, config, 5); });
  };
  for (const char* name : {"DEISMultistepScheduler", "DPMSolverMultistepScheduler",
                           "DPMSolverSinglestepScheduler", "SASolverScheduler", "UniPCMultistepScheduler"}) {
    EXPECT_EQ(path_of({.class_name = name, .config = {{"use_flow_sigmas", true}}}), Path::flow);
    EXPECT_EQ(path_of({.class_name = name}), Path::diffusion);
    EXPECT_NE(said(name, {{"prediction_type", "flow_prediction"}}).find("use_flow_sigmas"),
              std::string::npos);
    EXPECT_NE(said(name, {{"use_flow_sigmas", true}, {"use_beta_sigmas", true}}).find("use_flow_sigmas"),
              std::string::npos);
    EXPECT_NE(said(name, {{"use_flow_sigmas", true}, {"flow_shift", -1}}).find("flow_shift"),
              std::string::npos);
  }
  EXPECT_NE(said("UniPCMultistepScheduler", {{"shift_terminal", 0.1}}).find("use_flow_sigmas"),
            std::string::npos);
  EXPECT_NE(error_of<UsageError>([] {
              make("UniPCMultistepScheduler", {{"use_flow_sigmas", true}, {"use_dynamic_shifting", true}}, 5);
            }).find("mu"),
            std::string::npos);
}

TEST(UniPCMultistep, RefusesAPredictorThatVisitsOtherTimesteps) {
  const auto said = [](const Json& solver) {
    return error_of<CheckpointError>([&] { make("UniPCMultistepScheduler", {{"solver_p", solver}}, 5); });
  };
  EXPECT_NE(said({{"_class_name", "DDIMScheduler"}}).find("timestep_spacing"), std::string::npos);
  EXPECT_NE(said(Json::object()).find("_class_name"), std::string::npos);
  EXPECT_NE(said(3).find("solver_p"), std::string::npos);
}

// A schedule of the request's own.
void make_own(const std::string& name, const Json& config, const ScheduleRequest& request) {
  make_schedule(name, config, "scheduler_config.json", request);
}

TEST(OwnSchedule, IsRefusedByNameWhereASchedulerTakesNone) {
  for (const auto& name : scheduler_names()) {
    const SchedulerTraits& traits = *traits_of(name);
    const auto timesteps = error_of<UsageError>([&] {
      make_own(name, Json::object(), {.timesteps = {900, 500, 100}});
    });
    EXPECT_EQ(timesteps == "<no error>", traits.takes_timesteps) << name << ": " << timesteps;
    if (!traits.takes_timesteps) {
      EXPECT_NE(timesteps.find("timesteps: " + name), std::string::npos) << timesteps;
      EXPECT_NE(timesteps.find("EulerDiscreteScheduler"), std::string::npos) << timesteps;
    }
    const Json config = name == "UniPCMultistepScheduler" ? Json{{"use_flow_sigmas", true}} : Json::object();
    const auto sigmas = error_of<UsageError>([&] { make_own(name, config, {.sigmas = {0.9f, 0.5f, 0.1f}}); });
    EXPECT_EQ(sigmas == "<no error>", traits.takes_sigmas) << name << ": " << sigmas;
  }
  EXPECT_NE(error_of<UsageError>([] {
              make_own("UniPCMultistepScheduler", Json::object(), {.sigmas = {0.9f}});
            }).find("use_flow_sigmas"),
            std::string::npos);
}

TEST(OwnSchedule, IsCheckedBeforeItIsWalked) {
  const std::vector<double> bad_timesteps[] = {
      {1000, 5},      {-1},       {5, 5},     {5, 6},
      {std::nan("")}, {HUGE_VAL}, {900.5, 3}, std::vector<double>(20'000, 1)};
  for (const auto& timesteps : bad_timesteps)
    EXPECT_NE(error_of<UsageError>([&] {
                make_own("DDPMScheduler", Json::object(), {.timesteps = timesteps});
              }).find("timesteps"),
              std::string::npos);
  const std::vector<float> bad_sigmas[] = {{1}, {1, 2}, {1, 0, 0}, {NAN, 0}, {INFINITY, 0}, {1, -1}};
  for (const auto& sigmas : bad_sigmas)
    EXPECT_NE(error_of<UsageError>([&] {
                make_own("EulerDiscreteScheduler", Json::object(), {.sigmas = sigmas});
              }).find("sigmas"),
              std::string::npos);
  for (const auto& sigmas : {std::vector<float>{1.5f, 0.5f}, {0.5f, 0.5f}, {0.5f, 0.0f}, {NAN}})
    EXPECT_NE(
        error_of<UsageError>([&] { make_own(kFlow, Json::object(), {.sigmas = sigmas}); }).find("sigmas"),
        std::string::npos);
  EXPECT_NE(error_of<UsageError>([] {
              make_own("EulerDiscreteScheduler", Json::object(), {.timesteps = {5}, .sigmas = {1, 0}});
            }).find("either"),
            std::string::npos);
  for (const char* key : {"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"})
    EXPECT_NE(error_of<UsageError>([&] {
                make_own("DPMSolverMultistepScheduler", {{key, true}}, {.timesteps = {900, 5}});
              }).find(key),
              std::string::npos);
}

TEST(DistilledSchedulers, TakeNoMoreStepsThanTheModelWasDistilledAt) {
  for (const char* name : {"LCMScheduler", "TCDScheduler"}) {
    EXPECT_NE(error_of<UsageError>([&] { make(name, Json::object(), 51); }).find("original_inference_steps"),
              std::string::npos);
    EXPECT_NE(error_of<CheckpointError>([&] {
                make(name, {{"original_inference_steps", 2000}}, 5);
              }).find("original_inference_steps"),
              std::string::npos);
  }
}

TEST(LearnedVariance, IsTheSecondHalfOfTheModelsOutput) {
  const auto schedule =
      make_schedule("DDPMScheduler", {{"variance_type", "learned_range"}}, "", {.num_inference_steps = 3});
  const Tensor sample = at::ones({1, 2, 2, 2});
  EXPECT_NE(error_of<CheckpointError>([&] { schedule->step(sample, 0, sample, {}); }).find("variance_type"),
            std::string::npos);
}

TEST(MakeSchedule, RefusesWhatItDoesNotBuildRatherThanIgnoringIt) {
  EXPECT_NE(error_of<CheckpointError>([] {
              make("SASolverScheduler", {{"tau_func", "x"}}, 5);
            }),
            "<no error>");
  EXPECT_NE(error_of<CheckpointError>([] {
              make("EulerDiscreteScheduler", {{"use_karras_sigmas", true}, {"use_beta_sigmas", true}}, 5);
            }),
            "<no error>");
  EXPECT_NE(error_of<CheckpointError>([] {
              make("DPMSolverMultistepScheduler", {{"algorithm_type", "dpmsolver"}}, 5);
            }),
            "<no error>");
}

TEST(MakeSchedule, RefusesMoreStepsThanTheModelWasTrainedAt) {
  EXPECT_NE(error_of<UsageError>([] { make("DDIMScheduler", Json::object(), 1001); }), "<no error>");
  EXPECT_NE(error_of<UsageError>([] {
              make("PNDMScheduler", {{"skip_prk_steps", true}}, 1001);
            }),
            "<no error>");
  // An offset of 1 leads one beyond the last timestep that there is.
  EXPECT_NE(error_of<UsageError>([] { make("DDIMScheduler", {{"steps_offset", 1}}, 1000); }), "<no error>");
  EXPECT_NE(error_of<UsageError>([] {
              make("PNDMScheduler", {{"skip_prk_steps", false}}, 3);
            }),
            "<no error>");
}

// Betas of a model of 100 timesteps whose last one leaves nothing of the picture: zero terminal SNR, as
// trainers wrote it before the config had a key for it.
Json zero_snr(const Json& more) {
  std::vector<double> betas(100, 0.01);
  betas.back() = 1;
  Json config = {{"trained_betas", betas}, {"num_train_timesteps", 100}};
  config.update(more);
  return config;
}

TEST(ZeroTerminalSnr, IsRefusedWhereSomethingDividesByWhatIsLeft) {
  const Json trailing = {{"timestep_spacing", "trailing"}}, leading = {{"timestep_spacing", "leading"}};
  for (const auto& name : scheduler_names()) {
    if (has_own_keys(name)) continue;
    const auto message = error_of<CheckpointError>([&] { make(name, zero_snr(trailing), 4); });
    EXPECT_NE(message.find("trained_betas"), std::string::npos) << name << ": " << message;
    EXPECT_NE(message.find("zero terminal SNR"), std::string::npos) << message;
    EXPECT_NE(message.find("config.json"), std::string::npos) << message;
    // These two begin at the end of the table always, and this one near it, whatever the spacing.
    if (name == "LCMScheduler" || name == "TCDScheduler" || name == "DPMSolverSinglestepScheduler") continue;
    // Only a walk that begins at the end of the table comes there.
    const Json config = name == "PNDMScheduler" ? Json({{"skip_prk_steps", true}}) : Json::object();
    Json begins_earlier = leading;
    begins_earlier.update(config);
    EXPECT_NO_THROW(make(name, zero_snr(begins_earlier), 4)) << name;
  }
}

TEST(ZeroTerminalSnr, IsWhatAModelThatPredictsVBeginsWith) {
  for (const char* name : {"DDIMScheduler", "DDPMScheduler"}) {
    Json config = {{"rescale_betas_zero_snr", true}, {"timestep_spacing", "trailing"}};
    const auto message = error_of<CheckpointError>([&] { make(name, config, 4); });
    EXPECT_NE(message.find("\"rescale_betas_zero_snr\""), std::string::npos) << message;
    EXPECT_NE(message.find("v_prediction"), std::string::npos) << message;
    config["prediction_type"] = "v_prediction";
    EXPECT_NO_THROW(make(name, config, 4));
    EXPECT_NO_THROW(make(name, zero_snr(config), 4));
  }
}

TEST(ZeroTerminalSnr, IsBlamedOnTheKeyThatMakesIt) {
  const auto said = [](const char* name, Json config) {
    config["timestep_spacing"] = "trailing";
    return error_of<CheckpointError>([&] { make(name, config, 4); });
  };
  const Json rescaled = {{"rescale_betas_zero_snr", true}};
  EXPECT_NE(said("DDIMScheduler", rescaled).find("\"rescale_betas_zero_snr\" leaves"), std::string::npos);
  EXPECT_NE(said("DDIMScheduler", zero_snr(rescaled)).find("\"trained_betas\" leaves"), std::string::npos);
  // PNDM does not read rescale_betas_zero_snr.
  const auto message = said("PNDMScheduler", {{"beta_end", 1}, {"rescale_betas_zero_snr", true}});
  EXPECT_NE(message.find("\"beta_end\" leaves"), std::string::npos) << message;
}

TEST(TrainedBetas, AreShares) {
  Json config = zero_snr(Json::object());
  for (const double bad : {1.0001, -0.1, 1.0}) {  // 1 only at the end
    config["trained_betas"][5] = bad;
    EXPECT_NE(error_of<CheckpointError>([&] { make("DDIMScheduler", config, 4); }).find("trained_betas"),
              std::string::npos);
  }
}

TEST(DDPM, RefusesAVarianceThatIsNoNumber) {
  const auto message = error_of<CheckpointError>([] {
    make("DDPMScheduler", {{"variance_type", "fixed_large_log"}}, 5);
  });
  EXPECT_NE(message.find("\"variance_type\""), std::string::npos) << message;
}

TEST(MakeSchedule, IgnoresKeysOfOtherClassesAsFromConfigDoes) {
  EXPECT_NO_THROW(make("EulerDiscreteScheduler", {{"skip_prk_steps", true}, {"set_alpha_to_one", false}}, 5));
}

TEST(TrailingSpacing, GivesTheNumberOfStepsThatWasAskedFor) {
  // numpy's arange gives one more for these, from rounding; diffusers then visits timestep -1.
  for (const int64_t steps : {61, 103, 121, 122, 201})
    EXPECT_EQ(make_schedule("EulerDiscreteScheduler", {{"timestep_spacing", "trailing"}}, "",
                            {.num_inference_steps = steps})
                  ->timesteps()
                  .size(),
              static_cast<size_t>(steps));
}

TEST(UniPCMultistep, StaysFiniteWhereTheLastStepHasNoLength) {
  const auto schedule =
      make_schedule("UniPCMultistepScheduler", {{"solver_type", "bh1"}, {"lower_order_final", false}}, "",
                    {.num_inference_steps = 4});
  Tensor sample = at::ones({1, 1, 2, 2});
  for (size_t i = 0; i < 4; ++i) sample = schedule->step(0.1 * sample, i, sample, {});
  EXPECT_TRUE(at::isfinite(sample).all().item<bool>());
}

TEST(UniPCMultistep, ReachesThePictureWhereItPredictsNoise) {
  const auto schedule =
      make_schedule("UniPCMultistepScheduler", {{"predict_x0", false}}, "", {.num_inference_steps = 3});
  // A model that finds all of the sample to be noise: the picture is nothing.
  Tensor sample = at::ones({1, 1, 2, 2});
  for (size_t i = 0; i < 3; ++i) {
    const Tensor noise = i == 2 ? sample : 0.1 * sample;
    sample = schedule->step(noise, i, sample, {});
  }
  EXPECT_TRUE(at::isfinite(sample).all().item<bool>());
}

}  // namespace
}  // namespace diffract::schedulers
