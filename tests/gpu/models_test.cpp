// The models of the tiny reference checkpoints on the GPU, beside the same on the CPU.
#include "diffract/io/weight_files.h"
#include "diffract/loading/load_component.h"
#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/models/model_class.h"
#include "diffract/models/text/clip_text_model.h"
#include "diffract/models/text/t5_encoder_model.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "diffract/weights/checkpoint.h"
#include "tests/gpu/gpu.h"
#include "tests/support/reference_case.h"

namespace diffract::models {
namespace {

using test::relative_error;
namespace fs = std::filesystem;

// The same model in float32 on the CPU, and in `dtype` on the GPU.
template <typename Model, typename Config>
struct Pair {
  Pair(const fs::path& folder, at::ScalarType dtype) {
    const std::string variant =
        fs::exists(folder / "config.json") && folder.string().find("fp16") != std::string::npos ? "fp16" : "";
    const auto checkpoint = weights::Checkpoint::open(io::find_weight_files(folder, variant));
    const auto config = Config::from_json(io::load_config(folder));
    cpu = std::make_unique<Model>(config, weights::WeightScope(checkpoint, {}));
    const auto on_gpu = weights::made_source(
        [=](const std::string& name, at::IntArrayRef shape) {
          return checkpoint->tensor(name, shape).to(at::kCUDA, dtype);
        },
        [=](const std::string& name) { return checkpoint->has(name); });
    gpu = std::make_unique<Model>(
        config,
        weights::WeightScope(on_gpu, {.storage = dtype, .arithmetic = dtype}, at::Device(at::kCUDA, 0)));
  }
  std::unique_ptr<Model> cpu, gpu;
};

std::vector<fs::path> checkpoints(const char* with_component) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(fs::path(DIFFRACT_TEST_DATA) / "reference/checkpoints"))
    if (fs::exists(entry.path() / with_component / "config.json"))
      found.push_back(entry.path() / with_component);
  return found;
}

struct Kind {
  at::ScalarType dtype;
  double tolerance;
};
constexpr Kind kKinds[] = {{at::kFloat, 1e-4}, {at::kHalf, 2e-2}, {at::kBFloat16, 1e-1}};

class GpuModels : public test::Gpu {};

TEST_F(GpuModels, UNet) {
  for (const auto& folder : checkpoints("unet"))
    for (const Kind& kind : kKinds) {
      const Pair<UNet2DConditionModel, UNet2DConditionConfig> unet(folder, kind.dtype);
      const auto& c = unet.cpu->config();
      for (const int64_t size : {c.sample_size, c.sample_size + 8}) {
        const Tensor sample = at::randn({3, c.in_channels, size, size});
        const Tensor text = at::randn({3, 13, c.cross_attention_dim.front()});
        const auto added = [&](const auto& model, at::Device device) {
          if (!c.text_time) return Tensor();
          const int64_t numbers = 6 * c.text_time->addition_time_embed_dim,
                        pooled = c.text_time->projection_class_embeddings_input_dim - numbers;
          const auto on = at::TensorOptions(device);
          return model.added_embedding(at::ones({3, pooled}, on), at::full({3, 6}, 512.0, on));
        };
        const Tensor wanted = (*unet.cpu)(sample, 481, text, {.added = added(*unet.cpu, at::kCPU)});
        EXPECT_LT(
            relative_error(
                (*unet.gpu)(sample.cuda(), 481, text.cuda(), {.added = added(*unet.gpu, at::kCUDA)}).cpu(),
                wanted),
            kind.tolerance)
            << folder << " " << kind.dtype;
      }
    }
}

TEST_F(GpuModels, Vae) {
  for (const auto& folder : checkpoints("vae"))
    for (const Kind& kind : kKinds) {
      const Pair<AutoencoderKL, AutoencoderKLConfig> vae(folder, kind.dtype);
      const Tensor latents = at::randn({2, vae.cpu->config().latent_channels, 9, 12});
      const Tensor pixels = vae.cpu->decode(latents);
      EXPECT_LT(relative_error(vae.gpu->decode(latents.cuda()).cpu(), pixels), kind.tolerance)
          << folder << " " << kind.dtype;
      EXPECT_LT(relative_error(vae.gpu->encode(pixels.cuda()).mode().cpu(), vae.cpu->encode(pixels).mode()),
                kind.tolerance)
          << folder << " " << kind.dtype;
    }
}

