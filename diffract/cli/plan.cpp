#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/field_options.h"
#include "diffract/cli/json_output.h"
#include "diffract/cli/plan_report.h"
#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/core/size_text.h"
#include "diffract/families/open_checkpoint.h"
#include "diffract/families/registry.h"
#include "diffract/loading/addition_files.h"
#include "diffract/loading/controlnet.h"
#include "diffract/loading/find_model.h"
#include "diffract/loading/image_encoder.h"
#include "diffract/loading/placement_plan.h"
#include "diffract/models/model_class.h"
#include "diffract/pipelines/pipeline.h"
#include "diffract/placement/rank_map.h"
#include "diffract/tensor/measured_speed.h"

namespace diffract::cli {
namespace fs = std::filesystem;
namespace {

using loading::PipelineLayout;
using placement::DeviceMap;
using placement::MaxMemory;

struct PlanArguments {
  std::string model = loading::kDefaultModel, component, device_map = "auto";
  std::optional<std::string> max_memory;
  loading::LoadTexts loading;
  pipelines::Request settings;
  int64_t batch_size = 1;
  std::optional<double> gflops, host_gbps, disk_gbps;
  bool json = false;
};

bool is_pipeline(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "model_index.json", ignored);
}

loading::LayoutRequest layout_request(const PlanArguments& arguments) {
  const loading::LoadOptions load = loading::load_options(arguments.loading, 0);
  const pipelines::Request& settings = arguments.settings;
  check_ranges(settings);
  constexpr int64_t kFewestPixels = 8;  // a latent
  for (const auto& pixels : {settings.height, settings.width})
    if (pixels && *pixels < kFewestPixels)
      throw UsageError("--height and --width: {} is less than a latent's {} pixels", *pixels, kFewestPixels);
  if (arguments.batch_size < 1 || arguments.batch_size > 1024)
    throw UsageError("--batch-size {}: expected 1 to 1024", arguments.batch_size);
  loading::LayoutRequest request{.height = settings.height,
                                 .width = settings.width,
                                 .batch_size = arguments.batch_size,
                                 .num_inference_steps = settings.steps(),
                                 .torch_dtype = load.torch_dtype,
                                 .variant = load.variant};
  if (settings.max_sequence_length) request.max_sequence_length = *settings.max_sequence_length;
  return request;
}

// What is planned: a pipeline's folder, or the single file that its components are in; or one model's folder.
struct Planned {
  fs::path path;
  std::optional<io::ModelFolder> pipeline;
};

Planned find_planned(const PlanArguments& arguments) {
  const loading::LoadOptions load = loading::load_options(arguments.loading, 0);
  constexpr auto kUse = loading::ModelUse::configs;
  if (loading::is_single_file(arguments.model) || !load.components.empty() || !load.config.empty())
    return {.path = arguments.model, .pipeline = families::open_checkpoint(arguments.model, load, kUse)};
  fs::path folder = loading::find_model(arguments.model, kUse);
  if (!is_pipeline(folder)) return {.path = std::move(folder), .pipeline = {}};
  return {.path = folder, .pipeline = io::ModelFolder::open(folder)};
}

PipelineLayout lay_out(const Planned& planned, const PlanArguments& arguments,
                       const loading::LayoutRequest& request) {
  if (!planned.pipeline) {
    const fs::path& folder = planned.path;
    if (!loading::given_text(arguments.loading, "controlnet").empty())
      throw UsageError("--controlnet: {} is no pipeline's folder; leave --controlnet out", folder.string());
    if (!arguments.component.empty())
      throw UsageError(
          "--component {}: {} is no pipeline's folder but a single model's; leave --component out",
          arguments.component, folder.string());
    const std::string class_name = models::class_name_of(io::load_config(folder));
    const auto* family = families::family_of_denoiser(class_name);
    return lay_out_model(folder, family ? family->facts : nullptr, request);
  }
  const auto* facts = families::facts_for_plan(*planned.pipeline);
  const auto load = loading::load_options(arguments.loading, 0);
  const auto pipeline = loading::with_ip_adapters(
      loading::with_controlnets(*planned.pipeline, facts, load.controlnet), facts, load.ip_adapter);
  if (!arguments.component.empty()) return lay_out_component(pipeline, facts, arguments.component, request);
  loading::LayoutRequest used = request;
  used.without = unused_components(pipeline, facts, load);
  return lay_out_pipeline(pipeline, facts, used);
}

DeviceMap load_map(const std::string& text, const PipelineLayout& layout,
                   std::vector<std::string>& warnings) {
  const DeviceMap map = loading::parse_device_map(text);
  for (const auto& component : layout.components)
    for (auto& warning : check_device_map(component.tree, map, component.name))
      warnings.push_back(std::move(warning));
  return map;
}

// A model's own map is accelerate's, a pipeline's is ours.
DeviceMap make_map(const PlanArguments& arguments, const PipelineLayout& layout, const MaxMemory& budgets,
                   std::vector<std::string>& warnings) {
  if (arguments.device_map == loading::kOverAllRanks)
    throw UsageError(
        "--device-map ranks: how many there are is known when a job runs; here name them: --device-map auto "
        "--max-memory rank:0=16GB,rank:1=16GB");
  const auto strategy = placement::parse_strategy(arguments.device_map);
  if (!strategy) return load_map(arguments.device_map, layout, warnings);
  return loading::plan_map(layout, *strategy, budgets);
}

void warn_of_budgets(const Plan& plan, std::vector<std::string>& warnings) {
  for (const auto& stage : uses_of(plan.layout.components, plan.map, plan.layout.lifetime))
    for (const auto& use : stage) {
      const auto budget = plan.budgets.find(use.place);
      if (!budget || use.total() <= *budget) continue;
      warnings.push_back(fmt::format(
          "device {}: {} of weights, {} to compute at {}x{} and {} for layers in transit are {} more "
          "than its budget",
          use.place.name(), size_text(use.weights), size_text(use.working), plan.layout.height,
          plan.layout.width, size_text(use.staging), size_text(use.total() - *budget)));
    }
}

// A file whose reading tells the disk's speed: the largest below the folder, or the single file.
fs::path largest_file(const fs::path& folder) {
  if (loading::is_single_file(folder.string())) return folder;
  fs::path largest;
  uintmax_t most = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    const uintmax_t bytes = at->is_regular_file(ignored) ? at->file_size(ignored) : 0;
    if (!ignored && bytes > most) {
      most = bytes;
      largest = at->path();
    }
  }
  return largest;
}

