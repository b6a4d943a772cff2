// What a step takes from its time alone, made for many steps ahead.
#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/weights/checkpoint.h"
#include "tests/support/reference_case.h"
#include "tests/support/temp_folder.h"

namespace diffract::models {
namespace {

using Conditioning = FluxTransformer2DModel::Conditioning;

// With those of other steps that lie in the same memory.
uint64_t bytes_kept(const std::vector<Tensor>& tensors) {
  uint64_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.storage().nbytes();
  return bytes;
}

class FluxWalk : public ::testing::Test {
 protected:
  FluxWalk() {
    const auto file = folder_ + "/diffusion_pytorch_model.safetensors";
    checkpoint_ = weights::Checkpoint::open({.files = {file}, .description = file});
  }
  FluxTransformer2DConfig config() const {
    const auto file = folder_ + "/config.json";
    return FluxTransformer2DConfig::from_json({load_json(file), file});
  }
  FluxTransformer2DModel resident() const {
    return {config(), weights::WeightScope(checkpoint_, {.arithmetic = at::kFloat})};
  }
  Conditioning conditioning(const FluxTransformer2DModel& model) const {
    const auto& c = model.config();
    return {.prompt_embeds = at::randn({kBatch, 7, c.joint_attention_dim}),
            .pooled_prompt_embeds = at::randn({kBatch, c.pooled_projection_dim}),
            .rope = model.rotary(at::zeros({7, 3}), at::ones({12, 3})),
            .guidance = c.guidance_embeds ? at::full({kBatch}, 3.5) : Tensor()};
  }
  Tensor latents() const { return at::randn({kBatch, 12, config().in_channels}); }

  static constexpr int64_t kBatch = 2;
  const c10::InferenceMode no_autograd_;
  const std::string folder_ = test::data("reference/checkpoints/flux-dev/transformer").string();
  std::shared_ptr<const weights::Checkpoint> checkpoint_;
};

TEST_F(FluxWalk, StepsAreTheSameWithModulationsMadeAhead) {
  const auto model = resident();
  const Conditioning cond = conditioning(model);
  const Tensor x = latents(), sigmas = at::rand({9, kBatch});  // each image at a time of its own
  FluxModulations modulations(model, sigmas, cond);
  for (const int64_t step : {0, 1, 2, 3, 4, 5, 6, 7, 8, 2}) {
    const Tensor alone = model(x, sigmas[step], cond);
    EXPECT_LT(test::relative_error(model(x, modulations[step], cond), alone), 1e-5) << step;
    EXPECT_GT(test::relative_error(model(x, modulations[(step + 1) % 9], cond), alone), 1e-4) << step;
  }
}

TEST_F(FluxWalk, LongWalksAreMadeInParts) {
  const auto model = resident();
  const Conditioning cond = conditioning(model);
  const int64_t at_once = FluxModulations::kMostBytes / model.modulation_bytes(kBatch);
  const Tensor sigmas = at::rand({2 * at_once + 3, kBatch});
  FluxModulations modulations(model, sigmas, cond);
  for (const int64_t step : {int64_t{0}, at_once - 1, at_once, 2 * at_once, 2 * at_once + 2}) {
    const auto expected = model.modulations(sigmas.slice(0, step, step + 1), cond).front();
    const auto& found = modulations[step];
    EXPECT_LT(test::relative_error(found.temb, expected.temb), 1e-5) << step;
    ASSERT_EQ(found.blocks.size(), expected.blocks.size());
    EXPECT_LE(found.temb.storage().nbytes() + bytes_kept(found.blocks), size_t{FluxModulations::kMostBytes});
    uint64_t bytes = found.temb.nbytes();
    for (size_t i = 0; i < found.blocks.size(); ++i) {
      EXPECT_LT(test::relative_error(found.blocks[i], expected.blocks[i]), 1e-5) << step << " " << i;
      bytes += found.blocks[i].nbytes();
    }
    EXPECT_EQ(bytes, static_cast<uint64_t>(model.modulation_bytes(kBatch)));
  }
}

TEST_F(FluxWalk, WeightsOfModulationsAreReadOnce) {
  constexpr int64_t kSteps = 40;
  const auto stream = std::make_shared<weights::WeightStream>(weights::WeightStream::Options{.budget = 1});
  const FluxTransformer2DModel model(
      config(),
      weights::WeightScope(checkpoint_, {.arithmetic = at::kFloat},
                           weights::ModelPlacement{.map = {{"", placement::Place::disk()}}}, stream));
  const Conditioning cond = conditioning(model);
  uint64_t rare = 0, others = 0;
  for (size_t i = 0; i < stream->size(); ++i)
    (stream->part(i).is_once_for_many_steps ? rare : others) += stream->part(i).bytes;
  EXPECT_GT(rare, others / 10);
  FluxModulations modulations(model, at::rand({kSteps, kBatch}), cond);
  Tensor x = latents();
  for (int64_t step = 0; step < kSteps; ++step) x = x - model(x, modulations[step], cond) / kSteps;
  // Behind the last step the next one's are guessed.
  EXPECT_LE(stream->statistics().bytes_read, rare + (kSteps + 1) * others);
}

TEST_F(FluxWalk, RefusesWhatDoesNotFit) {
  const auto model = resident();
  const Conditioning cond = conditioning(model);
  const auto message = [&](const Tensor& sigmas, const Conditioning& conditions) {
    return test::error_of<UsageError>([&] { model.modulations(sigmas, conditions); });
  };
  EXPECT_NE(message(at::rand({4}), cond).find("sigmas has shape [4]; expected [steps, batch]"),
            std::string::npos);
  EXPECT_NE(message(at::rand({4, 3}), cond).find("pooled_prompt_embeds"), std::string::npos);
  Conditioning unguided = cond;
  unguided.guidance = Tensor();
  EXPECT_THROW(FluxModulations(model, at::rand({4}), cond), UsageError);
  FluxTransformer2DModel::Modulation cut = model.modulations(at::rand({1, kBatch}), cond).front();
  cut.blocks.pop_back();
  EXPECT_THROW(model(latents(), cut, cond), UsageError);
  EXPECT_NE(message(at::rand({4, kBatch}), unguided).find("guidance is missing"), std::string::npos);
}

}  // namespace
}  // namespace diffract::models
