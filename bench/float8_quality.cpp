// What float8 does to FLUX's pictures and latents, against bfloat16 on the same GPU:
//   float8_quality [FLUX_MODEL]
// FLUX_MODEL (emoji-flux by default) is a trained model, all of whose products are rounded, however small; a
// transformer of FLUX.1-dev's size with random weights follows. Prints one JSON object a line.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstdio>

#include "diffract/core/error.h"
#include "diffract/families/flux/flux.h"
#include "diffract/loading/find_model.h"
#include "diffract/loading/load_component.h"
#include "diffract/tensor/device_backend.h"

namespace {

using namespace diffract;
using at::Tensor;
using models::FluxTransformer2DConfig;
using models::FluxTransformer2DModel;

const at::Device kGpu(at::kCUDA, 0);
constexpr int64_t kSmallest = 16;  // of a trained model's products, so that all of them are rounded

// Peak signal to noise, in decibels, of values with this range.
double psnr(const Tensor& a, const Tensor& b, double range) {
  const double mean_square = (a.to(at::kDouble) - b.to(at::kDouble)).square().mean().item<double>();
  return 10 * std::log10(range * range / std::max(mean_square, 1e-12));
}

double spread(const Tensor& x) { return (x.max() - x.min()).item<double>(); }

Tensor bytes(const std::vector<io::Image>& images) {
  std::vector<Tensor> all;
  for (const auto& image : images)
    all.push_back(at::tensor(at::ArrayRef<uint8_t>(image.pixels.data(), image.pixels.size())).to(at::kFloat));
  return at::cat(all);
}

void compare(const char* what, const char* with, const Tensor& pixels, const Tensor& wanted,
             const Tensor& latents, const Tensor& wanted_latents) {
  const Tensor off = (pixels - wanted).abs();
  fmt::print(
      "{{\"row\": \"{}\", \"against\": \"{}\", \"psnr_db\": {:.2f}, \"mean_difference\": {:.3f}, "
      "\"largest\": {:.0f}, "
      "\"share_above_3\": {:.4f}, \"share_above_16\": {:.4f}, \"latents_psnr_db\": {:.2f}}}\n",
      what, with, psnr(pixels, wanted, 255), off.mean().item<double>(), off.max().item<double>(),
      off.gt(3).to(at::kFloat).mean().item<double>(), off.gt(16).to(at::kFloat).mean().item<double>(),
      psnr(latents, wanted_latents, spread(wanted_latents)));
  std::fflush(stdout);
}

struct Drawn {
  Tensor pixels, latents;
};

// Sixteen pictures; `policy` is the transformer's, the rest is in bfloat16.
Drawn draw(const std::string& model, const tensor::DtypePolicy& policy) {
  const auto folder = io::ModelFolder::open(loading::find_model(model));
  const auto transformer = loading::build_model<FluxTransformer2DModel>(
      {.name = "transformer",
       .config = folder.config("transformer"),
       .weights = folder.component_weights("transformer", "")},
      {.policy = policy, .placement = {.map = {}, .device = kGpu}});
  const auto pipeline = families::FluxPipeline::from_folder(folder, {.transformer = transformer},
                                                            {.torch_dtype = at::kBFloat16, .device = kGpu});
  Tensor pixels, latents;
  for (const char* prompt : {"a red apple", "a dog", "a blue car", "a smiling face"}) {
    const auto output = pipeline({.prompt = {prompt},
                                  .num_inference_steps = 25,
                                  .height = 128,
                                  .width = 128,
                                  .num_images_per_prompt = 4,
                                  .seed = 11});
    const Tensor more = bytes(output.images), end = output.latents.cpu().to(at::kFloat).flatten();
    pixels = pixels.defined() ? at::cat({pixels, more}) : more;
    latents = latents.defined() ? at::cat({latents, end}) : end;
  }
  return {pixels, latents};
}

void trained(const std::string& model) {
  const tensor::DtypePolicy exact{.storage = at::kFloat, .arithmetic = at::kFloat};
  const tensor::DtypePolicy half{.storage = at::kBFloat16, .arithmetic = at::kBFloat16};
  tensor::DtypePolicy float8 = half.with_float8(kGpu);
  float8.smallest_float8 = kSmallest;
  const Drawn in_float32 = draw(model, exact), in_bfloat16 = draw(model, half),
              in_float8 = draw(model, float8);
  compare("trained bfloat16", "float32", in_bfloat16.pixels, in_float32.pixels, in_bfloat16.latents,
          in_float32.latents);
  compare("trained float8", "bfloat16", in_float8.pixels, in_bfloat16.pixels, in_float8.latents,
          in_bfloat16.latents);
  compare("trained float8", "float32", in_float8.pixels, in_float32.pixels, in_float8.latents,
          in_float32.latents);
}

// FLUX.1-dev's transformer with the same random weights each time.
std::shared_ptr<const FluxTransformer2DModel> random_transformer(bool float8) {
  at::Generator generator = at::globalContext().defaultGenerator(kGpu);
  generator.set_current_seed(3);
  const auto make = [](const std::string& name, at::IntArrayRef shape) {
    Tensor values = at::randn(shape, at::TensorOptions(kGpu).dtype(at::kBFloat16)).mul_(0.02);
    if (shape.size() == 1 && name.ends_with("weight")) values.add_(1);  // of a norm
    return values;
  };
  const weights::WeightScope scope(weights::made_source(make, [](const std::string&) { return false; }),
                                   {.storage = at::kBFloat16, .arithmetic = at::kBFloat16, .float8 = float8},
                                   kGpu);
  return std::make_shared<const FluxTransformer2DModel>(
      FluxTransformer2DConfig::from_json({Json{{"guidance_embeds", true}}, "bench"}), scope);
}

void full_size() {
  constexpr int64_t kSide = 32, kText = 128, kSteps = 8;
  const auto options = at::TensorOptions(kGpu).dtype(at::kFloat);
  at::manual_seed(5);
  const Tensor noise = at::randn({1, kSide * kSide, 64}).to(kGpu);
  const Tensor text = at::randn({1, kText, 4096}).to(kGpu, at::kBFloat16);
  const Tensor pooled = at::randn({1, 768}).to(kGpu, at::kBFloat16);
  Tensor ids = at::zeros({kSide, kSide, 3}, options);
  ids.select(2, 1).copy_(at::arange(kSide, options).unsqueeze(1).expand({kSide, kSide}));
  ids.select(2, 2).copy_(at::arange(kSide, options).unsqueeze(0).expand({kSide, kSide}));
  Tensor first[2], last[2];
  for (const bool float8 : {false, true}) {
    const auto model = random_transformer(float8);
    const FluxTransformer2DModel::Conditioning cond{
        .prompt_embeds = text,
        .pooled_prompt_embeds = pooled,
        .rope = model->rotary(at::zeros({kText, 3}, options), ids.view({-1, 3})),
        .guidance = at::full({1}, 3.5, options)};
    Tensor latents = noise;
    for (int64_t step = 0; step < kSteps; ++step) {
      const double sigma = 1.0 - static_cast<double>(step) / kSteps;
      const Tensor velocity = (*model)(latents, at::full({1}, sigma, options), cond);
      if (step == 0) first[float8] = velocity.cpu();
      latents = latents - velocity / static_cast<double>(kSteps);
    }
    last[float8] = latents.cpu();
  }
  const auto relative = [](const Tensor& found, const Tensor& wanted) {
    return ((found - wanted).norm() / wanted.norm()).item<double>();
  };
  fmt::print(
      "{{\"row\": \"full size, random weights, float8\", \"against\": \"bfloat16\", \"velocity_error\": "
      "{:.4f}, "
      "\"velocity_psnr_db\": {:.2f}, \"latents_error\": {:.4f}, \"latents_psnr_db\": {:.2f}}}\n",
      relative(first[1], first[0]), psnr(first[1], first[0], spread(first[0])), relative(last[1], last[0]),
      psnr(last[1], last[0], spread(last[0])));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const c10::InferenceMode no_autograd;
    if (!tensor::find_backend("cuda")) throw UsageError("no GPU: {}", tensor::why_no_backend("cuda"));
    trained(argc > 1 ? argv[1] : "emoji-flux");
    full_size();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error_info(error.kind()).exit_code;
  }
}
