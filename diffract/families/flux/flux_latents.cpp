#include "diffract/families/flux/flux_latents.h"

#include "diffract/core/error.h"

namespace diffract::families {

at::Tensor pack_latents(const at::Tensor& latents) {
  const int64_t batch = latents.size(0), channels = latents.size(1), rows = latents.size(2) / 2,
                columns = latents.size(3) / 2;
  return latents.view({batch, channels, rows, 2, columns, 2})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({batch, rows * columns, channels * 4});
}

at::Tensor unpack_latents(const at::Tensor& latents, const loading::ImageSize& size,
                          int64_t vae_scale_factor) {
  const int64_t token = 2 * vae_scale_factor;  // pixels of a token, each way
  const int64_t rows = size.height / token, columns = size.width / token;
  if (latents.dim() != 3 || latents.size(1) != rows * columns || latents.size(2) % 4 != 0)
    throw UsageError("latents: have shape {}; expected [batch, {}, 4 * channels] for {}x{} pixels",
                     c10::str(latents.sizes()), rows * columns, size.width, size.height);
  const int64_t batch = latents.size(0), channels = latents.size(2) / 4;
  return latents.reshape({batch, rows, columns, channels, 2, 2})
      .permute({0, 3, 1, 4, 2, 5})
      .reshape({batch, channels, 2 * rows, 2 * columns});
}

at::Tensor latent_image_ids(int64_t rows, int64_t columns) {
  at::Tensor ids = at::zeros({rows, columns, 3});
  ids.select(2, 1).copy_(at::arange(rows, at::kFloat).unsqueeze(1).expand({rows, columns}));
  ids.select(2, 2).copy_(at::arange(columns, at::kFloat).unsqueeze(0).expand({rows, columns}));
  return ids.view({rows * columns, 3});
}

double shift_of(int64_t image_tokens, const schedulers::SchedulerSpec& scheduler) {
  const ConfigReader config(scheduler.config, scheduler.source);
  const auto base_tokens = static_cast<double>(config.integer("base_image_seq_len", 1, 1 << 24, 256));
  const auto most_tokens = static_cast<double>(config.integer("max_image_seq_len", 1, 1 << 24, 4096));
  const double base = config.number("base_shift", -100, 100, 0.5),
               most = config.number("max_shift", -100, 100, 1.15);
  if (base_tokens == most_tokens)
    throw CheckpointError("{}: \"base_image_seq_len\" and \"max_image_seq_len\" are both {}",
                          scheduler.source, base_tokens);
  const double slope = (most - base) / (most_tokens - base_tokens);
  return static_cast<double>(image_tokens) * slope + (base - slope * base_tokens);
}

}  // namespace diffract::families
