// One stage of a FLUX checkpoint in a process of its own, for measuring its memory:
//   flux_stages MODEL encode|denoise|decode [HEIGHT WIDTH]
// Prints the stage's seconds and this process's peak memory. bench/flux_memory.py runs the stages under a
// limit.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "diffract/diffract.h"

namespace {

using namespace diffract;
using Clock = std::chrono::steady_clock;
constexpr int64_t kTextTokens = 512;

struct Picture {
  int64_t height, width;
};

void encode(const std::string& model) {
  const auto pipeline = FluxPipeline::from_pretrained(model, {.transformer = nullptr, .vae = nullptr});
  pipeline.encode_prompt({"a photo of a dog with cat-like look"}, {.max_sequence_length = kTextTokens});
}

void denoise(const std::string& model, const Picture& picture) {
  const auto pipeline = FluxPipeline::from_pretrained(model, {.tokenizer = nullptr,
                                                              .tokenizer_2 = nullptr,
                                                              .text_encoder = nullptr,
                                                              .text_encoder_2 = nullptr,
                                                              .vae = nullptr});
  pipeline({.num_inference_steps = 1,
            .height = picture.height,
            .width = picture.width,
            .output_type = OutputType::latent,
            .prompt_embeds = at::randn({1, kTextTokens, 4096}),
            .pooled_prompt_embeds = at::randn({1, 768})});
}

void decode(const std::string& model, const Picture& picture) {
  const auto vae = AutoencoderKL::from_pretrained(model, {.subfolder = "vae"});
  const int64_t scale = vae->config().scale_factor();
  const c10::InferenceMode no_autograd;
  const auto pixels = vae->decode(
      at::randn({1, vae->config().latent_channels, picture.height / scale, picture.width / scale}));
  VaeImageProcessor(scale).postprocess(pixels);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string stage = argc > 2 ? argv[2] : "";
  if (stage != "encode" && stage != "denoise" && stage != "decode") {
    std::fprintf(stderr, "usage: %s MODEL encode|denoise|decode [HEIGHT WIDTH]\n", argv[0]);
    return 2;
  }
  const Picture picture{argc > 3 ? std::atoll(argv[3]) : 256, argc > 4 ? std::atoll(argv[4]) : 256};
  try {
    const auto begin = Clock::now();
    if (stage == "encode") encode(argv[1]);
    if (stage == "denoise") denoise(argv[1], picture);
    if (stage == "decode") decode(argv[1], picture);
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%s: %.1f s, peak %.2f GB\n", stage.c_str(),
                std::chrono::duration<double>(Clock::now() - begin).count(),
                static_cast<double>(usage.ru_maxrss) * 1024 / 1e9);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
