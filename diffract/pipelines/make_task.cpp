#include "diffract/pipelines/make_task.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/tensor/device_copy.h"

namespace diffract::pipelines {
namespace {

using at::Tensor;
using loading::TaskKind;

// Rows of the P different pictures, one an image.
Tensor one_each(const Tensor& rows, const TaskInputs& inputs) {
  return rows.index_select(0, at::tensor(inputs.of_image, at::kLong));
}

class Maker {
 public:
  Maker(const TaskInputs& inputs, const TaskModels& models, const schedulers::NoiseSource& draw)
      : inputs_(inputs), models_(models), draw_(draw) {}

  Tensor sample(const Tensor& pixels) const {
    const models::LatentDistribution found = models_.encode(tensor::send_to(pixels, models_.device));
    const Tensor index = tensor::send_to(at::tensor(inputs_.of_image, at::kLong), models_.device);
    const models::LatentDistribution one_each{.mean = found.mean.index_select(0, index),
                                              .logvar = found.logvar.index_select(0, index)};
    return (one_each.sample(draw_()) - models_.shift_factor) * models_.scaling_factor;
  }
  Tensor given() const { return tensor::send_to(one_each(inputs_.latents, inputs_), models_.device); }
  // The upper left pixel of each latent, as torch's nearest interpolation takes it.
  Tensor latent_mask() const {
    const int64_t step = models_.vae_scale_factor;
    const Tensor mask = inputs_.mask.slice(2, 0, std::nullopt, step).slice(3, 0, std::nullopt, step);
    return tensor::send_to(one_each(mask, inputs_), models_.device);
  }

 private:
  const TaskInputs& inputs_;
  const TaskModels& models_;
  const schedulers::NoiseSource& draw_;
};

}  // namespace

void check_denoiser(const TaskInputs& inputs, const TaskModels& models) {
  if (models.reads_mask() && inputs.task.kind != TaskKind::inpainting)
    throw UsageError(
        "mask_image: this model paints parts of pictures anew, as its {} input channels say; give a picture "
        "with --image and a mask with --mask-image",
        models.denoiser_channels);
  if (inputs.latents.defined() && inputs.latents.size(1) != models.latent_channels)
    throw UsageError("image: the latents have {} channels; this model's have {}", inputs.latents.size(1),
                     models.latent_channels);
}

void begin_walk(schedulers::Schedule& schedule, const TaskInputs& inputs, int64_t steps) {
  if (inputs.task.kind == TaskKind::text_to_image) return;
  const int64_t kept = std::min(static_cast<int64_t>(static_cast<double>(steps) * inputs.strength), steps);
  if (kept < 1)
    throw UsageError("strength {}: leaves no step of {}; take more of either", inputs.strength, steps);
  schedule.begin_at(static_cast<size_t>(steps - kept) * schedule.order());
}

Task make_task(const TaskInputs& inputs, const TaskModels& models, const schedulers::NoiseSource& draw) {
  if (inputs.task.kind == TaskKind::text_to_image) return {.noise = draw()};
  const Maker make(inputs, models, draw);
  const bool inpaints = inputs.task.kind == TaskKind::inpainting;
  Task task{.begins_with_noise = inpaints && inputs.strength == 1};
  if (inputs.latents.defined())
    task.image_latents = make.given();
  else if (!task.begins_with_noise || !models.reads_mask())
    task.image_latents = make.sample(inputs.pixels);
  task.noise = draw();
  if (!inpaints) return task;
  if (models.reads_mask()) {
    const Tensor masked = make.sample(inputs.pixels * (1 - inputs.mask));
    task.extra_channels = at::cat({make.latent_mask(), masked}, 1);
  } else {
    draw();  // diffusers samples the masked picture here too, so that later noise depends on it
    task.mask = make.latent_mask();
  }
  return task;
}

}  // namespace diffract::pipelines
