#include "diffract/models/unet/unet_2d_condition_model.h"

#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"
#include "diffract/models/unet/unet_original_names.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

constexpr ModuleRow kModules[] = {
    {"UNet2DConditionModel",
     "conv_in=Conv2d ~time_proj=Timesteps time_embedding=TimestepEmbedding "
     "~add_time_proj=Timesteps@add_embedding add_embedding=TimestepEmbedding "
     "down_blocks=[CrossAttnDownBlock2D?attentions|DownBlock2D] "
     "up_blocks=[CrossAttnUpBlock2D?attentions|UpBlock2D] "
     "mid_block=UNetMidBlock2DCrossAttn?attentions|UNetMidBlock2D "
     "conv_norm_out=GroupNorm ~conv_act=SiLU conv_out=Conv2d encoder_hid_proj=MultiIPAdapterImageProjection"},
    {"MultiIPAdapterImageProjection",
     "image_projection_layers=[ImageProjection?proj|IPAdapterPlusImageProjection]"},
    {"ImageProjection", "proj=Linear norm=LayerNorm"},
    {"IPAdapterPlusImageProjection",
     "proj_in=Linear proj_out=Linear norm_out=LayerNorm layers=[PerceiverLayer]"},
    {"PerceiverLayer", "0=PerceiverAttention 1=PerceiverFeedForward"},
    {"PerceiverAttention", "norm1=LayerNorm norm2=LayerNorm to_q=Linear to_kv=Linear to_out=Linear"},
    {"PerceiverFeedForward", "0=LayerNorm 1=Linear 3=Linear"},
    {"IPAdapterAttnProcessor2_0", "to_k_ip=[Linear] to_v_ip=[Linear]"},
    {"CrossAttnDownBlock2D",
     "attentions=[Transformer2DModel] resnets=[ResnetBlock2D] downsamplers=[Downsample2D]"},
    {"DownBlock2D", "resnets=[ResnetBlock2D] downsamplers=[Downsample2D]"},
    {"CrossAttnUpBlock2D", "attentions=[Transformer2DModel] resnets=[ResnetBlock2D] upsamplers=[Upsample2D]"},
    {"UpBlock2D", "resnets=[ResnetBlock2D] upsamplers=[Upsample2D]"},
    {"UNetMidBlock2DCrossAttn", "attentions=[Transformer2DModel] resnets=[ResnetBlock2D]"},
    {"Transformer2DModel",
     "norm=GroupNorm proj_in=Linear ~transformer_blocks=[BasicTransformerBlock] proj_out=Linear"},
    {"BasicTransformerBlock",
     "norm1=LayerNorm attn1=Attention norm2=LayerNorm attn2=Attention norm3=LayerNorm ff=FeedForward/GEGLU"}};
// diffusers', and the projections of IP-Adapters.
constexpr const char* kWhole[] = {"BasicTransformerBlock",        "ResnetBlock2D",
                                  "CrossAttnUpBlock2D",           "UpBlock2D",
                                  "IPAdapterPlusImageProjection", "ImageProjection"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto c = UNet2DConditionConfig::from_json(config);
  const auto model = std::make_shared<UNet2DConditionModel>(c, w);
  return {[=] {
    std::vector<Tensor> tokens;
    for (const ImageProjectionConfig& one : c.ip_adapters)
      tokens.push_back(on_meta({s.batch, one.num_image_text_embeds, one.cross_attention_dim}));
    const Tensor added = c.text_time ? on_meta({s.batch, c.time_embed_dim()}) : Tensor();
    (*model)(on_meta({s.batch, c.in_channels, s.height / s.vae_scale_factor, s.width / s.vae_scale_factor}),
             500.0, on_meta({s.batch, s.text_tokens, c.cross_attention_dim.front()}),
             {.added = added,
              .guidance = c.time_cond_proj_dim > 0 ? on_meta({s.batch}) : Tensor(),
              .image_tokens = tokens,
              .image_scales = on_meta({static_cast<int64_t>(tokens.size())})});
  }};
}

}  // namespace

extern const ModelClass kUNet2DConditionModelClass;
const ModelClass kUNet2DConditionModelClass = {.name = UNet2DConditionModel::kClassName,
                                               .type = &typeid(UNet2DConditionModel),
                                               .role = Role::denoiser,
                                               .is_guided = true,
                                               .no_split_modules = kWhole,
                                               .modules = kModules,
                                               .build = build<UNet2DConditionModel>,
                                               .forward = forward,
                                               .sample_size = sample_size_of,
                                               .original_names = unet_original_names};

}  // namespace diffract::models
