#include "diffract/pipelines/pipeline_layout.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/io/safetensors.h"
#include "diffract/models/autoencoder_kl.h"
#include "diffract/models/model_class.h"
#include "diffract/models/module_tree.h"
#include "diffract/models/unet_2d_config.h"
#include "diffract/pipelines/load_component.h"
#include "diffract/pipelines/model_defaults.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::pipelines {
namespace {

constexpr int64_t kClipTokens = 77;
constexpr int64_t kVaeScaleFactor = 8;                      // of Stable Diffusion's and FLUX's own VAEs
constexpr int64_t kFluxSampleSize = 128, kSampleSize = 64;  // latents; diffusers' defaults
constexpr int64_t kFluxSteps = 28, kSteps = 50;

// What a class is in a pipeline.
struct Role {
  int stage, importance;
  bool is_encoder, is_denoiser, is_guided, reads_long_texts;
};

Role role_of(const std::string& class_name) {
  constexpr int kEncoder = 0, kVae = 1, kDenoiser = 2;  // the denoiser is the last that is given up
  if (class_name == "UNet2DConditionModel") return {1, kDenoiser, false, true, true, false};
  if (class_name == "FluxTransformer2DModel") return {1, kDenoiser, false, true, false, true};
  if (class_name == "T5EncoderModel") return {0, kEncoder, true, false, false, true};
  if (class_name == "CLIPTextModel") return {0, kEncoder, true, false, false, false};
  return {2, kVae, false, false, false, false};
}

// What most of the stored bytes are in, of the files that `find` gives; it throws where there are none.
std::optional<at::ScalarType> stored_dtype(const std::function<io::WeightFiles()>& find) {
  io::WeightFiles files;
  try {
    files = find();
  } catch (const CheckpointError&) {
    return {};  // a plan needs config.json only
  }
  std::map<io::Dtype, uint64_t> bytes;
  const auto opened = files.open(files.files.front());
  for (const auto& tensor : opened->tensors()) bytes[tensor.dtype] += tensor.end - tensor.begin;
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == bytes.end()) return {};
  if (most->first == io::Dtype::F16) return at::kHalf;
  if (most->first == io::Dtype::BF16) return at::kBFloat16;
  if (most->first == io::Dtype::F8_E4M3) return at::kFloat8_e4m3fn;
  if (most->first == io::Dtype::F8_E5M2) return at::kFloat8_e5m2;
  return at::kFloat;
}

struct Part {
  std::string name, class_name;
  ConfigReader config;
  std::optional<at::ScalarType> stored;  // none without weight files
};

// What parts of one checkpoint have in common.
struct Family {
  bool is_flux;
  int64_t vae_scale_factor;  // pixels a latent each way
  Defaults defaults;
};

Family family_of(const std::vector<Part>& parts, bool is_flux) {
  const int64_t side = is_flux ? kFluxSampleSize : kSampleSize;
  models::SampleSize latents{.height = side, .width = side};
  int64_t scale = kVaeScaleFactor;
  for (const Part& part : parts) {
    if (part.class_name == "UNet2DConditionModel") latents = models::sample_size_of(part.config);
    if (part.class_name == "AutoencoderKL")
      scale = models::AutoencoderKLConfig::from_json(part.config).scale_factor();
  }
  return {.is_flux = is_flux,
          .vae_scale_factor = scale,
          .defaults = {.size = {.height = latents.height * scale, .width = latents.width * scale},
                       .num_inference_steps = is_flux ? kFluxSteps : kSteps,
                       .guidance_scale = 0}};
}

void add(PipelineLayout& layout, const Part& part, const LayoutRequest& request, const Family& family) {
  const Role role = role_of(part.class_name);
  placement::ModuleTree tree = models::make_module_tree(part.config);
  auto storage = request.torch_dtype ? request.torch_dtype : part.stored;
  const int64_t elements = compute_module_sizes(tree).total() / static_cast<int64_t>(sizeof(float));
  if (request.widens_small && weights::is_widened(elements)) storage = request.arithmetic;
  const tensor::DtypePolicy policy{.storage = storage.value_or(at::kFloat), .arithmetic = request.arithmetic};
  const int64_t steps =
      role.is_denoiser ? request.num_inference_steps.value_or(family.defaults.num_inference_steps) : 1;
  const bool is_doubled = role.is_denoiser && request.is_guided.value_or(role.is_guided);
  const int64_t batch = role.is_encoder ? request.texts.value_or(request.batch_size) : request.batch_size;
  layout.costs.push_back(
      models::forward_cost(part.config,
                           {.batch = is_doubled ? 2 * batch : batch,
                            .height = layout.height,
                            .width = layout.width,
                            .text_tokens = role.reads_long_texts ? request.max_sequence_length : kClipTokens,
                            .vae_scale_factor = family.vae_scale_factor,
                            .steps = steps},
                           policy));
  layout.components.push_back(
      {.name = part.name,
       .tree = std::move(tree),
       .options = models::plan_options(part.config, static_cast<int64_t>(c10::elementSize(*policy.storage))),
       .working_bytes = layout.costs.back().peak_bytes,
       .runs = steps,
       .stage = role.stage,
       .importance = role.importance});
  layout.is_as_stored.push_back(storage == part.stored);
  layout.stored_bytes.push_back(elements *
                                static_cast<int64_t>(c10::elementSize(part.stored.value_or(at::kFloat))));
}

