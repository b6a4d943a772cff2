#include "diffract/models/controlnet/controlnet_model.h"

#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

// Those of its blocks stand in the UNet's class.
constexpr ModuleRow kModules[] = {
    {"ControlNetModel",
     "conv_in=Conv2d ~time_proj=Timesteps time_embedding=TimestepEmbedding "
     "~add_time_proj=Timesteps@add_embedding add_embedding=TimestepEmbedding "
     "controlnet_cond_embedding=ControlNetConditioningEmbedding "
     "down_blocks=[CrossAttnDownBlock2D?attentions|DownBlock2D] controlnet_down_blocks=[Conv2d] "
     "controlnet_mid_block=Conv2d mid_block=UNetMidBlock2DCrossAttn?attentions|UNetMidBlock2D"},
    {"ControlNetConditioningEmbedding", "conv_in=Conv2d blocks=[Conv2d] conv_out=Conv2d"}};
constexpr const char* kWhole[] = {"BasicTransformerBlock", "ResnetBlock2D"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<ControlNetModel>(ControlNetConfig::from_json(config), w);
  const auto& c = model->config();
  const auto& unet = c.encoder;
  const int64_t height = s.height / s.vae_scale_factor, width = s.width / s.vae_scale_factor;
  return {[=] {
    // The pictures' part runs once for all steps; its maps may be the largest.
    const Tensor hint = model->embedded(on_meta({1, c.conditioning_channels, s.height, s.width}));
    const Tensor added = unet.text_time ? on_meta({s.batch, unet.time_embed_dim()}) : Tensor();
    (*model)(on_meta({s.batch, unet.in_channels, height, width}), on_meta({s.batch}),
             on_meta({s.batch, s.text_tokens, unet.cross_attention_dim.front()}),
             {.hint = hint, .added = added, .scales = on_meta({static_cast<int64_t>(c.skips()) + 1})});
  }};
}

}  // namespace

extern const ModelClass kControlNetModelClass;
const ModelClass kControlNetModelClass = {.name = ControlNetModel::kClassName,
                                          .type = &typeid(ControlNetModel),
                                          .role = Role::denoiser,
                                          .is_guided = true,
                                          .no_split_modules = kWhole,
                                          .modules = kModules,
                                          .build = build<ControlNetModel>,
                                          .forward = forward};

}  // namespace diffract::models
