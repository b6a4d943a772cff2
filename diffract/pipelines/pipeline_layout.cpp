#include "diffract/pipelines/pipeline_layout.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/io/safetensors.h"
#include "diffract/models/model_class.h"
#include "diffract/models/module_tree.h"
#include "diffract/models/unet_2d_config.h"
#include "diffract/pipelines/load_component.h"
#include "diffract/pipelines/model_defaults.h"

namespace diffract::pipelines {
namespace {

constexpr int64_t kClipTokens = 77;
constexpr int64_t kVaeScaleFactor = 8;                      // of Stable Diffusion's and FLUX's VAEs
constexpr int64_t kFluxMultiple = 2 * kVaeScaleFactor;      // of pixels
constexpr int64_t kFluxSampleSize = 128, kSampleSize = 64;  // latents; diffusers' defaults
constexpr int64_t kFluxSteps = 28, kSteps = 50;

// What a class is in a pipeline.
struct Role {
  int stage;
  bool is_denoiser, is_guided, reads_long_texts;
};

Role role_of(const std::string& class_name) {
  if (class_name == "UNet2DConditionModel") return {1, true, true, false};
  if (class_name == "FluxTransformer2DModel") return {1, true, false, true};
  if (class_name == "T5EncoderModel") return {0, false, false, true};
  if (class_name == "CLIPTextModel") return {0, false, false, false};
  return {2, false, false, false};  // a VAE
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
  const auto opened = io::SafetensorsFile::open(files.files.front());
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
  std::function<io::WeightFiles()> weight_files;
};

// What parts of one checkpoint have in common.
struct Family {
  bool is_flux;
  Defaults defaults;
};

Family family_of(const std::vector<Part>& parts, bool is_flux) {
  const int64_t side = is_flux ? kFluxSampleSize : kSampleSize;
  models::SampleSize latents{.height = side, .width = side};
  for (const Part& part : parts)
    if (part.class_name == "UNet2DConditionModel") latents = models::sample_size_of(part.config);
  return {.is_flux = is_flux,
          .defaults = {
              .size = {.height = latents.height * kVaeScaleFactor, .width = latents.width * kVaeScaleFactor},
              .num_inference_steps = is_flux ? kFluxSteps : kSteps,
              .guidance_scale = 0}};
}

void add(PipelineLayout& layout, const Part& part, const LayoutRequest& request, int64_t default_steps) {
  const Role role = role_of(part.class_name);
  const auto storage = request.torch_dtype ? request.torch_dtype : stored_dtype(part.weight_files);
  const tensor::DtypePolicy policy{.storage = storage.value_or(at::kFloat), .arithmetic = request.arithmetic};
  const int64_t steps = role.is_denoiser ? request.num_inference_steps.value_or(default_steps) : 1;
  layout.costs.push_back(
      models::forward_cost(part.config,
                           {.batch = request.batch_size * (role.is_guided ? 2 : 1),
                            .height = layout.height,
                            .width = layout.width,
                            .text_tokens = role.reads_long_texts ? request.max_sequence_length : kClipTokens,
                            .vae_scale_factor = kVaeScaleFactor,
                            .steps = steps},
                           policy));
  layout.components.push_back(
      {.name = part.name,
       .tree = models::make_module_tree(part.config),
       .options = models::plan_options(part.config, static_cast<int64_t>(c10::elementSize(*policy.storage))),
       .working_bytes = layout.costs.back().peak_bytes,
       .runs = steps,
       .stage = role.stage});
}

PipelineLayout lay_out(std::vector<Part> parts, const LayoutRequest& request, const Family& family) {
  PipelineLayout layout;
  layout.height = request.height.value_or(family.defaults.size.height);
  layout.width = request.width.value_or(family.defaults.size.width);
  if (family.is_flux) {
    layout.residency = placement::Residency::stage;
    for (int64_t* pixels : {&layout.height, &layout.width})  // as FluxPipeline::image_size
      *pixels = std::max(*pixels / kFluxMultiple, int64_t{1}) * kFluxMultiple;
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return role_of(a.class_name).stage < role_of(b.class_name).stage;
  });
  for (const Part& part : parts) add(layout, part, request, family.defaults.num_inference_steps);
  return layout;
}

Part component(const io::ModelFolder& folder, const std::string& name, const std::string& variant) {
  return {.name = name,
          .class_name = folder.component_class(name),
          .config = folder.config(name),
          .weight_files = [folder, name, variant] { return folder.component_weights(name, variant); }};
}

Family family_of(const std::vector<Part>& parts, const io::ModelFolder& folder) {
  Family family = family_of(parts, folder.class_name().starts_with("Flux"));
  family.defaults = model_defaults(folder, family.defaults);
  return family;
}

}  // namespace

PipelineLayout lay_out_pipeline(const io::ModelFolder& folder, const LayoutRequest& request) {
  std::vector<Part> parts;
  std::vector<std::string> left_out;
  for (const std::string& name : folder.component_names()) {
    if (std::find(request.without.begin(), request.without.end(), name) != request.without.end()) continue;
    const std::string class_name = folder.component_class(name);
    std::error_code ignored;
    if (models::is_model_class(class_name))
      parts.push_back(component(folder, name, request.variant));
    else if (std::filesystem::exists(folder.path() / name / "config.json", ignored))
      left_out.push_back(fmt::format("{} ({})", name, class_name));
  }
  if (parts.empty() && request.without.empty())
    throw CheckpointError("{}: names no model that diffract builds",
                          (folder.path() / "model_index.json").string());
  const Family family = family_of(parts, folder);
  PipelineLayout layout = lay_out(std::move(parts), request, family);
  layout.left_out = std::move(left_out);
  return layout;
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
       .weight_files = [folder, request] { return io::find_weight_files(folder, request.variant); }}};
  return lay_out(parts, request, family_of(parts, is_flux));
}

}  // namespace diffract::pipelines
