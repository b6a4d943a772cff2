#include "diffract/loading/load_component.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/io/model_identity.h"
#include "diffract/loading/controlnet.h"
#include "diffract/loading/image_encoder.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/host_budget.h"

namespace diffract::loading {
namespace {

std::shared_ptr<weights::WeightStream> stream_for(const std::string& name,
                                                  const weights::Checkpoint& checkpoint,
                                                  const ModelSetting& setting) {
  const auto& placement = setting.placement;
  if (!placement.map.empty()) {
    const bool streams = placement.map.uses(placement::Place::disk()) ||
                         (placement.map.uses(placement::Place::cpu()) && !placement.device.is_cpu());
    if (!streams) return nullptr;
    weights::WeightStream::Options options{.device = placement.device,
                                           .budget = placement.stream_bytes,
                                           .offload_folder = placement.offload_folder};
    if (placement.parts_in_transit) options.parts_in_transit = *placement.parts_in_transit;
    return std::make_shared<weights::WeightStream>(options);
  }
  if (!placement.device.is_cpu()) return nullptr;
  const uint64_t free = weights::available_host_bytes(), stored = checkpoint.total_bytes();
  const auto resident = weights::resident_when_streamed(stored, free);
  if (!resident) return nullptr;
  log::info("{}: {:.1f} GB of weights for {:.1f} GB of free memory: they are read block by block", name,
            static_cast<double>(stored) / 1e9, static_cast<double>(free) / 1e9);
  return std::make_shared<weights::WeightStream>(
      weights::WeightStream::Options{.budget = *resident, .keeps_parts = true});
}

}  // namespace

OpenedWeights open_weights(const ModelSource& source, const ModelSetting& setting) {
  weights::UseObserver observe;
  if (setting.on_load)
    observe = [on_load = setting.on_load, name = source.name](uint64_t bytes, uint64_t total) {
      on_load({.component = name, .bytes = bytes, .total_bytes = total});
    };
  auto checkpoint = weights::Checkpoint::open(source.weights, std::move(observe));
  check_quantization(source, *checkpoint);
  weights::WeightScope root(with_additions(source, checkpoint, setting), setting.policy, setting.placement,
                            stream_for(source.name, *checkpoint, setting));
  return {std::move(checkpoint), std::move(root)};
}

std::shared_ptr<const void> build_model(const ModelSource& source, const ModelSetting& setting,
                                        BuildModel& build) {
  struct Held {
    std::shared_ptr<const DeviceBudgets> budgets;
    std::shared_ptr<const void> model;
  };
  const auto opened = open_weights(source, setting);
  const auto built =
      std::make_shared<const Held>(Held{setting.budgets, build(config_of(source, setting), opened.root)});
  opened.root.finish();
  report_unused(source, *opened.checkpoint);
  if (setting.lora) setting.lora->require_used(source.name);
  return {built, built->model.get()};
}

weights::TensorSourcePtr with_additions(const ModelSource& source, weights::TensorSourcePtr tensors,
                                        const ModelSetting& setting) {
  auto with_lora = ComponentLora::over(std::move(tensors), setting.lora);
  return IpAdapterSet::over(ComponentTokens::over(std::move(with_lora), setting.tokens, source.config),
                            setting.ip_adapters);
}

ConfigReader config_of(const ModelSource& source, const ModelSetting& setting) {
  return setting.tokens ? setting.tokens->grown(source.config) : source.config;
}

void check_quantization(const ModelSource& source, const weights::Checkpoint& checkpoint) {
  constexpr const char* kKey = "quantization_config";
  if (!source.config.has(kKey)) return;
  const Json& settings = source.config.json()[kKey];
  const std::string method =
      excerpt(settings.is_object() ? settings.value("quant_method", Json("?")) : settings);
  for (const io::Dtype dtype : checkpoint.dtypes())
    if (dtype != io::Dtype::F64 && dtype != io::Dtype::F32 && dtype != io::Dtype::F16 &&
        dtype != io::Dtype::BF16 && dtype != io::Dtype::I64)  // I64: positions, which are no weights
      throw CheckpointError(
          "{}: \"{}\" says that the weights are quantized ({}), and some are {}; diffract does not read "
          "quantized weights yet. Take the checkpoint that they were made from",
          source.config.source(), kKey, method, io::dtype_name(dtype));
  log::write_once(log::Level::warning,
                  fmt::format("{}: \"{}\" ({}) is not followed: the weights are plain and used as they are",
                              source.config.source(), kKey, method));
}

void report_unused(const ModelSource& source, const weights::Checkpoint& checkpoint) {
  auto names = checkpoint.unused();
  // A table of 0, 1, 2, ... that older transformers saved with each text encoder.
  std::erase_if(names, [](const std::string& name) { return name.ends_with("position_ids"); });
  // T5's token table stands under both names in some checkpoints.
  std::erase(names, "encoder.embed_tokens.weight");
  if (names.empty()) return;
  log::warning("{}: {} tensors are not part of the model and were left out, {} among them", source.name,
               names.size(), names.front());
}

namespace {

tensor::DtypePolicy choose_policy(const LoadOptions& options, at::Device device) {
  const auto implied = options.float8 ? std::optional(at::kBFloat16) : std::nullopt;
  return tensor::DtypePolicy::choose(options.torch_dtype ? options.torch_dtype : implied, options.arithmetic,
                                     device);
}

uint64_t overhead_on(at::Device device) {
  return device.is_cpu() ? 0 : tensor::backend_of(device).overhead();
}

PlacementPlan place(const std::function<PipelineParts()>& parts, const LoadOptions& options) {
  return PlacementPlan::plan(
      {.device = options.device,
       .device_map = options.device_map,
       .max_memory = options.max_memory,
       .offload_folder = options.offload_folder},
      [&](at::Device computes) {
        return parts().lay_out({.height = options.expected.height,
                                .width = options.expected.width,
                                .batch_size = options.expected.batch_size,
                                .num_inference_steps = options.expected.num_inference_steps,
                                .max_sequence_length = options.expected.max_sequence_length.value_or(512),
                                .encodes_pictures = options.expected.encodes_pictures,
                                .torch_dtype = options.torch_dtype,
                                .arithmetic = choose_policy(options, computes).arithmetic,
                                .overhead = overhead_on(computes)});
      });
}

void allow_tf32(const PlacementPlan& placements) {
  const auto devices = placements.accelerators();
  const auto allow = [](at::Device device) {
    return tensor::backend_of(device).allow_tf32(device.index(), true);  // for all of its kind
  };
  if (std::none_of(devices.begin(), devices.end(), allow))
    throw UsageError(
        "allow_tf32: {} has no TF32; expected an NVIDIA GPU of compute capability 8.0 or later (Ampere, Ada, "
        "Hopper, Blackwell). Leave --allow-tf32 out, or choose the GPU with --device",
        placements.device().str());
  log::info("float32 products and convolutions may round to TF32");
}

}  // namespace

ComponentLoader::ComponentLoader(io::ModelFolder folder, const FamilyFacts& facts, const LoadOptions& options,
                                 const std::vector<std::string>& without)
    : folder_(with_ip_adapters(with_controlnets(std::move(folder), &facts, options.controlnet), &facts,
                               options.ip_adapter)),
      facts_(facts),
      options_(options),
      without_(unused_components(folder_, &facts, options, without)),
      // Laid out where a map or a budget asks for it: it looks at the weights' files.
      placements_(place([&] { return PipelineParts(folder_, &facts, options.variant, without_); }, options)),
      policy_(choose_policy(options, placements_.device())),
      lora_(options.lora, facts, folder_),
      ip_adapters_(std::make_shared<const IpAdapterSet>(options.ip_adapter, facts, folder_)) {
  if (!options.textual_inversion.empty() && facts.textual_inversion.empty())
    throw UsageError("textual_inversion: {} takes none yet; leave --textual-inversion out", facts.class_name);
  if (options.allow_tf32) allow_tf32(placements_);
  const std::string name = io::identify_model(folder_.origin()).name;
  if (options_.float8 && !facts.has_float8)
    throw UsageError("float8: {} is a {}, which has no products in float8. Leave --float8 out", name,
                     facts.class_name);
  const auto& policy = options_.float8 ? setting(std::string(facts.denoiser)).policy : policy_;
  log::info("{}: {}", name, policy.describe());
}

bool ComponentLoader::runs(const std::string& component) const {
  return folder_.has_component(component) &&
         std::find(without_.begin(), without_.end(), component) == without_.end();
}

bool ComponentLoader::may_record(const std::string& component) const {
  const ModelSetting how = setting(component);
  // Weights that are widened at each use go through memory that may move.
  return how.placement.device.is_cuda() && how.placement.map.empty() &&
         how.policy.storage == how.policy.arithmetic;
}

ModelSetting ComponentLoader::setting(const std::string& component) const {
  const bool float8 = options_.float8 && component == facts_.denoiser;
  const auto placement = placements_.of(component);
  if (float8 && !placement.map.empty())
    throw UsageError(
        "float8: weights that come and go are not in float8. Leave --float8 or --device-map out");
  const auto* known = models::find_model_class(std::string_view(folder_.component_class(component)));
  const auto policy = known ? policy_of(&facts_, *known, folder_.config(component), policy_) : policy_;
  return {.policy = float8 ? policy.with_float8(placements_.device()) : policy,
          .placement = placement,
          .budgets = placements_.budgets(),
          .on_load = options_.on_load,
          .lora = lora_.of(component),
          .ip_adapters = ip_adapters_of(component)};
}

void ComponentLoader::require_class(const std::string& component,
                                    const std::vector<std::string>& class_names) const {
  const std::string found = folder_.component_class(component);
  if (std::find(class_names.begin(), class_names.end(), found) == class_names.end())
    throw CheckpointError("{}: component \"{}\" is a {}; expected {}",
                          (folder_.path() / "model_index.json").string(), component,
                          found.empty() ? "null" : found, class_names.front());
}

ModelSource ComponentLoader::source(const std::string& component, const std::string& class_name) const {
  require_class(component, {class_name});
  return {.name = component,
          .config = folder_.config(component),
          .weights = folder_.component_weights(component, options_.variant)};
}

std::shared_ptr<const RequestMemory> ComponentLoader::request_memory() const {
  if (over_ranks()) return nullptr;
  const std::string denoiser(facts_.denoiser);
  const bool records = folder_.has_component(denoiser) && may_record(denoiser);
  return std::make_shared<const RequestMemory>(
      RequestMemory::Setting{.parts = PipelineParts(folder_, &facts_, options_.variant, without_),
                             .base = {.torch_dtype = options_.torch_dtype,
                                      .arithmetic = policy_.arithmetic,
                                      .widens_small = hf_device_map().empty(),
                                      .overhead = overhead_on(device())},
                             .placements = placements_,
                             .max_memory = options_.max_memory,
                             .keeps_host_budget = placements_.keeps_budgets(),
                             .float8 = options_.float8 ? denoiser : "",
                             .recorded = records ? denoiser : "",
                             .changed = lora_.components(),
                             .check = options_.memory_check});
}

schedulers::SchedulerSpec ComponentLoader::scheduler() const {
  const ConfigReader config = folder_.config("scheduler");
  return {
      .class_name = folder_.component_class("scheduler"), .config = config.json(), .source = config.source()};
}

}  // namespace diffract::loading
