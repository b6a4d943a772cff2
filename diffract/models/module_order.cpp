#include "diffract/models/module_order.h"

#include <unordered_map>

namespace diffract::models {
namespace {

struct Line {
  const char* type;
  const char* children;  // ~ marks one without tensors, @sibling one that comes with another
};

// As the constructors of diffusers 0.42 and transformers 5 register them; tests/models compares them.
constexpr Line kLines[] = {
    // FLUX
    {"FluxTransformer2DModel",
     "~pos_embed=FluxPosEmbed "
     "time_text_embed=CombinedTimestepGuidanceTextProjEmbeddings?guidance_embedder|"
     "CombinedTimestepTextProjEmbeddings "
     "context_embedder=Linear x_embedder=Linear ~transformer_blocks=[FluxTransformerBlock] "
     "~single_transformer_blocks=[FluxSingleTransformerBlock] norm_out=AdaLayerNormContinuous "
     "proj_out=Linear"},
    {"CombinedTimestepGuidanceTextProjEmbeddings",
     "~time_proj=Timesteps timestep_embedder=TimestepEmbedding guidance_embedder=TimestepEmbedding "
     "text_embedder=PixArtAlphaTextProjection"},
    {"CombinedTimestepTextProjEmbeddings",
     "~time_proj=Timesteps timestep_embedder=TimestepEmbedding text_embedder=PixArtAlphaTextProjection"},
    {"TimestepEmbedding", "linear_1=Linear ~act=SiLU linear_2=Linear"},
    {"PixArtAlphaTextProjection", "linear_1=Linear ~act_1=SiLU linear_2=Linear"},
    {"FluxTransformerBlock",
     "norm1=AdaLayerNormZero norm1_context=AdaLayerNormZero attn=FluxAttention ~norm2=LayerNorm "
     "ff=FeedForward/GELU ~norm2_context=LayerNorm ff_context=FeedForward/GELU"},
    {"FluxSingleTransformerBlock",
     "norm=AdaLayerNormZeroSingle proj_mlp=Linear ~act_mlp=GELU proj_out=Linear attn=FluxAttention"},
    {"AdaLayerNormZero", "~silu=SiLU linear=Linear ~norm=LayerNorm"},
    {"AdaLayerNormZeroSingle", "~silu=SiLU linear=Linear ~norm=LayerNorm"},
    {"AdaLayerNormContinuous", "~silu=SiLU linear=Linear ~norm=LayerNorm"},
    {"FluxAttention",
     "norm_q=RMSNorm norm_k=RMSNorm to_q=Linear to_k=Linear to_v=Linear to_out=(Linear,~Dropout) "
     "norm_added_q=RMSNorm norm_added_k=RMSNorm add_q_proj=Linear add_k_proj=Linear add_v_proj=Linear "
     "to_add_out=Linear"},
    {"FeedForward/GELU", "net=(GELU,~Dropout,Linear)"},
    {"FeedForward/GEGLU", "net=(GEGLU,~Dropout,Linear)"},
    {"GELU", "proj=Linear"},
    {"GEGLU", "proj=Linear"},
    // UNet
    {"UNet2DConditionModel",
     "conv_in=Conv2d ~time_proj=Timesteps time_embedding=TimestepEmbedding "
     "~add_time_proj=Timesteps@add_embedding add_embedding=TimestepEmbedding "
     "down_blocks=[CrossAttnDownBlock2D?attentions|DownBlock2D] "
     "up_blocks=[CrossAttnUpBlock2D?attentions|UpBlock2D] mid_block=UNetMidBlock2DCrossAttn "
     "conv_norm_out=GroupNorm ~conv_act=SiLU conv_out=Conv2d"},
    {"CrossAttnDownBlock2D",
     "attentions=[Transformer2DModel] resnets=[ResnetBlock2D] downsamplers=[Downsample2D]"},
    {"DownBlock2D", "resnets=[ResnetBlock2D] downsamplers=[Downsample2D]"},
    {"CrossAttnUpBlock2D", "attentions=[Transformer2DModel] resnets=[ResnetBlock2D] upsamplers=[Upsample2D]"},
    {"UpBlock2D", "resnets=[ResnetBlock2D] upsamplers=[Upsample2D]"},
    {"UNetMidBlock2DCrossAttn", "attentions=[Transformer2DModel] resnets=[ResnetBlock2D]"},
    {"Transformer2DModel",
     "norm=GroupNorm proj_in=Linear transformer_blocks=[BasicTransformerBlock] proj_out=Linear"},
    {"BasicTransformerBlock",
     "norm1=LayerNorm attn1=Attention norm2=LayerNorm attn2=Attention norm3=LayerNorm ff=FeedForward/GEGLU"},
    {"Attention", "group_norm=GroupNorm to_q=Linear to_k=Linear to_v=Linear to_out=(Linear,~Dropout)"},
    {"ResnetBlock2D",
     "norm1=GroupNorm conv1=Conv2d time_emb_proj=Linear norm2=GroupNorm ~dropout=Dropout conv2=Conv2d "
     "~nonlinearity=SiLU conv_shortcut=Conv2d"},
    {"Downsample2D", "conv=Conv2d"},
    {"Upsample2D", "conv=Conv2d"},
    // VAE
    {"AutoencoderKL", "encoder=Encoder decoder=Decoder quant_conv=Conv2d post_quant_conv=Conv2d"},
    {"Encoder",
     "conv_in=Conv2d down_blocks=[DownEncoderBlock2D] mid_block=UNetMidBlock2D conv_norm_out=GroupNorm "
     "~conv_act=SiLU conv_out=Conv2d"},
    {"Decoder",
     "conv_in=Conv2d up_blocks=[UpDecoderBlock2D] mid_block=UNetMidBlock2D conv_norm_out=GroupNorm "
     "~conv_act=SiLU conv_out=Conv2d"},
    {"DownEncoderBlock2D", "resnets=[ResnetBlock2D] downsamplers=[Downsample2D]"},
    {"UpDecoderBlock2D", "resnets=[ResnetBlock2D] upsamplers=[Upsample2D]"},
    {"UNetMidBlock2D", "~attentions=[Attention] resnets=[ResnetBlock2D]"},
    // T5
    {"T5EncoderModel", "shared=Embedding encoder=T5Stack"},
    {"T5Stack", "embed_tokens=Embedding block=[T5Block] final_layer_norm=T5LayerNorm ~dropout=Dropout"},
    {"T5Block", "layer=(T5LayerSelfAttention,T5LayerFF)"},
    {"T5LayerSelfAttention", "SelfAttention=T5Attention layer_norm=T5LayerNorm ~dropout=Dropout"},
    {"T5Attention", "q=Linear k=Linear v=Linear o=Linear relative_attention_bias=Embedding"},
    {"T5LayerFF",
     "DenseReluDense=T5DenseGatedActDense?wi_0|T5DenseActDense layer_norm=T5LayerNorm ~dropout=Dropout"},
    {"T5DenseGatedActDense", "wi_0=Linear wi_1=Linear wo=Linear ~dropout=Dropout ~act=Activation"},
    {"T5DenseActDense", "wi=Linear wo=Linear ~dropout=Dropout ~act=Activation"},
    // CLIP
    {"CLIPTextModel", "embeddings=CLIPTextEmbeddings encoder=CLIPEncoder final_layer_norm=LayerNorm"},
    {"CLIPTextEmbeddings", "token_embedding=Embedding position_embedding=Embedding"},
    {"CLIPEncoder", "layers=[CLIPEncoderLayer]"},
    {"CLIPEncoderLayer", "self_attn=CLIPAttention layer_norm1=LayerNorm mlp=CLIPMLP layer_norm2=LayerNorm"},
    {"CLIPAttention", "k_proj=Linear v_proj=Linear q_proj=Linear out_proj=Linear"},
    {"CLIPMLP", "~activation_fn=Activation fc1=Linear fc2=Linear"},
};

ChildOrder parse_child(std::string_view text) {
  ChildOrder child;
  if (text.starts_with('~')) {
    child.without_tensors = true;
    text.remove_prefix(1);
  }
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    child.only_with = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const size_t equals = text.find('=');
  child.name = text.substr(0, equals);
  child.type = text.substr(equals + 1);
  return child;
}

std::unordered_map<std::string, std::vector<ChildOrder>> parse_lines() {
  std::unordered_map<std::string, std::vector<ChildOrder>> orders;
  for (const Line& line : kLines) {
    std::string_view rest = line.children;
    auto& children = orders[line.type];
    while (!rest.empty()) {
      const std::string_view word = rest.substr(0, rest.find(' '));
      children.push_back(parse_child(word));
      rest.remove_prefix(std::min(word.size() + 1, rest.size()));
    }
  }
  return orders;
}

}  // namespace

const std::vector<ChildOrder>* module_order(std::string_view type) {
  static const auto orders = parse_lines();
  const auto found = orders.find(std::string(type));
  return found == orders.end() ? nullptr : &found->second;
}

}  // namespace diffract::models
