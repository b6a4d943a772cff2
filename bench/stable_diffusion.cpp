// One UNet step with classifier-free guidance, one VAE decode and one whole picture of a Stable Diffusion
// checkpoint: stable_diffusion_bench MODEL [Google Benchmark's options]. bench/compare.py runs it beside
// diffusers.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <memory>

#include "diffract/core/error.h"
#include "diffract/families/stable_diffusion/stable_diffusion.h"
#include "diffract/tensor/host_memory.h"

namespace {

using diffract::families::StableDiffusionPipeline;
using PipelinePtr = std::shared_ptr<StableDiffusionPipeline>;

constexpr int64_t kSteps = 20;

at::Tensor noise(at::IntArrayRef shape) { return at::randn(shape); }

// Counts the second call; the first takes its memory, and reads the weights from the files.
template <typename Call>
void time_second(benchmark::State& state, const Call& call) {
  call();
  for (auto _ : state) benchmark::DoNotOptimize(call());
}

void unet_step(benchmark::State& state, const PipelinePtr& pipeline) {
  const auto& unet = *pipeline->core().unet;
  const auto& config = unet.config();
  const auto latents = noise({2, config.in_channels, config.sample_size, config.sample_size});
  const auto text = noise({2, 77, config.cross_attention_dim.front()});
  time_second(state, [&] { return unet(latents, 981, text); });
}

void vae_decode(benchmark::State& state, const PipelinePtr& pipeline) {
  const auto& config = pipeline->core().unet->config();
  const auto latents = noise({1, config.in_channels, config.sample_size, config.sample_size});
  time_second(state, [&] { return pipeline->core().vae->decode(latents); });
}

void picture(benchmark::State& state, const PipelinePtr& pipeline) {
  const diffract::pipelines::Request request{.prompt = {"a dog"}, .num_inference_steps = kSteps};
  for (auto _ : state) benchmark::DoNotOptimize((*pipeline)(request));
}

void add(const char* name, void (*body)(benchmark::State&, const PipelinePtr&), const PipelinePtr& pipeline) {
  benchmark::RegisterBenchmark(name,
                               [=](benchmark::State& state) {
                                 const at::InferenceMode guard;
                                 body(state, pipeline);
                               })
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s MODEL_FOLDER [--benchmark_filter=unet_step|vae_decode|picture] ...\n",
                 argv[0]);
    return 2;
  }
  try {
    diffract::tensor::keep_host_memory();
    const auto pipeline = StableDiffusionPipeline::from_folder(diffract::io::ModelFolder::open(argv[1]), {});
    add("unet_step", unet_step, pipeline);
    add("vae_decode", vae_decode, pipeline);
    add("picture", picture, pipeline);
    benchmark::RunSpecifiedBenchmarks();
  } catch (const diffract::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return diffract::error_info(error.kind()).exit_code;
  }
}