TEST_F(GpuModels, ClipText) {
  for (const auto& folder : checkpoints("text_encoder"))
    for (const Kind& kind : kKinds) {
      const Pair<CLIPTextModel, CLIPTextConfig> text(folder, kind.dtype);
      const Tensor ids = at::randint(0, text.cpu->config().vocab_size, {2, 17}, at::kLong);
      const auto wanted = (*text.cpu)(ids);
      EXPECT_LT(relative_error((*text.gpu)(ids.cuda()).last_hidden_state.cpu().to(at::kFloat),
                               wanted.last_hidden_state),
                kind.tolerance)
          << folder;
    }
}

TEST_F(GpuModels, ClipTextWithProjection) {
  for (const auto& folder : checkpoints("text_encoder_2"))
    for (const Kind& kind : kKinds) {
      if (class_name_of(io::load_config(folder)) != CLIPTextModelWithProjection::kClassName) continue;
      const Pair<CLIPTextModelWithProjection, CLIPTextConfig> text(folder, kind.dtype);
      const Tensor ids = at::randint(0, text.cpu->config().vocab_size, {2, 17}, at::kLong);
      const auto wanted = (*text.cpu)(ids), found = (*text.gpu)(ids.cuda());
      EXPECT_LT(relative_error(found.hidden_state.cpu().to(at::kFloat), wanted.hidden_state), kind.tolerance)
          << folder;
      EXPECT_LT(relative_error(found.text_embeds.cpu().to(at::kFloat), wanted.text_embeds), kind.tolerance)
          << folder;
    }
}

TEST_F(GpuModels, T5) {
  for (const auto& folder : checkpoints("text_encoder_2"))
    for (const Kind& kind : kKinds) {
      if (class_name_of(io::load_config(folder)) != T5EncoderModel::kClassName) continue;
      const Pair<T5EncoderModel, T5Config> text(folder, kind.dtype);
      const Tensor ids = at::randint(0, text.cpu->config().vocab_size, {2, 21}, at::kLong);
      EXPECT_LT(relative_error((*text.gpu)(ids.cuda()).cpu().to(at::kFloat), (*text.cpu)(ids)),
                kind.tolerance)
          << folder;
    }
}

TEST_F(GpuModels, FluxTransformer) {
  for (const auto& folder : checkpoints("transformer"))
    for (const Kind& kind : kKinds)
      for (const int64_t batch : {1, 2}) {
        const Pair<FluxTransformer2DModel, FluxTransformer2DConfig> flux(folder, kind.dtype);
        const auto& c = flux.cpu->config();
        Tensor ids = at::zeros({35, 3});
        ids.select(1, 1).copy_(at::arange(35, at::kFloat));
        const Tensor latents = at::randn({batch, 35, c.in_channels}), sigma = at::full({batch}, 0.7);
        const FluxTransformer2DModel::Conditioning cond{
            .prompt_embeds = at::randn({batch, 11, c.joint_attention_dim}),
            .pooled_prompt_embeds = at::randn({batch, c.pooled_projection_dim}),
            .rope = flux.cpu->rotary(at::zeros({11, 3}), ids),
            .guidance = c.guidance_embeds ? at::full({batch}, 3.5) : Tensor()};
        const auto gpu = [](const Tensor& x) { return x.defined() ? x.cuda() : x; };
        const Tensor found = (*flux.gpu)(gpu(latents), gpu(sigma),
                                         {.prompt_embeds = gpu(cond.prompt_embeds),
                                          .pooled_prompt_embeds = gpu(cond.pooled_prompt_embeds),
                                          .rope = gpu(cond.rope),
                                          .guidance = gpu(cond.guidance)});
        EXPECT_LT(relative_error(found.cpu(), (*flux.cpu)(latents, sigma, cond)), kind.tolerance)
            << folder << " " << kind.dtype << " batch " << batch;
      }
}

}  // namespace
}  // namespace diffract::models
