#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/families/flux/flux.h"
#include "diffract/families/shared/pretrained_folder.h"
#include "diffract/loading/load_component.h"
#include "diffract/loading/model_defaults.h"
#include "diffract/text/clip_tokenizer.h"
#include "diffract/text/t5_tokenizer.h"

namespace diffract::families {
namespace {

constexpr size_t kMostGraphs = 1;  // a picture's steps, of the size that came last

// A tokenizer is small and stays.
template <typename Tokenizer>
loading::Component<text::Tokenizer> tokenizer(const loading::GivenComponent<text::Tokenizer>& part,
                                              const loading::ComponentLoader& load, const char* name,
                                              const std::vector<std::string>& classes) {
  if (!part.from_checkpoint()) return {part.model(), name};
  load.require_class(name, classes);
  return {std::make_shared<const Tokenizer>(Tokenizer::load(load.folder().component_folder(name))), name};
}

struct AsItIs {
  template <typename Model>
  std::shared_ptr<const Model> operator()(std::shared_ptr<const Model> model) const {
    return model;
  }
};

// A model is looked over now and loaded when its stage begins; loaded now where several processes share it.
// `make` gives what the pipeline works with.
template <typename Model, typename Make = AsItIs>
auto model(const loading::GivenComponent<Model>& part, const loading::ComponentLoader& load,
           const std::shared_ptr<loading::KeptModels>& kept, const char* name, const Make& make = {}) {
  using Made = typename decltype(make(part.model()))::element_type;
  using Result = loading::Component<std::remove_const_t<Made>>;
  const auto made = [=] { return make(load.model<Model>(name)); };
  if (!part.from_checkpoint()) return Result(part.model() ? make(part.model()) : nullptr, name);
  if (load.over_ranks()) return Result(made(), name);
  load.check<Model>(name);
  return Result(made, name, kept);
}

std::vector<std::string> not_from_checkpoint(const FluxPipeline::Parts& parts) {
  std::vector<std::string> names;
  const auto add = [&](bool from_checkpoint, const char* name) {
    if (!from_checkpoint) names.emplace_back(name);
  };
  add(parts.text_encoder.from_checkpoint(), "text_encoder");
  add(parts.text_encoder_2.from_checkpoint(), "text_encoder_2");
  add(parts.transformer.from_checkpoint(), "transformer");
  add(parts.vae.from_checkpoint(), "vae");
  return names;
}

// Configs that contradict each other would only show in the middle of a picture.
void check_parts_fit(const io::ModelFolder& folder, const FluxPipeline::Parts& parts) {
  if (!parts.transformer.from_checkpoint()) return;
  const auto transformer = models::FluxTransformer2DConfig::from_json(folder.config("transformer"));
  const auto require = [](int64_t found, const char* what, int64_t expected, const char* of) {
    if (found != expected)
      throw CheckpointError(
          "transformer: \"{}\" is {}, but {} is {}. The folder mixes parts of different models", what, found,
          of, expected);
  };
  if (parts.text_encoder_2.from_checkpoint())
    require(transformer.joint_attention_dim, "joint_attention_dim",
            models::T5Config::from_json(folder.config("text_encoder_2")).d_model,
            "text_encoder_2: \"d_model\"");
  if (parts.text_encoder.from_checkpoint())
    require(transformer.pooled_projection_dim, "pooled_projection_dim",
            models::CLIPTextConfig::from_json(folder.config("text_encoder")).hidden_size,
            "text_encoder: \"hidden_size\"");
  if (parts.vae.from_checkpoint())
    require(transformer.in_channels, "in_channels",
            4 * models::AutoencoderKLConfig::from_json(folder.config("vae")).latent_channels,
            "four times vae: \"latent_channels\"");
}

}  // namespace

FluxPipeline FluxPipeline::from_pretrained(const std::string& model, const Parts& parts,
                                           const loading::LoadOptions& options) {
  return from_folder(pretrained_folder(model, options), parts, options);
}

FluxPipeline FluxPipeline::from_folder(const io::ModelFolder& folder, const Parts& parts,
                                       const loading::LoadOptions& options) {
  const loading::ComponentLoader load(folder, kFlux, options, not_from_checkpoint(parts));
  FluxPipeline p;
  p.scheduler_ = pipelines::first_scheduler(load.scheduler(), options, p.scheduler_rules());
  p.policy_ = load.policy();
  // A transformer that was given works where it is.
  p.device_ = parts.transformer.model() ? parts.transformer.model()->device() : load.device();
  p.map_ = load.hf_device_map();
  p.tokenizer_ = tokenizer<text::ClipTokenizer>(parts.tokenizer, load, "tokenizer",
                                                {"CLIPTokenizer", "CLIPTokenizerFast"});
  p.tokenizer_2_ = tokenizer<text::T5Tokenizer>(parts.tokenizer_2, load, "tokenizer_2",
                                                {"T5Tokenizer", "T5TokenizerFast"});
  p.kept_ = std::make_shared<loading::KeptModels>();
  p.texts_ = std::make_shared<pipelines::TextCache>(load.over_ranks() ? 0 : pipelines::TextCache::kMostBytes);
  p.text_encoder_ = model(parts.text_encoder, load, p.kept_, "text_encoder");
  p.text_encoder_2_ = model(parts.text_encoder_2, load, p.kept_, "text_encoder_2");
  const bool records = load.may_record("transformer") && parts.transformer.from_checkpoint();
  p.transformer_ = model(parts.transformer, load, p.kept_, "transformer", [records](auto transformer) {
    return std::make_shared<const RecordedTransformer>(std::move(transformer), records ? kMostGraphs : 0);
  });
  p.vae_ = model(parts.vae, load, p.kept_, "vae");
  if (folder.has_component("vae"))  // its config alone, also where the weights are left out
    p.vae_scale_factor_ = models::AutoencoderKLConfig::from_json(folder.config("vae")).scale_factor();
  const int64_t pixels = kFlux.sample_size * p.vae_scale_factor_;
  p.defaults_ = loading::model_defaults(folder, {.size = {.height = pixels, .width = pixels},
                                                 .num_inference_steps = kFlux.num_inference_steps,
                                                 .guidance_scale = kFlux.guidance_scale});
  check_parts_fit(folder, parts);
  // A model that was given takes memory of which nothing is known here, and a pipeline without some of its
  // models is there for one stage, after which others want its memory: then each goes with its stage.
  if (not_from_checkpoint(parts).empty()) p.kept_->keep_within(load.request_memory());
  return p;
}

}  // namespace diffract::families