// Of the device that computes, where it is one of this machine's, else of the CPU.
Speeds measure(const PlanArguments& arguments, const fs::path& folder, const DeviceMap& map,
               const tensor::DeviceBackend* backend) {
  constexpr double kSeconds = 0.1;
  const auto main = map.main_place();
  const bool is_here = main.is_accelerator() && backend && main.index() < backend->device_count();
  const at::Device device = is_here ? at::Device(backend->type(), static_cast<c10::DeviceIndex>(main.index()))
                                    : at::Device(at::kCPU);
  const auto dtype =
      is_here ? loading::load_options(arguments.loading, 0).torch_dtype.value_or(at::kFloat) : at::kFloat;
  Speeds speeds;
  speeds.gflops = arguments.gflops ? *arguments.gflops : tensor::matmul_gflops(dtype, kSeconds, device);
  speeds.host_bytes_per_second =
      arguments.host_gbps ? *arguments.host_gbps * 1e9 : tensor::copy_bytes_per_second(device);
  if (arguments.disk_gbps)
    speeds.disk_bytes_per_second = *arguments.disk_gbps * 1e9;
  else if (map.uses(placement::Place::disk()))
    speeds.disk_bytes_per_second = tensor::read_bytes_per_second(largest_file(folder));
  return speeds;
}

// As DtypePolicy::choose, but an accelerator need not be here; then it is one that is fast in all of them.
at::ScalarType arithmetic_of(const PlanArguments& arguments, const MaxMemory& budgets,
                             const tensor::DeviceBackend* backend) {
  const loading::LoadOptions load = loading::load_options(arguments.loading, 0);
  if (load.arithmetic) return *load.arithmetic;
  if (!load.torch_dtype) return at::kFloat;
  const at::ScalarType dtype = *load.torch_dtype;
  const bool on_accelerator = loading::computes_on(arguments.device_map, budgets).is_accelerator();
  const bool is_fast =
      on_accelerator ? !backend || backend->computes_fast(dtype, 0) : tensor::computes_fast(dtype, at::kCPU);
  return is_fast ? dtype : at::kFloat;
}

