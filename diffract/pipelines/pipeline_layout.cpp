#include "diffract/pipelines/pipeline_layout.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/io/safetensors.h"
#include "diffract/models/model_class.h"
#include "diffract/models/module_tree.h"
#include "diffract/pipelines/load_component.h"

namespace diffract::pipelines {
namespace {

constexpr int64_t kClipTokens = 77;
constexpr int64_t kVaeScaleFactor = 8;    // of Stable Diffusion's and FLUX's VAEs
constexpr int64_t kFluxSampleSize = 128;  // latents; diffusers' default_sample_size
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

// What most of a component's stored bytes are in, from its weight files where there are any.
std::optional<at::ScalarType> stored_dtype(const std::filesystem::path& folder) {
  io::WeightFiles files;
  try {
    files = io::find_weight_files(folder, "");
  } catch (const CheckpointError&) {
    return {};  // a plan needs config.json only
  }
  std::map<io::Dtype, uint64_t> bytes;
  for (const auto& tensor : io::SafetensorsFile::open(files.files.front())->tensors())
    bytes[tensor.dtype] += tensor.end - tensor.begin;
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == bytes.end()) return {};
  if (most->first == io::Dtype::F16) return at::kHalf;
  if (most->first == io::Dtype::BF16) return at::kBFloat16;
  return at::kFloat;
}

int64_t default_pixels(const ConfigReader& config, const std::string& class_name) {
  if (class_name == "UNet2DConditionModel")
    return config.integer("sample_size", 1, 1 << 14, 64) * kVaeScaleFactor;
  if (class_name == "FluxTransformer2DModel") return kFluxSampleSize * kVaeScaleFactor;
  return 0;  // another component says
}

struct Part {
  std::string name, class_name;
  ConfigReader config;
  std::filesystem::path folder;
};

void add(PipelineLayout& layout, const Part& part, const LayoutRequest& request, bool is_flux) {
  const Role role = role_of(part.class_name);
  const auto storage = request.torch_dtype ? request.torch_dtype : stored_dtype(part.folder);
  tensor::DtypePolicy policy{.storage = storage.value_or(at::kFloat)};
  if (request.arithmetic)
    policy.arithmetic = *request.arithmetic;
  else if (request.on_accelerator ||
           (request.torch_dtype && tensor::computes_fast(*policy.storage, at::kCPU)))
    policy.arithmetic = *policy.storage;
  layout.costs.push_back(
      models::forward_cost(part.config,
                           {.batch = request.batch_size * (role.is_guided ? 2 : 1),
                            .height = layout.height,
                            .width = layout.width,
                            .text_tokens = role.reads_long_texts ? request.max_sequence_length : kClipTokens,
                            .vae_scale_factor = kVaeScaleFactor},
                           policy));
  const int64_t steps = request.num_inference_steps.value_or(is_flux ? kFluxSteps : kSteps);
  layout.components.push_back(
      {.name = part.name,
       .tree = models::make_module_tree(part.config),
       .options = models::plan_options(part.config, static_cast<int64_t>(c10::elementSize(*policy.storage))),
       .working_bytes = layout.costs.back().peak_bytes,
       .runs = role.is_denoiser ? steps : 1,
       .stage = role.stage});
}

PipelineLayout lay_out(std::vector<Part> parts, const LayoutRequest& request, bool is_flux) {
  PipelineLayout layout;
  int64_t pixels = 0;
  for (const Part& part : parts) pixels = std::max(pixels, default_pixels(part.config, part.class_name));
  if (pixels == 0) pixels = is_flux ? kFluxSampleSize * kVaeScaleFactor : 512;
  layout.height = request.height.value_or(pixels);
  layout.width = request.width.value_or(pixels);
  if (is_flux) layout.residency = placement::Residency::stage;
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return role_of(a.class_name).stage < role_of(b.class_name).stage;
  });
  for (const Part& part : parts) add(layout, part, request, is_flux);
  return layout;
}

Part component(const io::ModelFolder& folder, const std::string& name) {
  return {.name = name,
          .class_name = folder.component_class(name),
          .config = folder.config(name),
          .folder = folder.component_folder(name)};
}

bool is_flux(const io::ModelFolder& folder) { return folder.class_name().starts_with("Flux"); }

}  // namespace

PipelineLayout lay_out_pipeline(const io::ModelFolder& folder, const LayoutRequest& request) {
  std::vector<Part> parts;
  std::vector<std::string> left_out;
  for (const std::string& name : folder.component_names()) {
    const std::string class_name = folder.component_class(name);
    std::error_code ignored;
    if (models::is_model_class(class_name))
      parts.push_back(component(folder, name));
    else if (std::filesystem::exists(folder.path() / name / "config.json", ignored))
      left_out.push_back(fmt::format("{} ({})", name, class_name));
  }
  if (parts.empty())
    throw CheckpointError("{}: names no model that diffract builds",
                          (folder.path() / "model_index.json").string());
  PipelineLayout layout = lay_out(std::move(parts), request, is_flux(folder));
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
  Part part = component(folder, name);
  models::find_model_class(part.class_name, (folder.path() / "model_index.json").string());
  part.name.clear();
  return lay_out({std::move(part)}, request, is_flux(folder));
}

PipelineLayout lay_out_model(const std::filesystem::path& folder, const LayoutRequest& request) {
  ConfigReader config = load_config(folder);
  std::string class_name = models::class_name_of(config);
  models::find_model_class(class_name, config.source());
  const bool of_flux = class_name == "FluxTransformer2DModel" || class_name == "T5EncoderModel";
  return lay_out(
      {{.name = "", .class_name = std::move(class_name), .config = std::move(config), .folder = folder}},
      request, of_flux);
}

}  // namespace diffract::pipelines
