#include "diffract/models/text/clip_text_model.h"

#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"
#include "diffract/models/shared/position_ids.h"
#include "diffract/models/text/clip_original_names.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

constexpr ModuleRow kModules[] = {
    {"CLIPTextModel", "embeddings=CLIPTextEmbeddings encoder=CLIPEncoder final_layer_norm=LayerNorm"},
    {"CLIPTextModelWithProjection", "text_model=CLIPTextModel text_projection=Linear"},
    {"CLIPTextEmbeddings", "token_embedding=Embedding position_embedding=Embedding"},
    {"CLIPEncoder", "layers=[CLIPEncoderLayer]"},
    {"CLIPEncoderLayer", "self_attn=CLIPAttention layer_norm1=LayerNorm mlp=CLIPMLP layer_norm2=LayerNorm"},
    {"CLIPAttention", "k_proj=Linear v_proj=Linear q_proj=Linear out_proj=Linear"},
    {"CLIPMLP", "~activation_fn=Activation fc1=Linear fc2=Linear"}};
constexpr const char* kWhole[] = {"CLIPEncoderLayer", "CLIPTextEmbeddings"};
constexpr const char* kAlso[] = {"CLIPModel"};
constexpr const char* kModelTypes[] = {"clip_text_model", "clip"};

template <typename Model>
Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& shape) {
  const auto model = std::make_shared<Model>(CLIPTextConfig::from_json(config), w);
  return {[=] { (*model)(some_ids(shape, model->config().max_position_embeddings)); }};
}

void complete(placement::ModuleTree& tree, const ConfigReader& config) {
  add_position_ids(tree.root, CLIPTextConfig::from_json(config).max_position_embeddings);
}

template <bool kHasProjection>
std::vector<weights::NamedPart> original_names(const std::string& name, const ConfigReader& config) {
  return clip_original_names(name, config, kHasProjection);
}

}  // namespace

extern const ModelClass kCLIPTextModelClass;
const ModelClass kCLIPTextModelClass = {.name = CLIPTextModel::kClassName,
                                        .type = &typeid(CLIPTextModel),
                                        .role = Role::encoder,
                                        .also = kAlso,
                                        .model_types = kModelTypes,
                                        .no_split_modules = kWhole,
                                        .modules = kModules,
                                        .build = build<CLIPTextModel>,
                                        .forward = forward<CLIPTextModel>,
                                        .complete = complete,
                                        .original_names = original_names<false>};

// Its rows of modules stand with those of CLIPTextModel.
extern const ModelClass kCLIPTextModelWithProjectionClass;
const ModelClass kCLIPTextModelWithProjectionClass = {.name = CLIPTextModelWithProjection::kClassName,
                                                      .type = &typeid(CLIPTextModelWithProjection),
                                                      .role = Role::encoder,
                                                      .no_split_modules = kWhole,
                                                      .build = build<CLIPTextModelWithProjection>,
                                                      .forward = forward<CLIPTextModelWithProjection>,
                                                      .complete = complete,
                                                      .original_names = original_names<true>};

}  // namespace diffract::models
