// FLUX.1 stage by stage, each with the memory of its own stage only: the third program of diffusers' guide on
// distributed inference. Usage: split_transformer [MODEL [HEIGHT WIDTH STEPS [MAX_MEMORY]]]
// MAX_MEMORY instead of the guide's two GPUs of 16 GB: 0=16GB,1=16GB
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "diffract/diffract.h"
#include "examples/usage.h"

using namespace diffract;

void run(const std::string& ckpt_id, int64_t height, int64_t width, int64_t steps,
         const MaxMemory& max_memory) {
  const std::string prompt = "a photo of a dog with cat-like look";
  std::optional<FluxPipeline> pipeline = FluxPipeline::from_pretrained(
      ckpt_id, {.transformer = nullptr, .vae = nullptr},
      {.torch_dtype = at::kBFloat16, .device_map = "balanced", .max_memory = max_memory});
  std::puts(pipeline->hf_device_map().to_text().c_str());
  std::puts("Encoding prompts.");
  const auto [prompt_embeds, pooled_prompt_embeds, text_ids] =
      pipeline->encode_prompt({prompt}, {.max_sequence_length = 512});
  pipeline.reset();
  flush();

  std::optional<AutoModel> transformer = AutoModel::from_pretrained(
      ckpt_id, {.subfolder = "transformer", .torch_dtype = at::kBFloat16, .device_map = "auto"});
  std::puts(transformer->hf_device_map().to_text().c_str());
  pipeline = FluxPipeline::from_pretrained(ckpt_id,
                                           {.tokenizer = nullptr,
                                            .tokenizer_2 = nullptr,
                                            .text_encoder = nullptr,
                                            .text_encoder_2 = nullptr,
                                            .transformer = *transformer,
                                            .vae = nullptr},
                                           {.torch_dtype = at::kBFloat16});
  std::puts("Running denoising.");
  at::Tensor latents = (*pipeline)({.num_inference_steps = steps,
                                    .guidance_scale = 3.5,
                                    .height = height,
                                    .width = width,
                                    .output_type = OutputType::latent,
                                    .prompt_embeds = prompt_embeds,
                                    .pooled_prompt_embeds = pooled_prompt_embeds})
                           .latents;
  transformer.reset();
  pipeline.reset();
  flush();

  const auto vae = AutoencoderKL::from_pretrained(
      ckpt_id, {.subfolder = "vae", .torch_dtype = at::kBFloat16, .device = latents.device()});
  const int64_t vae_scale_factor = vae->config().scale_factor();
  const VaeImageProcessor image_processor(vae_scale_factor);
  std::puts("Running decoding.");
  latents = unpack_latents(latents, {.height = height, .width = width}, vae_scale_factor);
  latents = (latents / vae->config().scaling_factor) + vae->config().shift_factor;
  const auto image = image_processor.postprocess(vae->decode(latents));
  image[0].save("split_transformer.png");
}

int main(int argc, char** argv) {
  if (asks_for_help(argc, argv, "split_transformer [MODEL [HEIGHT WIDTH STEPS [MAX_MEMORY]]]")) return 0;
  const auto number = [&](int place, int64_t otherwise) {
    return argc > place ? std::atoll(argv[place]) : otherwise;
  };
  try {
    run(argc > 1 ? argv[1] : "black-forest-labs/FLUX.1-dev", number(2, 768), number(3, 1360), number(4, 50),
        argc > 5 ? MaxMemory::parse(argv[5]) : MaxMemory{{0, "16GB"}, {1, "16GB"}});
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
