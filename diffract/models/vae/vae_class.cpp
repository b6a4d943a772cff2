#include "diffract/models/vae/autoencoder_kl.h"

#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"
#include "diffract/models/vae/vae_original_names.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

constexpr ModuleRow kModules[] = {
    {"AutoencoderKL", "encoder=Encoder decoder=Decoder quant_conv=Conv2d post_quant_conv=Conv2d"},
    {"Encoder",
     "conv_in=Conv2d down_blocks=[DownEncoderBlock2D] mid_block=UNetMidBlock2D conv_norm_out=GroupNorm "
     "~conv_act=SiLU conv_out=Conv2d"},
    {"Decoder",
     "conv_in=Conv2d up_blocks=[UpDecoderBlock2D] mid_block=UNetMidBlock2D conv_norm_out=GroupNorm "
     "~conv_act=SiLU conv_out=Conv2d"},
    {"DownEncoderBlock2D", "resnets=[ResnetBlock2D] downsamplers=[Downsample2D]"},
    {"UpDecoderBlock2D", "resnets=[ResnetBlock2D] upsamplers=[Upsample2D]"},
    {"UNetMidBlock2D", "~attentions=[Attention] resnets=[ResnetBlock2D]"}};
constexpr const char* kWhole[] = {"BasicTransformerBlock", "ResnetBlock2D"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<AutoencoderKL>(AutoencoderKLConfig::from_json(config), w);
  const auto& c = model->config();
  return {[=] {
    if (s.encodes_pictures) model->encode(on_meta({1, c.in_channels, s.height, s.width}));
    model->decode(
        on_meta({s.batch, c.latent_channels, s.height / c.scale_factor(), s.width / c.scale_factor()}));
  }};
}

int64_t scale_factor(const ConfigReader& config) {
  return AutoencoderKLConfig::from_json(config).scale_factor();
}

bool force_upcast(const ConfigReader& config) { return config.boolean("force_upcast", true); }

}  // namespace

extern const ModelClass kAutoencoderKLClass;
const ModelClass kAutoencoderKLClass = {.name = AutoencoderKL::kClassName,
                                        .type = &typeid(AutoencoderKL),
                                        .role = Role::decoder,
                                        .no_split_modules = kWhole,
                                        .modules = kModules,
                                        .build = build<AutoencoderKL>,
                                        .forward = forward,
                                        .scale_factor = scale_factor,
                                        .force_upcast = force_upcast,
                                        .original_names = vae_original_names};

}  // namespace diffract::models
