#include "diffract/families/shared/unet_denoiser.h"

#include "diffract/tensor/device_copy.h"

namespace diffract::families {
namespace {

// Where inputs of the step stand, which a recorded step is known by. Those of a ControlNet that does not act
// in a step are undefined. Behind them come the scales and the tokens of IP-Adapters.
enum Input : size_t { kSample, kTime, kText, kAdded, kGuidance, kFirstNet };
enum NetInput : size_t { kHint, kNetAdded, kScales, kNetInputs };

Tensor second_half(const Tensor& x) { return x.defined() ? x.chunk(2)[1] : x; }

// Rows for both halves, of which the negative one is not moved.
Tensor beside_zeros(const Tensor& x) { return at::cat({at::zeros_like(x), x}); }

}  // namespace

UNetDenoiser::UNetDenoiser(const Models& models, const UNetConditions& conditions, ControlSetting control,
                           const Walk& walk)
    : models_(models),
      control_(std::move(control)),
      walk_(walk),
      text_(conditions.text),
      images_(conditions.images) {
  if (models.unet.config().text_time)
    added_ = models.unet.added_embedding(conditions.pooled, conditions.time_ids);
}

Tensor UNetDenoiser::predict(const Tensor& input, size_t step, double timestep) {
  const auto for_each_image = [&](double value) {
    return at::full({input.size(0)}, value, input.options().dtype(at::kFloat));
  };
  const bool is_guided_by_model = models_.unet.config().time_cond_proj_dim > 0;
  std::vector<Tensor> inputs = {input, for_each_image(timestep), text_, added_,
                                is_guided_by_model ? for_each_image(walk_.guidance - 1) : Tensor()};
  for (const WalkControl& net : control_.nets) {
    const double scale = net.strength.at(step - walk_.begin, walk_.end - walk_.begin);
    if (scale == 0) {
      inputs.resize(inputs.size() + kNetInputs);
      continue;
    }
    const Tensor scales = net.model->scales(scale, control_.guess_mode);
    inputs.insert(inputs.end(), {net.hint, net.added, tensor::send_to(scales, input.device())});
  }
  const size_t scales_at = inputs.size();
  inputs.push_back(images_.scales);
  inputs.insert(inputs.end(), images_.images.begin(), images_.images.end());
  return models_.graphs.run(inputs, [this, scales_at](const std::vector<Tensor>& in) {
    return models_.unet(in[kSample], in[kTime], in[kText],
                        {.added = in[kAdded],
                         .guidance = in[kGuidance],
                         .image_tokens = {in.begin() + static_cast<ptrdiff_t>(scales_at) + 1, in.end()},
                         .image_scales = in[scales_at]},
                        residuals(in));
  });
}

// The sum over the ControlNets that act.
std::vector<Tensor> UNetDenoiser::residuals(const std::vector<Tensor>& in) const {
  std::vector<Tensor> sum;
  const auto seen = [&](const Tensor& x) { return control_.sees_half ? second_half(x) : x; };
  for (size_t i = 0; i < control_.nets.size(); ++i) {
    const auto* net = &in[kFirstNet + i * kNetInputs];
    if (!net[kScales].defined()) continue;
    const auto& model = *control_.nets[i].model;
    // A UNet that paints parts anew has a mask and a picture behind the latents, which the net does not read.
    const Tensor latents = in[kSample].narrow(1, 0, model.config().encoder.in_channels);
    const auto own = model(seen(latents), seen(in[kTime]), seen(in[kText]),
                           {.hint = net[kHint], .added = net[kNetAdded], .scales = net[kScales]});
    if (sum.empty())
      sum = own;
    else
      for (size_t r = 0; r < own.size(); ++r) sum[r] = sum[r] + nn::beside(sum[r], own[r]);
  }
  if (control_.sees_half)
    for (Tensor& residual : sum) residual = beside_zeros(residual);
  return sum;
}

ControlSetting make_control(const std::vector<std::shared_ptr<const models::ControlNetModel>>& nets,
                            const std::vector<pipelines::ControlPictures>& pictures,
                            const std::vector<pipelines::ControlStrength>& strengths,
                            const UNetConditions& conditions, bool guess_mode, bool guided,
                            at::Device device) {
  ControlSetting setting;
  if (pictures.empty()) return setting;
  // As in diffusers, the first ControlNet says so for all.
  setting.guess_mode = guess_mode || nets.front()->config().global_pool_conditions;
  setting.sees_half = setting.guess_mode && guided;
  const auto seen = [&](const Tensor& x) { return setting.sees_half ? second_half(x) : x; };
  for (size_t i = 0; i < nets.size(); ++i) {
    const Tensor each = nets[i]->embedded(tensor::send_to(pictures[i].pixels, device));
    const Tensor rows =
        each.index_select(0, tensor::send_to(at::tensor(pictures[i].of_image, at::kLong), each.device()));
    WalkControl control{.model = nets[i].get(),
                        .hint = guided && !setting.sees_half ? at::cat({rows, rows}) : rows,
                        .added = {},
                        .strength = strengths[i]};
    if (nets[i]->config().encoder.text_time)
      control.added = nets[i]->added_embedding(seen(conditions.pooled), seen(conditions.time_ids));
    setting.nets.push_back(std::move(control));
  }
  return setting;
}

}  // namespace diffract::families
