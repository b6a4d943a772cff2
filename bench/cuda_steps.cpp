// Traces denoise steps of a full-size model with random weights, as the pipelines run them once the step is
// recorded: cuda_steps unet|flux FILE.json. tools/draw_timeline.py draws the file.
#include <fmt/format.h>

#include <cstdio>
#include <functional>
#include <string>

#include "bench/cuda_trace.h"
#include "diffract/core/error.h"
#include "diffract/kernels/step_graph.h"
#include "diffract/kernels/step_math.h"
#include "diffract/models/flux/flux_transformer_2d_model.h"
#include "diffract/models/unet/unet_2d_condition_model.h"
#include "diffract/tensor/device_backend.h"

namespace {

using namespace diffract;
using at::Tensor;

const at::Device kGpu(at::kCUDA, 0);
constexpr int kFirst = 6, kTraced = 4;  // steps before the trace, and in it

at::TensorOptions on_gpu(at::ScalarType dtype) { return at::TensorOptions(kGpu).dtype(dtype); }

weights::WeightScope random_weights(at::ScalarType dtype) {
  const auto make = [dtype](const std::string& name, at::IntArrayRef shape) {
    Tensor values = at::randn(shape, on_gpu(dtype)).mul_(0.02);
    if (shape.size() == 1 && name.ends_with("weight")) values.add_(1);  // of a norm
    return values;
  };
  return {weights::made_source(make, [](const std::string&) { return false; }),
          {.storage = dtype, .arithmetic = dtype},
          kGpu};
}

// `predict` gives the velocity of latents at a time in [0, 1].
void trace_steps(const std::string& file, Tensor latents,
                 const std::function<Tensor(const Tensor& latents, double time)>& predict) {
  auto* backend = tensor::find_backend("cuda");
  const auto walk = [&](int steps) {
    for (int i = 0; i < steps; ++i) latents = at::add(latents, predict(latents, 1.0 - 0.05 * i), -0.05);
  };
  walk(kFirst);
  backend->synchronize(0);
  bench::CudaTrace trace;
  walk(kTraced);
  backend->synchronize(0);
  trace.save(file);
}

void unet(const std::string& file) {
  const auto config = models::UNet2DConditionConfig::from_json({Json::parse(R"({"attention_head_dim": 8,
      "cross_attention_dim": 768, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2,
      "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
      "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
      "sample_size": 64})"),
                                                                "bench"});
  const models::UNet2DConditionModel model(config, random_weights(at::kHalf));
  const Tensor text = at::randn({2, 77, 768}, on_gpu(at::kHalf));
  kernels::StepGraphs graphs;
  trace_steps(file, at::randn({1, 4, 64, 64}, on_gpu(at::kFloat)), [&](const Tensor& latents, double time) {
    const Tensor both =
        graphs.run({at::cat({latents, latents}), at::full({2}, 1000 * time, on_gpu(at::kFloat)), text},
                   [&](const std::vector<Tensor>& in) { return model(in[0], in[1], in[2]); });
    return kernels::guide(both, 7.5);
  });
}

void flux(const std::string& file) {
  constexpr int64_t kRows = 48, kColumns = 85, kText = 512;
  const auto config = models::FluxTransformer2DConfig::from_json({Json{{"guidance_embeds", true}}, "bench"});
  const models::FluxTransformer2DModel model(config, random_weights(at::kBFloat16));
  Tensor ids = at::zeros({kRows, kColumns, 3}, on_gpu(at::kFloat));
  ids.select(2, 1).copy_(at::arange(kRows, on_gpu(at::kFloat)).unsqueeze(1).expand({kRows, kColumns}));
  ids.select(2, 2).copy_(at::arange(kColumns, on_gpu(at::kFloat)).unsqueeze(0).expand({kRows, kColumns}));
  const Tensor text = at::randn({1, kText, 4096}, on_gpu(at::kBFloat16)),
               pooled = at::randn({1, 768}, on_gpu(at::kBFloat16)),
               rope = model.rotary(at::zeros({kText, 3}, on_gpu(at::kFloat)), ids.view({-1, 3})),
               guidance = at::full({1}, 3.5, on_gpu(at::kFloat));
  const models::FluxTransformer2DModel::Conditioning cond{
      .prompt_embeds = text, .pooled_prompt_embeds = pooled, .rope = rope, .guidance = guidance};
  models::FluxModulations modulations(model, at::linspace(1, 0.5, 16, on_gpu(at::kFloat)).unsqueeze(1), cond);
  int64_t step = 0;
  kernels::StepGraphs graphs(1);
  trace_steps(file, at::randn({1, kRows * kColumns, 64}, on_gpu(at::kFloat)),
              [&](const Tensor& latents, double) {
                return graphs.run(model.tensors_of(latents, modulations[step++ % 16], cond), model);
              });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 3 ? argv[1] : "";
  if (what != "unet" && what != "flux") {
    std::fprintf(stderr, "usage: %s unet|flux FILE.json\n", argv[0]);
    return 2;
  }
  const bench::SettledAtTheEnd end;
  try {
    const c10::InferenceMode no_autograd;
    if (!tensor::find_backend("cuda")) throw UsageError("no GPU: {}", tensor::why_no_backend("cuda"));
    (what == "unet" ? unet : flux)(argv[2]);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
