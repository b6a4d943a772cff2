#include "diffract/models/flux/flux_transformer_2d_model.h"

#include "diffract/models/model_class.h"
#include "diffract/models/shared/on_meta.h"

namespace diffract::models {
namespace {

using weights::WeightScope;

constexpr ModuleRow kModules[] = {
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
     "to_add_out=Linear"}};
constexpr const char* kWhole[] = {"FluxTransformerBlock", "FluxSingleTransformerBlock"};
constexpr const char* kRare[] = {"AdaLayerNormZero", "AdaLayerNormZeroSingle"};

Forward forward(const ConfigReader& config, const WeightScope& w, const ForwardShape& s) {
  const auto model = std::make_shared<FluxTransformer2DModel>(FluxTransformer2DConfig::from_json(config), w);
  const auto& c = model->config();
  const int64_t tokens = (s.height / (2 * s.vae_scale_factor)) * (s.width / (2 * s.vae_scale_factor));
  const int64_t at_once = FluxModulations::steps_at_once(*model, s.steps, s.batch);
  const auto run = [=] {
    const FluxTransformer2DModel::Conditioning cond{
        .prompt_embeds = on_meta({s.batch, s.text_tokens, c.joint_attention_dim}),
        .pooled_prompt_embeds = on_meta({s.batch, c.pooled_projection_dim}),
        .rope = on_meta({s.text_tokens + tokens, c.attention_head_dim / 2, 2}),
        .guidance = c.guidance_embeds ? on_meta({s.batch}) : at::Tensor()};
    // The modulations of the steps ahead are alive too; this step does not make them.
    const at::Tensor others = on_meta({at_once - 1, model->modulation_bytes(s.batch) / 4});
    const auto modulation = model->modulations(on_meta({1, s.batch}), cond).front();
    (*model)(on_meta({s.batch, tokens, c.in_channels}), modulation, cond);
  };
  const auto times = (std::max<int64_t>(s.steps, 1) + at_once - 1) / at_once;
  return {run, static_cast<double>(times) / static_cast<double>(std::max<int64_t>(s.steps, 1))};
}

// diffusers' own constant; the config has none.
SampleSize sample_size(const ConfigReader&) { return {.height = 128, .width = 128}; }

}  // namespace

extern const ModelClass kFluxTransformer2DModelClass;
const ModelClass kFluxTransformer2DModelClass = {.name = FluxTransformer2DModel::kClassName,
                                                 .type = &typeid(FluxTransformer2DModel),
                                                 .role = Role::denoiser,
                                                 .reads_long_texts = true,
                                                 .no_split_modules = kWhole,
                                                 .rare_modules = kRare,
                                                 .modules = kModules,
                                                 .build = build<FluxTransformer2DModel>,
                                                 .forward = forward,
                                                 .sample_size = sample_size};

}  // namespace diffract::models
