#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"
#include "diffract/models/shared/position_ids.h"
#include "diffract/models/vision/clip_vision_model.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

// The encoder's rows stand with those of CLIPTextModel.
constexpr ModuleRow kModules[] = {
    {"CLIPVisionModelWithProjection", "vision_model=CLIPVisionModel visual_projection=Linear"},
    {"CLIPVisionModel",
     "embeddings=CLIPVisionEmbeddings pre_layrnorm=LayerNorm encoder=CLIPEncoder post_layernorm=LayerNorm"},
    {"CLIPVisionEmbeddings", "patch_embedding=Conv2d position_embedding=Embedding"}};
constexpr const char* kWhole[] = {"CLIPEncoderLayer", "CLIPVisionEmbeddings"};
constexpr const char* kModelTypes[] = {"clip_vision_model"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& shape) {
  const auto model = std::make_shared<CLIPVisionModelWithProjection>(CLIPVisionConfig::from_json(config), w);
  const int64_t side = model->config().image_size;
  return {[=] { model->image_embeds(on_meta({shape.batch, 3, side, side})); }};
}

void complete(placement::ModuleTree& tree, const ConfigReader& config) {
  add_position_ids(tree.root, CLIPVisionConfig::from_json(config).tokens());
}

}  // namespace

extern const ModelClass kCLIPVisionModelWithProjectionClass;
const ModelClass kCLIPVisionModelWithProjectionClass = {.name = CLIPVisionModelWithProjection::kClassName,
                                                        .type = &typeid(CLIPVisionModelWithProjection),
                                                        .role = Role::encoder,
                                                        .reads_pictures = true,
                                                        .model_types = kModelTypes,
                                                        .no_split_modules = kWhole,
                                                        .modules = kModules,
                                                        .build = build<CLIPVisionModelWithProjection>,
                                                        .forward = forward,
                                                        .complete = complete};

}  // namespace diffract::models
