#include "diffract/loading/pipeline_layout.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/io/safetensors.h"
#include "diffract/loading/image_encoder.h"
#include "diffract/loading/load_component.h"
#include "diffract/loading/load_options.h"
#include "diffract/loading/model_defaults.h"
#include "diffract/models/model_class.h"
#include "diffract/models/module_tree.h"
#include "diffract/weights/weight_scope.h"

namespace diffract::loading {
namespace {

constexpr int64_t kClipTokens = 77;
constexpr int64_t kVaeScaleFactor = 8;  // where there is no VAE to ask
// Of a model that is nobody's denoiser.
constexpr int64_t kSampleSize = 64, kSteps = 50;

int stage_of(models::Role role) { return static_cast<int>(role); }
// The denoiser is the last that is given up.
int importance_of(models::Role role) {
  if (role == models::Role::denoiser) return 2;
  return role == models::Role::decoder ? 1 : 0;
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
  for (const auto& tensor : opened->tensors())
    if (!files.parts || !files.parts(tensor.name).empty()) bytes[tensor.dtype] += tensor.end - tensor.begin;
  const auto most = std::max_element(bytes.begin(), bytes.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == bytes.end()) return {};
  if (most->first == io::Dtype::F16) return at::kHalf;
  if (most->first == io::Dtype::BF16) return at::kBFloat16;
  if (most->first == io::Dtype::F8_E4M3) return at::kFloat8_e4m3fn;
  if (most->first == io::Dtype::F8_E5M2) return at::kFloat8_e5m2;
  return at::kFloat;
}

struct LayoutEntry {
  std::string name;
  const models::ModelClass* model_class;
  ConfigReader config;
  std::optional<at::ScalarType> stored;  // none without weight files
};

// What parts of one checkpoint have in common.
struct Common {
  const FamilyFacts* facts;  // null for a model that is nobody's denoiser
  int64_t vae_scale_factor;  // pixels a latent each way
  Defaults defaults;
};

Common common_of(const std::vector<LayoutEntry>& parts, const FamilyFacts* facts) {
  const int64_t side = facts ? facts->sample_size : kSampleSize;
  models::SampleSize latents{.height = side, .width = side};
  int64_t scale = kVaeScaleFactor;
  for (const LayoutEntry& part : parts) {
    if (part.model_class->sample_size) latents = part.model_class->sample_size(part.config);
    if (part.model_class->scale_factor) scale = part.model_class->scale_factor(part.config);
  }
  return {.facts = facts,
          .vae_scale_factor = scale,
          .defaults = {.size = {.height = latents.height * scale, .width = latents.width * scale},
                       .num_inference_steps = facts ? facts->num_inference_steps : kSteps,
                       .guidance_scale = facts ? facts->guidance_scale : 0}};
}

int64_t width_of(const tensor::DtypePolicy& policy) {
  return static_cast<int64_t>(c10::elementSize(*policy.storage));
}

// What computing takes, with what libraries take beside it. That grows with the model up to its bound.
int64_t with_overhead(int64_t peak_bytes, int64_t weight_bytes, const LayoutRequest& request) {
  constexpr int64_t kMostPart = 4;  // of the model and its activations
  return peak_bytes +
         std::min(static_cast<int64_t>(request.overhead), (weight_bytes + peak_bytes) / kMostPart);
}

void add(PipelineLayout& layout, const LayoutEntry& part, const LayoutRequest& request,
         const Common& common) {
  const models::ModelClass& known = *part.model_class;
  const bool is_denoiser = known.role == models::Role::denoiser;
  placement::ModuleTree tree = models::make_module_tree(part.config);
  auto storage = request.torch_dtype ? request.torch_dtype : part.stored;
  const int64_t elements = compute_module_sizes(tree).total() / static_cast<int64_t>(sizeof(float));
  auto policy = policy_of(common.facts, known, part.config, {.arithmetic = request.arithmetic});
  if (request.widens_small && weights::is_widened(elements)) storage = policy.arithmetic;
  policy.storage = storage.value_or(at::kFloat);
  const int64_t steps =
      is_denoiser ? request.num_inference_steps.value_or(common.defaults.num_inference_steps) : 1;
  const bool is_doubled = is_denoiser && request.is_guided.value_or(known.is_guided);
  const int64_t texts = request.texts.value_or(request.batch_size),
                encoded = known.reads_pictures ? request.prompt_pictures : texts;
  const int64_t batch = known.role == models::Role::encoder ? encoded : request.batch_size;
  layout.costs.push_back(
      models::forward_cost(part.config,
                           {.batch = is_doubled ? 2 * batch : batch,
                            .height = layout.height,
                            .width = layout.width,
                            .text_tokens = known.reads_long_texts ? request.max_sequence_length : kClipTokens,
                            .vae_scale_factor = common.vae_scale_factor,
                            .steps = steps,
                            .encodes_pictures = request.encodes_pictures},
                           policy));
  layout.components.push_back(
      {.name = part.name,
       .tree = std::move(tree),
       .options = models::plan_options(part.config, width_of(policy)),
       .working_bytes = with_overhead(layout.costs.back().peak_bytes, elements * width_of(policy), request),
       .runs = steps,
       .stage = stage_of(known.role),
       .importance = importance_of(known.role)});
  layout.is_as_stored.push_back(storage == part.stored);
  layout.stored_bytes.push_back(elements *
                                static_cast<int64_t>(c10::elementSize(part.stored.value_or(at::kFloat))));
}

PipelineLayout lay_out(const std::vector<LayoutEntry>& parts, const LayoutRequest& request,
                       const Common& common) {
  PipelineLayout layout;
  layout.height = request.height.value_or(common.defaults.size.height);
  layout.width = request.width.value_or(common.defaults.size.width);
  if (common.facts) {
    layout.lifetime = common.facts->lifetime;
    const int64_t multiple = common.facts->latents_a_token * common.vae_scale_factor;
    for (int64_t* pixels : {&layout.height, &layout.width})  // whole latents, as the family rounds them
      *pixels = std::max(*pixels / multiple, int64_t{1}) * multiple;
  }
  for (const LayoutEntry& part : parts) add(layout, part, request, common);
  return layout;
}

LayoutEntry component(const io::ModelFolder& folder, const std::string& name, const std::string& variant) {
  return {.name = name,
          .model_class = &models::find_model_class(folder.component_class(name),
                                                   (folder.path() / "model_index.json").string()),
          .config = folder.config(name),
          .stored = stored_dtype([&] { return folder.component_weights(name, variant); })};
}

Common common_of(const std::vector<LayoutEntry>& parts, const io::ModelFolder& folder,
                 const FamilyFacts* facts) {
  Common common = common_of(parts, facts);
  common.defaults = model_defaults(folder, common.defaults);
  return common;
}

}  // namespace

std::vector<std::string> unused_components(const io::ModelFolder& folder, const FamilyFacts* facts,
                                           const LoadOptions& options, std::vector<std::string> without) {
  const auto leave_out = [&](const char* name) {
    if (folder.has_component(name)) without.emplace_back(name);
  };
  if (!facts) return without;
  if (!facts->has_safety_checker || !options.safety_checker) leave_out("safety_checker");
  if (options.ip_adapter.empty()) leave_out(kImageEncoder);
  return without;
}

struct PipelineParts::Impl {
  std::vector<LayoutEntry> parts;  // in the order of their stages
  std::vector<std::string> left_out;
  Common common;
};

PipelineParts::PipelineParts(const io::ModelFolder& folder, const FamilyFacts* facts,
                             const std::string& variant, const std::vector<std::string>& without) {
  std::vector<LayoutEntry> parts;
  std::vector<std::string> left_out;
  for (const std::string& name : folder.component_names()) {
    if (std::find(without.begin(), without.end(), name) != without.end()) continue;
    const std::string class_name = folder.component_class(name);
    std::error_code ignored;
    if (models::find_model_class(std::string_view(class_name)))
      parts.push_back(component(folder, name, variant));
    else if (std::filesystem::exists(folder.path() / name / "config.json", ignored))
      left_out.push_back(fmt::format("{} ({})", name, class_name));
  }
  if (parts.empty() && without.empty())
    throw CheckpointError("{}: names no model that diffract builds",
                          (folder.path() / "model_index.json").string());
  std::stable_sort(parts.begin(), parts.end(), [](const LayoutEntry& a, const LayoutEntry& b) {
    return stage_of(a.model_class->role) < stage_of(b.model_class->role);
  });
  const Common common = common_of(parts, folder, facts);
  impl_ = std::make_shared<const Impl>(
      Impl{.parts = std::move(parts), .left_out = std::move(left_out), .common = common});
}

PipelineLayout PipelineParts::lay_out(const LayoutRequest& request) const {
  PipelineLayout layout = loading::lay_out(impl_->parts, request, impl_->common);
  layout.left_out = impl_->left_out;
  return layout;
}

PipelineLayout lay_out_pipeline(const io::ModelFolder& folder, const FamilyFacts* facts,
                                const LayoutRequest& request) {
  return PipelineParts(folder, facts, request.variant, request.without).lay_out(request);
}

PipelineLayout lay_out_component(const io::ModelFolder& folder, const FamilyFacts* facts,
                                 const std::string& name, const LayoutRequest& request) {
  if (!folder.has_component(name)) {
    std::string names;
    for (const std::string& known : folder.component_names()) names += " " + known;
    throw UsageError("--component \"{}\": {} has no such component; it has:{}", name, folder.path().string(),
                     names);
  }
  LayoutEntry part = component(folder, name, request.variant);
  part.name.clear();
  const std::vector<LayoutEntry> parts{std::move(part)};
  return lay_out(parts, request, common_of(parts, folder, facts));
}

PipelineLayout lay_out_model(const std::filesystem::path& folder, const FamilyFacts* facts,
                             const LayoutRequest& request) {
  ConfigReader config = io::load_config(folder);
  const auto& model_class = models::find_model_class(models::class_name_of(config), config.source());
  const std::vector<LayoutEntry> parts{
      {.name = "", .model_class = &model_class, .config = std::move(config), .stored = stored_dtype([&] {
                                                                               return io::find_weight_files(
                                                                                   folder, request.variant);
                                                                             })}};
  return lay_out(parts, request, common_of(parts, facts));
}

}  // namespace diffract::loading
