#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"
#include "diffract/models/vae/autoencoder_tiny.h"

namespace diffract::models {
namespace {

constexpr ModuleRow kModules[] = {{"AutoencoderTiny", "encoder=EncoderTiny decoder=DecoderTiny"},
                                  {"EncoderTiny", "layers=[AutoencoderTinyBlock?conv|Conv2d]"},
                                  {"DecoderTiny", "layers=[AutoencoderTinyBlock?conv|Conv2d]"},
                                  {"AutoencoderTinyBlock", "conv=[Conv2d] ~skip=Identity ~fuse=ReLU"}};
constexpr const char* kWhole[] = {"AutoencoderTinyBlock"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<AutoencoderTiny>(AutoencoderTinyConfig::from_json(config), w);
  return {[=] {
    const auto& c = model->config();
    const int64_t scale = c.scale_factor();
    if (s.encodes_pictures) model->encode(on_meta({1, c.in_channels, s.height, s.width}));
    model->decode(on_meta({s.batch, c.latent_channels, s.height / scale, s.width / scale}));
  }};
}

int64_t scale_factor(const ConfigReader& config) {
  return AutoencoderTinyConfig::from_json(config).scale_factor();
}

}  // namespace

extern const ModelClass kAutoencoderTinyClass;
const ModelClass kAutoencoderTinyClass = {.name = AutoencoderTiny::kClassName,
                                          .type = &typeid(AutoencoderTiny),
                                          .role = Role::decoder,
                                          .no_split_modules = kWhole,
                                          .modules = kModules,
                                          .build = build<AutoencoderTiny>,
                                          .forward = forward,
                                          .scale_factor = scale_factor};

}  // namespace diffract::models