void plan(const PlanArguments& arguments) {
  std::optional<MaxMemory> given;
  if (arguments.max_memory) given = MaxMemory::parse(*arguments.max_memory);
  const auto* backend = loading::accelerator_backend(at::kCPU);

  const Planned planned = find_planned(arguments);
  Plan result{.budgets = placement::get_max_memory(given, loading::free_memory(backend))};
  loading::LayoutRequest request = layout_request(arguments);
  request.arithmetic = arithmetic_of(arguments, result.budgets, backend);
  if (loading::computes_on(arguments.device_map, result.budgets).is_accelerator())
    request.overhead = backend ? backend->overhead() : tensor::kGpuOverhead;
  result.layout = lay_out(planned, arguments, request);
  result.map = make_map(arguments, result.layout, result.budgets, result.warnings);
  if (placement::is_over_ranks(result.map)) result.layout.lifetime = placement::Lifetime::whole_job;
  warn_of_budgets(result, result.warnings);
  for (const std::string& name : result.layout.left_out)
    result.warnings.push_back(fmt::format("{}: diffract does not run it; it is not planned", name));
  result.speeds = measure(arguments, planned.path, result.map, backend);

  for (const std::string& warning : result.warnings) log::warning("{}", warning);
  if (arguments.json)
    print_json(plan_json(result), 1);
  else
    fmt::print("{}", plan_text(result));
}

void declare(CLI::App& app, PlanArguments& a) {
  add_path(
      app, "-m,--model", a.model,
      "A pipeline's folder, one model's folder with a config.json, ORG/NAME, a single .safetensors file, or "
      "a built-in model");
  app.add_option("--component", a.component, "One component of the pipeline, e.g. transformer");
  add_field(app, loading::load_field("dtype"), a.loading,
            "Type of the weights: float32, float16, bfloat16; default: as the weight files have them, or "
            "float32 without files");
  add_field(app, loading::load_field("compute_dtype"), a.loading);
  for (const char* name :
       {"variant", "no_safety_checker", "config", "vae", "unet", "transformer", "text_encoder",
        "text_encoder_2", "controlnet", "ip_adapter", "ip_adapter_image_encoder"})
    add_field(app, loading::load_field(name), a.loading);
  add_path(app, "--device-map", a.device_map,
           "auto, balanced, balanced_low_0, sequential, a device, or FILE.json; over ranks with --max-memory "
           "rank:0=16GB,rank:1=16GB");
  add_optional(app, "--max-memory", a.max_memory,
               "Budgets, e.g. 0=16GB,1=16GB,cpu=30GB; default: what is free on this machine");
  for (const char* name : {"height", "width", "num_inference_steps", "max_sequence_length"}) {
    const auto& field = pipelines::request_field(name);
    add_field(app, field, a.settings);
  }
  app.add_option("--batch-size", a.batch_size, "Images computed together")->capture_default_str();
  add_optional(app, "--gflops", a.gflops, "Speed of the devices, to plan for others than this machine's CPU")
      ->check(CLI::PositiveNumber);
  add_optional(app, "--host-gbps", a.host_gbps, "GB a second from CPU memory to a device; default: measured")
      ->check(CLI::PositiveNumber);
  add_optional(app, "--disk-gbps", a.disk_gbps, "GB a second from disk; default: measured on a weight file")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", a.json, "One JSON object on stdout");
  app.footer(
      "Example:\n  diffract plan --model black-forest-labs/FLUX.1-dev --component transformer --dtype "
      "bfloat16 "
      "--device-map auto --max-memory 0=16GB,1=16GB,cpu=30GB");
}

}  // namespace

Command plan_command() {
  return {.name = "plan",
          .summary = "says which part of a model goes to which device, and what that costs",
          .declare = [](CLI::App& app) -> std::function<void()> {
            auto arguments = std::make_shared<PlanArguments>();
            declare(app, *arguments);
            return [arguments] { plan(*arguments); };
          }};
}

}  // namespace diffract::cli