PipelineLayout lay_out(const std::vector<Part>& parts, const LayoutRequest& request, const Family& family) {
  PipelineLayout layout;
  layout.height = request.height.value_or(family.defaults.size.height);
  layout.width = request.width.value_or(family.defaults.size.width);
  if (family.is_flux) {
    layout.residency = placement::Residency::stage;
    const int64_t multiple = 2 * family.vae_scale_factor;
    for (int64_t* pixels : {&layout.height, &layout.width})  // as FluxPipeline::image_size
      *pixels = std::max(*pixels / multiple, int64_t{1}) * multiple;
  }
  for (const Part& part : parts) add(layout, part, request, family);
  return layout;
}

Part component(const io::ModelFolder& folder, const std::string& name, const std::string& variant) {
  return {.name = name,
          .class_name = folder.component_class(name),
          .config = folder.config(name),
          .stored = stored_dtype([&] { return folder.component_weights(name, variant); })};
}

Family family_of(const std::vector<Part>& parts, const io::ModelFolder& folder) {
  Family family = family_of(parts, folder.class_name().starts_with("Flux"));
  family.defaults = model_defaults(folder, family.defaults);
  return family;
}

}  // namespace

struct PipelineParts::Impl {
  std::vector<Part> parts;  // in the order of their stages
  std::vector<std::string> left_out;
  Family family;
};

PipelineParts::PipelineParts(const io::ModelFolder& folder, const std::string& variant,
                             const std::vector<std::string>& without) {
  std::vector<Part> parts;
  std::vector<std::string> left_out;
  for (const std::string& name : folder.component_names()) {
    if (std::find(without.begin(), without.end(), name) != without.end()) continue;
    const std::string class_name = folder.component_class(name);
    std::error_code ignored;
    if (models::is_model_class(class_name))
      parts.push_back(component(folder, name, variant));
    else if (std::filesystem::exists(folder.path() / name / "config.json", ignored))
      left_out.push_back(fmt::format("{} ({})", name, class_name));
  }
  if (parts.empty() && without.empty())
    throw CheckpointError("{}: names no model that diffract builds",
                          (folder.path() / "model_index.json").string());
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return role_of(a.class_name).stage < role_of(b.class_name).stage;
  });
  const Family family = family_of(parts, folder);
  impl_ = std::make_shared<const Impl>(
      Impl{.parts = std::move(parts), .left_out = std::move(left_out), .family = family});
}

PipelineLayout PipelineParts::lay_out(const LayoutRequest& request) const {
  PipelineLayout layout = pipelines::lay_out(impl_->parts, request, impl_->family);
  layout.left_out = impl_->left_out;
  return layout;
}

PipelineLayout lay_out_pipeline(const io::ModelFolder& folder, const LayoutRequest& request) {
  return PipelineParts(folder, request.variant, request.without).lay_out(request);
}

PipelineLayout lay_out_component(const io::ModelFolder& folder, const std::string& name,
                                 const LayoutRequest& request) {
  if (!folder.has_component(name)) {
    std::string names;
    for (const std::string& known : folder.component_names()) names += " " + known;
    throw UsageError("--component \"{}\": {} has no such component; it has:{}", name, folder.path().string(),
                     names);
  }
  Part part = component(folder, name, request.variant);
  models::find_model_class(part.class_name, (folder.path() / "model_index.json").string());
  part.name.clear();
  const std::vector<Part> parts{std::move(part)};
  return lay_out(parts, request, family_of(parts, folder));
}

PipelineLayout lay_out_model(const std::filesystem::path& folder, const LayoutRequest& request) {
  ConfigReader config = load_config(folder);
  std::string class_name = models::class_name_of(config);
  models::find_model_class(class_name, config.source());
  const bool is_flux = class_name == "FluxTransformer2DModel" || class_name == "T5EncoderModel";
  const std::vector<Part> parts{
      {.name = "",
       .class_name = std::move(class_name),
       .config = std::move(config),
       .stored = stored_dtype([&] { return io::find_weight_files(folder, request.variant); })}};
  return lay_out(parts, request, family_of(parts, is_flux));
}

}  // namespace diffract::pipelines
