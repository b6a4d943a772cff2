// Full-size models with random weights that are made on the GPU, timed one by one:
//   cuda_table [--only NAME[,NAME]] [--trace FOLDER] [--trace-first] [--no-graph]
// Prints one JSON object a line. bench/cuda_peer.py times the same work in diffusers.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/cuda_bench.h"
#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/models/text/t5_encoder_model.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/models/vae/autoencoder_kl.h"
#include "diffract/tensor/dtype.h"

namespace {

using namespace diffract;
using at::Tensor;
using bench::Bench, bench::Clock, bench::milliseconds_since;

ConfigReader config(const char* json) { return {Json::parse(json), "bench"}; }

void unet(Bench& bench, at::ScalarType dtype, const std::vector<std::pair<std::string, int64_t>>& rows) {
  if (std::none_of(rows.begin(), rows.end(), [&](const auto& row) { return bench.wants(row.first); })) return;
  const auto c = models::UNet2DConditionConfig::from_json(config(R"({"attention_head_dim": 8,
      "cross_attention_dim": 768, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2,
      "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
      "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
      "sample_size": 64})"));
  const auto begin = Clock::now();
  const models::UNet2DConditionModel model(c, bench.random_weights(dtype));
  bench.backend().synchronize(0);
  std::printf("{\"row\": \"unet\", \"making_weights_ms\": %.0f}\n", milliseconds_since(begin));
  for (const auto& [name, batch] : rows)
    bench.time(
        name,
        {at::randn({batch, 4, 64, 64}, bench.on_gpu(at::kFloat)),
         at::full({batch}, 500.0, bench.on_gpu(at::kFloat)),
         at::randn({batch, 77, 768}, bench.on_gpu(dtype))},
        [&](const std::vector<Tensor>& in) { return model(in[0], in[1], in[2]); }, true);
}

void vae(Bench& bench, const char* name, const char* json, at::ScalarType dtype, at::IntArrayRef latents) {
  if (!bench.wants(name)) return;
  const models::AutoencoderKL model(models::AutoencoderKLConfig::from_json(config(json)),
                                    bench.random_weights(dtype));
  bench.time(
      name, {at::randn(latents, bench.on_gpu(at::kFloat))},
      [&](const std::vector<Tensor>& in) { return model.decode(in[0]); }, true);
}

void t5(Bench& bench) {
  if (!bench.wants("t5")) return;
  const auto c = models::T5Config::from_json(config(R"({"vocab_size": 32128, "d_model": 4096, "d_kv": 64,
      "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"})"));
  const models::T5EncoderModel model(c, bench.random_weights(at::kBFloat16));
  bench.time(
      "t5", {at::randint(0, 32128, {1, 512}, bench.on_gpu(at::kLong))},
      [&](const std::vector<Tensor>& in) { return model(in[0]); }, false);
}

models::FluxTransformer2DConfig flux_config() {
  return models::FluxTransformer2DConfig::from_json(config(R"({"guidance_embeds": true})"));
}

// A step as a picture's walk takes it, with what depends on time and text alone made ahead; how long that
// takes for the steps of a walk; and a step that makes its own, as diffusers' does.
void time_flux(Bench& bench, const std::string& name, const models::FluxTransformer2DModel& model,
               bool with_graph) {
  constexpr int64_t kSteps = 28;
  constexpr int64_t kRows = 48, kColumns = 85, kText = 512;
  Tensor ids = at::zeros({kRows, kColumns, 3}, bench.on_gpu(at::kFloat));
  ids.select(2, 1).copy_(at::arange(kRows, bench.on_gpu(at::kFloat)).unsqueeze(1).expand({kRows, kColumns}));
  ids.select(2, 2).copy_(
      at::arange(kColumns, bench.on_gpu(at::kFloat)).unsqueeze(0).expand({kRows, kColumns}));
  const Tensor rope = model.rotary(at::zeros({kText, 3}, bench.on_gpu(at::kFloat)), ids.view({-1, 3}));
  at::manual_seed(7);
  const Tensor latents = at::randn({1, kRows * kColumns, 64}, bench.on_gpu(at::kFloat)),
               text = at::randn({1, kText, 4096}, bench.on_gpu(at::kBFloat16)),
               pooled = at::randn({1, 768}, bench.on_gpu(at::kBFloat16)),
               guidance = at::full({1}, 3.5, bench.on_gpu(at::kFloat)),
               sigmas = at::linspace(1, 1.0 / kSteps, kSteps, bench.on_gpu(at::kFloat)).unsqueeze(1);
  const models::FluxTransformer2DModel::Conditioning cond{
      .prompt_embeds = text, .pooled_prompt_embeds = pooled, .rope = rope, .guidance = guidance};
  const auto modulation = model.modulations(sigmas, cond)[kSteps / 2];
  bench.time(name, model.tensors_of(latents, modulation, cond), model, with_graph);
  bench.time(
      name + "+ahead", {sigmas},
      [&](const std::vector<Tensor>& in) { return model.modulations(in[0], cond).front().temb; }, false);
  bench.time(
      name + "+alone", {latents, at::full({1}, 0.5, bench.on_gpu(at::kFloat)), text, pooled, rope, guidance},
      [&](const std::vector<Tensor>& in) {
        return model(
            in[0], in[1],
            {.prompt_embeds = in[2], .pooled_prompt_embeds = in[3], .rope = in[4], .guidance = in[5]});
      },
      with_graph);
}

void flux(Bench& bench) {
  if (bench.wants("flux"))
    time_flux(bench, "flux", {flux_config(), bench.random_weights(at::kBFloat16)}, true);
  bench.backend().empty_cache();
  if (bench.wants("flux_float8"))
    time_flux(bench, "flux_float8", {flux_config(), bench.random_weights(at::kBFloat16, /*float8=*/true)},
              true);
}

// Blocks of which so many, evenly among the others, stay in host memory; the rest on the GPU.
struct Offloaded {
  const char* row;
  int64_t double_blocks, single_blocks;
  uint64_t budget_bytes;  // of the GPU for all weights
};

void flux_streamed(Bench& bench, const Offloaded& offloaded) {
  if (!bench.wants(offloaded.row)) return;
  placement::DeviceMap map{{"", 0}};
  const auto offload = [&](const char* list, int64_t count, int64_t of) {
    for (int64_t i = 0; i < of; ++i)
      if ((i + 1) * count / of > i * count / of)
        map.set(fmt::format("{}.{}", list, i), placement::Place::cpu());
  };
  const auto c = flux_config();
  offload("transformer_blocks", offloaded.double_blocks, c.num_layers);
  offload("single_transformer_blocks", offloaded.single_blocks, c.num_single_layers);
  const at::Device gpu(at::kCUDA, 0);
  const auto on_gpu = [map](const std::string& name) { return map.at(name).is_accelerator(); };
  const auto stream = std::make_shared<weights::WeightStream>(
      weights::WeightStream::Options{.device = gpu, .budget = offloaded.budget_bytes});
  const weights::WeightScope scope(bench.random_checkpoint(at::kBFloat16, on_gpu),
                                   {.storage = at::kBFloat16, .arithmetic = at::kBFloat16},
                                   weights::ModelPlacement{.map = map, .device = gpu}, stream);
  const models::FluxTransformer2DModel model(c, scope);
  std::printf("{\"row\": \"%s\", \"gpu_gb_before\": %.2f}\n", offloaded.row,
              static_cast<double>(bench.backend().memory(0).used) / 1e9);
  time_flux(bench, offloaded.row, model, false);
  const auto statistics = stream->statistics();
  std::printf("{\"row\": \"%s\", \"streamed_gb\": %.1f, \"reading_s\": %.2f, \"waiting_s\": %.2f}\n",
              offloaded.row, static_cast<double>(statistics.bytes_read) / 1e9, statistics.seconds_reading,
              statistics.seconds_waiting);
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--no-graph")
      options.graph = false;
    else if (argument == "--trace-first")
      options.trace_first = true;
    else if (argument == "--only" && i + 1 < argc)
      options.only = argv[++i];
    else if (argument == "--trace" && i + 1 < argc)
      options.trace = argv[++i];
    else {
      std::fprintf(stderr, "usage: %s [--only NAME[,NAME]] [--trace FOLDER] [--trace-first] [--no-graph]\n",
                   argv[0]);
      return 2;
    }
  }
  const bench::SettledAtTheEnd end;
  try {
    const c10::InferenceMode no_autograd;
    Bench bench(options);
    const auto guarded = [](const char* name, const std::function<void()>& work) {
      try {
        work();
      } catch (const std::exception& error) {
        std::printf("{\"row\": \"%s\", \"error\": \"%.600s\"}\n", name, error.what());
      }
      for (auto* backend : tensor::loaded_backends()) backend->empty_cache();
    };
    guarded("unet", [&] { unet(bench, at::kHalf, {{"unet_2", 2}, {"unet_16", 16}}); });
    guarded("unet_float32", [&] { unet(bench, at::kFloat, {{"unet_float32", 2}}); });
    bench.backend().allow_tf32(0, true);
    guarded("unet_tf32", [&] { unet(bench, at::kFloat, {{"unet_tf32", 2}}); });
    bench.backend().allow_tf32(0, false);
    guarded("vae", [&] {
      vae(bench, "vae_512",
          R"({"latent_channels": 4, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
          "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
          "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})",
          at::kHalf, {1, 4, 64, 64});
    });
    guarded("flux", [&] { flux(bench); });
    guarded("flux_vae", [&] {
      vae(bench, "flux_vae",
          R"({"latent_channels": 16, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
          "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
          "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
          "use_quant_conv": false, "use_post_quant_conv": false})",
          at::kBFloat16, {1, 16, 96, 170});
    });
    guarded("t5", [&] { t5(bench); });
    guarded("flux_14gb", [&] { flux_streamed(bench, {"flux_14gb", 8, 20, uint64_t{14'000'000'000}}); });
    guarded("flux_2gib", [&] { flux_streamed(bench, {"flux_2gib", 19, 38, uint64_t{2} << 30}); });
    guarded("passes", [&] { passes(bench); });
    guarded("products", [&] { products(bench); });
    guarded("attention", [&] { attention(bench); });
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
