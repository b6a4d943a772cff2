#include "diffract/models/text/t5_encoder_model.h"

#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

constexpr ModuleRow kModules[] = {
    {"T5EncoderModel", "shared=Embedding encoder=T5Stack"},
    {"T5Stack", "embed_tokens=Embedding block=[T5Block] final_layer_norm=T5LayerNorm ~dropout=Dropout"},
    {"T5Block", "layer=(T5LayerSelfAttention,T5LayerFF)"},
    {"T5LayerSelfAttention", "SelfAttention=T5Attention layer_norm=T5LayerNorm ~dropout=Dropout"},
    {"T5Attention", "q=Linear k=Linear v=Linear o=Linear relative_attention_bias=Embedding"},
    {"T5LayerFF",
     "DenseReluDense=T5DenseGatedActDense?wi_0|T5DenseActDense layer_norm=T5LayerNorm ~dropout=Dropout"},
    {"T5DenseGatedActDense", "wi_0=Linear wi_1=Linear wo=Linear ~dropout=Dropout ~act=Activation"},
    {"T5DenseActDense", "wi=Linear wo=Linear ~dropout=Dropout ~act=Activation"}};
constexpr const char* kWhole[] = {"T5Block"};
constexpr const char* kAlso[] = {"T5Model", "T5ForConditionalGeneration"};
constexpr const char* kModelTypes[] = {"t5"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& shape) {
  const auto model = std::make_shared<T5EncoderModel>(T5Config::from_json(config), w);
  return {[=] { (*model)(some_ids(shape, shape.text_tokens)); }};
}

// The token table is registered twice.
void tie_token_tables(placement::ModuleTree& tree, const ConfigReader&) {
  const auto* table = tree.find("encoder.embed_tokens");
  tree.root.children.insert(
      tree.root.children.begin(),
      placement::Module{.name = "shared", .class_name = "Embedding", .tensors = table->tensors});
  tree.tied.push_back({"shared.weight", "encoder.embed_tokens.weight"});
}

}  // namespace

extern const ModelClass kT5EncoderModelClass;
const ModelClass kT5EncoderModelClass = {.name = T5EncoderModel::kClassName,
                                         .type = &typeid(T5EncoderModel),
                                         .role = Role::encoder,
                                         .reads_long_texts = true,
                                         .also = kAlso,
                                         .model_types = kModelTypes,
                                         .no_split_modules = kWhole,
                                         .modules = kModules,
                                         .build = build<T5EncoderModel>,
                                         .forward = forward,
                                         .complete = tie_token_tables};

}  // namespace diffract::models
