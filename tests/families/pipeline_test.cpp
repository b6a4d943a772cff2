#include "diffract/pipelines/pipeline.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "diffract/core/error.h"
#include "diffract/core/json.h"
#include "diffract/core/stop.h"
#include "diffract/families/diffusion_pipeline.h"
#include "diffract/loading/builtin_models.h"
#include "diffract/loading/find_model.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/request_checks.h"
#include "tests/support/temp_folder.h"

namespace diffract::families {
namespace {

using test::error_of;

const DiffusionPipeline& tiny() {
  static const auto pipeline =
      DiffusionPipeline::from_pretrained(test::data("reference/checkpoints/sd15").string(), {});
  return pipeline;
}

pipelines::Request request(const std::function<void(pipelines::Request&)>& change = {}) {
  pipelines::Request r{.prompt = {"a dog"}, .num_inference_steps = 2, .height = 64, .width = 64};
  if (change) change(r);
  return r;
}

TEST(StableDiffusionPipeline, ReportsHowFarItsModelsAreLoaded) {
  std::map<std::string, loading::LoadReport> last;
  DiffusionPipeline::from_pretrained(
      test::data("reference/checkpoints/sd15").string(), {.on_load = [&](const loading::LoadReport& report) {
        EXPECT_GT(report.bytes, last[report.component].bytes) << report.component;
        last[report.component] = report;
      }});
  ASSERT_EQ(last.size(), 3u);
  for (const char* component : {"text_encoder", "unet", "vae"}) {
    ASSERT_EQ(last.count(component), 1u) << component;
    EXPECT_GT(last[component].bytes, 0.9 * static_cast<double>(last[component].total_bytes)) << component;
  }
}

TEST(StableDiffusionPipeline, NamesTheArgumentThatIsWrong) {
  const std::pair<const char*, std::function<void(pipelines::Request&)>> cases[] = {
      {"prompt", [](pipelines::Request& r) { r.prompt.clear(); }},
      {"not UTF-8", [](pipelines::Request& r) { r.prompt = {"a \xff"}; }},
      {"height 65", [](pipelines::Request& r) { r.height = 65; }},
      {"height 0", [](pipelines::Request& r) { r.height = 0; }},
      {"height -8", [](pipelines::Request& r) { r.height = -8; }},
      {"width 800000", [](pipelines::Request& r) { r.width = 800000; }},
      {"num_inference_steps 0", [](pipelines::Request& r) { r.num_inference_steps = 0; }},
      {"num_inference_steps 99999", [](pipelines::Request& r) { r.num_inference_steps = 99999; }},
      {"guidance_scale nan", [](pipelines::Request& r) { r.guidance_scale = std::nan(""); }},
      {"guidance_scale -1", [](pipelines::Request& r) { r.guidance_scale = -1; }},
      {"guidance_rescale 2", [](pipelines::Request& r) { r.guidance_rescale = 2; }},
      {"eta 3", [](pipelines::Request& r) { r.eta = 3; }},
      {"clip_skip 3", [](pipelines::Request& r) { r.clip_skip = 3; }},
      {"clip_skip -1", [](pipelines::Request& r) { r.clip_skip = -1; }},
      {"num_images_per_prompt", [](pipelines::Request& r) { r.num_images_per_prompt = 0; }},
      {"num_images_per_prompt", [](pipelines::Request& r) { r.num_images_per_prompt = 1 << 20; }},
      {"negative_prompt",
       [](pipelines::Request& r) {
         r.negative_prompt = {"a", "b"};
       }},
      {"prompt_2", [](pipelines::Request& r) { r.prompt_2 = {"a"}; }},
      {"true_cfg_scale", [](pipelines::Request& r) { r.true_cfg_scale = 2; }},
      {"max_sequence_length", [](pipelines::Request& r) { r.max_sequence_length = 5; }},
      {"seeds",
       [](pipelines::Request& r) {
         r.seeds = {1, 2};
       }},
  };
  for (const auto& [named, change] : cases) {
    const auto message = error_of<UsageError>([&] { tiny()(request(change)); });
    EXPECT_NE(message.find(named), std::string::npos) << named << ": " << message;
  }
}

TEST(StableDiffusionPipeline, StopsWhenTheObserverSaysSo) {
  size_t steps = 0;
  const auto stop = [&](const pipelines::StepReport&) {
    ++steps;
    throw Cancelled("enough");
  };
  EXPECT_THROW(tiny()(request(), stop), Cancelled);
  EXPECT_EQ(steps, 1u);
  EXPECT_EQ(tiny()(request()).images.size(), 1u);  // the next request is not hurt
}

TEST(StableDiffusionPipeline, GivesTheSamePictureForTheSameSeed) {
  const auto first = tiny()(request()).images[0].pixels;
  EXPECT_EQ(tiny()(request()).images[0].pixels, first);
  EXPECT_NE(tiny()(request([](pipelines::Request& r) { r.seed = 1; })).images[0].pixels, first);
}

TEST(StableDiffusionPipeline, MakesSizesThatAreNoMultipleOfItsCoarsestLevel) {
  const auto result = tiny()(request([](pipelines::Request& r) { r.height = 72, r.width = 88; }));
  EXPECT_EQ(result.images[0].height, 72u);
  EXPECT_EQ(result.images[0].width, 88u);
}

TEST(StableDiffusionPipeline, GivesLatentsWithoutDecodingThem) {
  const auto result =
      tiny()(request([](pipelines::Request& r) { r.output_type = pipelines::OutputType::latent; }));
  EXPECT_TRUE(result.images.empty());
  EXPECT_EQ(result.latents.sizes(), (std::vector<int64_t>{1, 4, 8, 8}));
}

TEST(StableDiffusionPipeline, SkipsLayersOfTheTextEncoder) {
  const auto with_all = tiny()(request()).images[0].pixels;
  EXPECT_NE(tiny()(request([](pipelines::Request& r) { r.clip_skip = 1; })).images[0].pixels, with_all);
}

TEST(StableDiffusionPipeline, ComputesNarrowWeightsAsIfTheyWereWide) {
  const auto folder = test::data("reference/checkpoints/sd15-full-blocks").string();  // float16 files
  const pipelines::Request r = request([](pipelines::Request& wide) { wide.height = wide.width = 128; });
  const auto as_stored = DiffusionPipeline::from_pretrained(folder, {})(r).images[0].pixels;
  const auto widened =
      DiffusionPipeline::from_pretrained(folder, {.torch_dtype = at::kFloat})(r).images[0].pixels;
  EXPECT_EQ(as_stored, widened);
}

TEST(DiffusionPipeline, RefusesAnUnknownScheduler) {
  auto pipeline = tiny();
  EXPECT_THROW(pipeline.set_scheduler("EulerScheduler"), UsageError);
  EXPECT_THROW(pipeline.set_scheduler("EulerDiscreteScheduler", Json::array()), UsageError);
  EXPECT_THROW(pipeline.set_scheduler("EulerDiscreteScheduler", {{"beta_start", "x"}}), UsageError);
  EXPECT_THROW(pipeline.set_scheduler("FlowMatchEulerDiscreteScheduler"), UsageError);
  EXPECT_EQ(pipeline.scheduler().class_name, "PNDMScheduler");
}

// A checkpoint whose scheduler_config.json holds `config`.
class WithScheduler : public ::testing::Test {
 protected:
  DiffusionPipeline load(Json config) const {
    namespace fs = std::filesystem;
    const fs::path folder = folder_ / "model";
    fs::remove_all(folder);
    fs::copy(test::data("reference/checkpoints/sd15"), folder, fs::copy_options::recursive);
    Json index = load_json(folder / "model_index.json");
    index["scheduler"] = {"diffusers", config["_class_name"]};
    folder_.file("model/model_index.json", json_text(index));
    folder_.file("model/scheduler/scheduler_config.json", json_text(config));
    return DiffusionPipeline::from_pretrained(folder.string(), {});
  }
  test::TempFolder folder_;
};

// As diffusers' StableDiffusionPipeline does, from whose 0.42.1 these values are.
TEST_F(WithScheduler, CorrectsWhatOldConfigsSayWrongly) {
  auto pipeline = load({{"_class_name", "DDIMScheduler"}});
  EXPECT_EQ(pipeline.scheduler().config["steps_offset"], 1);
  EXPECT_EQ(pipeline.scheduler().config["clip_sample"], false);
  pipeline.set_scheduler(
      "EulerDiscreteScheduler");  // what the file leaves out is the new class's own default
  EXPECT_FALSE(pipeline.scheduler().config.contains("steps_offset"));
  pipeline = load({{"_class_name", "DDIMScheduler"}, {"steps_offset", 0}, {"clip_sample", true}});
  EXPECT_EQ(pipeline.scheduler().config["clip_sample"], false);
  pipeline.set_scheduler("HeunDiscreteScheduler");
  EXPECT_EQ(pipeline.scheduler().config["steps_offset"], 1);
  EXPECT_EQ(pipeline.scheduler().config["clip_sample"], false);
  pipeline.set_scheduler("DDIMScheduler", {{"clip_sample", true}});  // the user's word holds
  EXPECT_EQ(pipeline.scheduler().config["clip_sample"], true);
  EXPECT_FALSE(load({{"_class_name", "PNDMScheduler"}}).scheduler().config.contains("clip_sample"));
}

// By name, also where it is the checkpoint's own.
TEST_F(WithScheduler, OfARequestIsLookedAt) {
  for (const char* name : {"NopeScheduler", "FlowMatchEulerDiscreteScheduler"}) {
    const auto pipeline = load({{"_class_name", name}, {"beta_schedule", "scaled_linear"}});
    const auto named = [](const char* scheduler) {
      return request([&](pipelines::Request& r) { r.scheduler = scheduler; });
    };
    EXPECT_NE(error_of<UsageError>([&] { pipeline(named(name)); }).find(name), std::string::npos);
    EXPECT_EQ(pipeline(named("EulerDiscreteScheduler")).images.size(), 1u);
  }
}

TEST_F(WithScheduler, OfARequestIsThatOfSetScheduler) {
  auto pipeline = load({{"_class_name", "DDIMScheduler"}});
  const auto by_request =
      pipeline(request([](pipelines::Request& r) { r.scheduler = "DDIMScheduler"; })).images[0].pixels;
  pipeline.set_scheduler("DDIMScheduler");
  EXPECT_EQ(pipeline(request()).images[0].pixels, by_request);
}

TEST_F(WithScheduler, OfAnUnknownClassTakesAnother) {
  for (const char* name : {"SCMScheduler", "FlowMatchEulerDiscreteScheduler", "DDPM"}) {
    auto pipeline = load({{"_class_name", name}, {"beta_schedule", "scaled_linear"}});
    for (const auto& message : {error_of<CheckpointError>([&] { pipeline.require_scheduler(); }),
                                error_of<CheckpointError>([&] { pipeline(request()); })}) {
      EXPECT_NE(message.find("scheduler/scheduler_config.json"), std::string::npos) << message;
      EXPECT_NE(message.find("--scheduler DPMSolverMultistepScheduler"), std::string::npos) << message;
      EXPECT_EQ(message.find("did you mean"), std::string::npos) << message;
    }
    pipeline.set_scheduler("DPMSolverMultistepScheduler");
    EXPECT_NO_THROW(pipeline.require_scheduler());
    EXPECT_EQ(pipeline(request()).images.size(), 1u);
  }
}

// The weights here cannot be read, so that an error about them would come first.
TEST_F(WithScheduler, IsLookedAtBeforeWeightsAreRead) {
  load({{"_class_name", "SCMScheduler"}});
  folder_.file("model/unet/diffusion_pytorch_model.safetensors", "");
  const auto error = [&](const loading::LoadOptions& options) {
    try {
      DiffusionPipeline::from_pretrained((folder_ / "model").string(), options);
    } catch (const Error& e) {
      return std::pair(e.kind(), std::string(e.what()));
    }
    return std::pair(ErrorKind::internal, std::string("<no error>"));
  };
  const auto unknown = error({.requires_scheduler = true});
  EXPECT_EQ(unknown.first, ErrorKind::checkpoint);
  EXPECT_NE(unknown.second.find("SCMScheduler"), std::string::npos) << unknown.second;
  const auto chosen = error({.scheduler = "EulerScheduler", .requires_scheduler = true});
  EXPECT_EQ(chosen.first, ErrorKind::usage);
  EXPECT_NE(chosen.second.find("EulerScheduler"), std::string::npos) << chosen.second;
  const auto overridden = error(
      {.scheduler = "DDIMScheduler", .scheduler_config = {{"beta_start", "x"}}, .requires_scheduler = true});
  EXPECT_EQ(overridden.first, ErrorKind::usage);
  EXPECT_NE(overridden.second.find("beta_start"), std::string::npos) << overridden.second;
  EXPECT_NE(error({.scheduler = "DDIMScheduler"}).second.find("unet"), std::string::npos);
  // Keys for a scheduler that is not there.
  const auto lost = error({.scheduler_config = {{"beta_start", 0.1}}});
  EXPECT_EQ(lost.first, ErrorKind::checkpoint);
  EXPECT_NE(lost.second.find("SCMScheduler"), std::string::npos) << lost.second;
}

// A checkpoint's config that does not work is no hindrance where it is changed at once.
TEST_F(WithScheduler, IsCheckedAsItWillBeUsed) {
  const Json config = {{"_class_name", "DDIMScheduler"},
                       {"rescale_betas_zero_snr", true},
                       {"timestep_spacing", "trailing"},
                       {"clip_sample", false}};
  const auto message = error_of<CheckpointError>([&] { load(config); });
  EXPECT_NE(message.find("scheduler/scheduler_config.json"), std::string::npos) << message;
  EXPECT_NE(message.find("rescale_betas_zero_snr"), std::string::npos) << message;
  const auto pipeline = DiffusionPipeline::from_pretrained(
      (folder_ / "model").string(), {.scheduler_config = {{"prediction_type", "v_prediction"}}});
  EXPECT_EQ(pipeline(request()).images.size(), 1u);
  EXPECT_EQ(pipeline.scheduler().class_name, "DDIMScheduler");
}

// With few steps a walk of leading spacing begins before the table's end, with very many at it.
TEST_F(WithScheduler, IsCheckedForTheStepsThatAreAskedForBeforeAnythingIsComputed) {
  auto pipeline = load({{"_class_name", "DDIMScheduler"},
                        {"rescale_betas_zero_snr", true},
                        {"timestep_spacing", "leading"},
                        {"clip_sample", false}});
  EXPECT_EQ(pipeline(request()).images.size(), 1u);
  size_t steps = 0;
  const auto message = error_of<CheckpointError>([&] {
    pipeline(request([](pipelines::Request& r) { r.num_inference_steps = 500; }),
             [&](const pipelines::StepReport&) { ++steps; });
  });
  EXPECT_NE(message.find("zero terminal SNR"), std::string::npos) << message;
  EXPECT_EQ(steps, 0u);
}

TEST(StableDiffusionPipeline, DrawsItsNoiseInTheDtypeThatIsAskedFor) {
  const auto drawn = [&](at::ScalarType dtype) {
    return tiny()(request([&](pipelines::Request& r) {
             r.noise_dtype = dtype;
             r.output_type = pipelines::OutputType::latent;
           }))
        .latents;
  };
  EXPECT_FALSE(at::allclose(drawn(at::kFloat), drawn(at::kHalf), 0, 0.1));
}

TEST(DiffusionPipeline, NamesKeysOfASchedulerConfigThatItsClassDoesNotKnow) {
  auto pipeline = tiny();
  const schedulers::SchedulerSpec before = pipeline.scheduler();
  ::testing::internal::CaptureStderr();
  pipeline.set_scheduler("EulerDiscreteScheduler", {{"use_karas_sigmas", true}, {"steps_offset", 1}});
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("\"use_karas_sigmas\" has no effect on EulerDiscreteScheduler; did you mean "
                      "\"use_karras_sigmas\"?"),
            std::string::npos)
      << said;
  EXPECT_EQ(said.find("steps_offset"), std::string::npos) << said;
  pipeline.set_scheduler(before.class_name);
}

TEST(VaeImageProcessor, RefusesValuesThatAreNotFinite) {
  at::Tensor pixels = at::zeros({1, 3, 8, 8});
  EXPECT_EQ(pipelines::VaeImageProcessor(8).postprocess(pixels).size(), 1u);
  pixels[0][1][2][3] = std::nanf("");
  const auto message =
      error_of<CheckpointError>([&] { pipelines::VaeImageProcessor(8).postprocess(pixels); });
  EXPECT_NE(message.find("vae"), std::string::npos) << message;
  EXPECT_EQ(message.find("--compute-dtype"), std::string::npos) << message;  // it is float32 already
  const pipelines::VaeImageProcessor narrow(8, {.storage = at::kHalf, .arithmetic = at::kHalf});
  EXPECT_NE(error_of<CheckpointError>([&] { narrow.postprocess(pixels); }).find("--compute-dtype float32"),
            std::string::npos);
}

TEST(FiniteCheck, AdvisesAnotherArithmeticWhereThereIsOne) {
  const auto said = [](const tensor::DtypePolicy& policy) {
    pipelines::FiniteCheck check(policy);
    return error_of<CheckpointError>([&] { check.step(at::full({1}, INFINITY), 0); });
  };
  EXPECT_EQ(said({}).find("dtype"), std::string::npos);
  EXPECT_NE(said({.storage = at::kHalf, .arithmetic = at::kHalf}).find("--compute-dtype float32"),
            std::string::npos);
  EXPECT_NE(said({.storage = at::kHalf, .arithmetic = at::kFloat}).find("leave --dtype out"),
            std::string::npos);
}

TEST(DiffusionPipeline, SaysWhereItLookedForAModel) {
  EXPECT_NE(error_of<CheckpointError>([] {
              DiffusionPipeline::from_pretrained("/no/such/folder");
            }).find("/no/such"),
            std::string::npos);
  EXPECT_NE(error_of<CheckpointError>([] {
              DiffusionPipeline::from_pretrained("no-such-model");
            }).find("no-such-model"),
            std::string::npos);
}

TEST(BuiltinModels, ShipWithTheProject) {
  const auto names = loading::builtin_models();
  EXPECT_NE(std::find(names.begin(), names.end(), loading::kDefaultModel), names.end());
  EXPECT_FALSE(loading::builtin_model("../emoji-sd"));
  EXPECT_FALSE(loading::builtin_model(""));
}

TEST(EmbeddedModel, DrawsADog) {
  const auto pipeline = DiffusionPipeline::from_pretrained(loading::kDefaultModel);
  EXPECT_EQ(pipeline.defaults().size.height, 128);
  const auto image = pipeline({.prompt = {"a dog"}, .num_inference_steps = 20, .seed = 7}).images[0];
  // A picture, not noise and not a blank: its background is white and its middle is not.
  const auto pixel = [&](uint32_t x, uint32_t y) { return image.pixels[3 * (y * image.width + x)]; };
  EXPECT_GT(pixel(2, 2), 240);
  EXPECT_GT(pixel(125, 2), 240);
  EXPECT_LT(pixel(64, 80), 250);
}

TEST(VaeImageProcessor, GoesThereAndBack) {
  io::Image image{.width = 16, .height = 8, .channels = 3, .pixels = std::vector<uint8_t>(16 * 8 * 3)};
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i);
  const pipelines::VaeImageProcessor processor(8);
  const auto pixels = processor.preprocess({image});
  EXPECT_EQ(pixels.sizes(), (std::vector<int64_t>{1, 3, 8, 16}));
  EXPECT_FLOAT_EQ(pixels.min().item<float>(), -1.0f);
  EXPECT_EQ(processor.postprocess(pixels)[0].pixels, image.pixels);
  image.width = 12;
  EXPECT_THROW(processor.preprocess({image}), UsageError);
  EXPECT_THROW(processor.preprocess({}), UsageError);
  EXPECT_THROW(processor.postprocess(at::zeros({3, 8, 8})), UsageError);
}

// Asked to stop when the last step is over, which only the decoding can still notice. In a process of its
// own, as what is asked for cannot be taken back.
TEST(StopDeathTest, IsNoticedWhileDecoding) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto draw = [] {
    try {
      tiny()(request(), [](const pipelines::StepReport& step) {
        if (step.index + 1 == step.count) ask_to_stop();
      });
    } catch (const Cancelled& error) {
      std::fputs(error.what(), stderr);
      std::exit(error_info(error.kind()).exit_code);
    }
    std::exit(0);
  };
  EXPECT_EXIT(draw(), ::testing::ExitedWithCode(130), "stopped by a signal");
}

}  // namespace
}  // namespace diffract::families
