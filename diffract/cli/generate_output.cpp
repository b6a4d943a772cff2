#include "diffract/cli/generate_output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "diffract/cli/json_output.h"
#include "diffract/cli/status_line.h"
#include "diffract/cli/version.h"
#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/log.h"
#include "diffract/core/utf8.h"
#include "diffract/io/png.h"
#include "diffract/pipelines/device_budgets.h"
#include "diffract/placement/rank_map.h"
#include "diffract/tensor/dtype.h"
#include "diffract/weights/save_tensors.h"

namespace diffract::cli {
namespace fs = std::filesystem;
namespace {

constexpr const char* kWebuiKey = "parameters";  // as stable-diffusion-webui has it

std::string excerpt_of(const std::string& prompt) { return shortened(prompt, 40); }

// Makes the folder of a file that will be written, and checks now that it can be: an hour of computing must
// not end in "permission denied".
void prepare_folder(const fs::path& file) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw IoError("{}: cannot be made: {}", folder.string(), failure.message());
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw IoError("{}: cannot be written to: {}", folder.string(), std::strerror(errno));
  require_replaceable(file);
}

std::string default_output(const GenerateOptions& options) {
  if (!options.output.empty()) return options.output;
  return options.latent() ? "latents.safetensors" : "image_{index}.png";
}

// A name that says JPEG must not hold PNG, nor a picture's name latents; nor is "-" standard output.
void check_file_names(const GenerateOptions& options) {
  const auto require_safetensors = [](const char* option, const std::string& file) {
    if (!io::has_suffix(file, ".safetensors"))
      throw UsageError("{} \"{}\": latents are saved as safetensors; name it {}", option, file,
                       fs::path(file).replace_extension(".safetensors").string());
  };
  if (options.output == "-" || options.save_steps == "-")
    throw UsageError("\"-\": nothing but the summary goes to standard output; expected a file's name");
  if (!options.save_steps.empty()) require_safetensors("--save-steps", options.save_steps);
  const std::string pattern = default_output(options);
  const OutputPattern checked(pattern);  // its braces, first
  if (options.latent())
    require_safetensors("--output", pattern);
  else
    io::require_png_name(pattern);
}

template <typename T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}

}  // namespace

void check_output_options(const GenerateOptions& options, int world_size) {
  const bool latents = options.latent() || !options.save_steps.empty();
  if (options.resume && latents)
    throw UsageError("--resume works with pictures; leave --output-type latent and --save-steps out");
  check_file_names(options);
  if (world_size == 1) return;
  if (!options.save_steps.empty())
    throw UsageError("--save-steps works in one process; this job has {}", world_size);
  const OutputPattern pattern(default_output(options));
  if (options.latent() && pattern.file({}, 0) == pattern.file({}, 1))
    throw UsageError(
        "--output \"{}\": each of the {} processes writes its latents into a file of its own; put "
        "{{rank}} into the name",
        default_output(options), world_size);
}

GenerateOutput::GenerateOutput(const GenerateOptions& options,
                               const std::vector<pipelines::JobBatch>& batches, pipelines::JobBoard& board)
    : options_(options),
      batches_(batches),
      board_(board),
      pattern_(default_output(options)),
      folder_(naming()) {
  std::map<std::string, const pipelines::JobImage*> names;
  for (const auto& batch : batches)
    for (const auto& image : batch.images) {
      const auto [at, is_new] = names.emplace(file(image), &image);
      if (is_new || options.latent()) continue;
      throw UsageError(
          "--output \"{}\": pictures {} (\"{}\") and {} (\"{}\") would both be {}; put {{index}} into the "
          "name",
          default_output(options), at->second->index, excerpt_of(at->second->prompt), image.index,
          excerpt_of(image.prompt), at->first);
    }
  if (options.latent() && names.size() > 1)
    throw UsageError(
        "--output \"{}\": latents go into one file; leave {{index}}, {{prompt}} and {{seed}} out",
        default_output(options));
  check_shapes();
  for (const auto& [name, image] : names) prepare_folder(name);
  if (!options.save_steps.empty()) prepare_folder(options.save_steps);
}

// Latents of all pictures are one tensor.
void GenerateOutput::check_shapes() const {
  const bool saves_steps = !options_.save_steps.empty();
  if (!options_.latent() && !saves_steps) return;
  const auto& first = batches_.front().request;
  for (const auto& [request, images] : batches_) {
    const char* option = saves_steps ? "--save-steps" : "--output-type latent";
    if (request.height != first.height || request.width != first.width)
      throw UsageError(
          "{}: pictures {} and {} differ in height or width; latents of one size go into a file. Give all "
          "lines the "
          "same size, or make a job of each",
          option, batches_.front().images.front().index, images.front().index);
    if (saves_steps && request.num_inference_steps != first.num_inference_steps)
      throw UsageError("{}: pictures {} and {} differ in num_inference_steps; give all lines the same",
                       option, batches_.front().images.front().index, images.front().index);
  }
}

pipelines::JobFolder::Naming GenerateOutput::naming() {
  // A lone picture needs no manifest: it says itself how it was made.
  return {.file = [this](const auto& image, int64_t rank) { return pattern_.file(image, rank); },
          .parameters = [this](const auto& batch, const auto& image) { return parameters(batch, image); },
          .folder = pattern_.folder(),
          .rank = board_.rank(),
          .world_size = board_.world_size(),
          .with_manifest = has_many() || board_.world_size() > 1 || looks_for_finished()};
}

bool GenerateOutput::looks_for_finished() const {
  return !options_.latent() && options_.save_steps.empty() && (options_.resume || board_.goes_on());
}

void GenerateOutput::describe_model(const pipelines::DiffusionPipeline& pipeline) {
  defaults_ = pipeline.defaults();
  device_map_ = pipeline.hf_device_map();
  if (!device_map_.empty() && (board_.is_main() || !placement::is_over_ranks(device_map_)))
    log::info("device map: {}", device_map_.to_text());
  // Not as it was typed: a path tells of the machine, and "folder" and "folder/" are one model.
  const io::ModelIdentity& model = pipeline.model();
  model_ = {{"model", valid_text(model.name)}};
  if (!model.revision.empty()) model_["revision"] = valid_text(model.revision);
  if (!model.hash.empty()) model_["model_hash"] = model.hash;
  pipeline_ = &pipeline;
  model_.update({{"scheduler", pipeline.scheduler().class_name}});
  if (!options_.scheduler_config.empty())
    model_["scheduler_config"] = parse_json(options_.scheduler_config, "");
  if (!options_.dtype.empty()) model_["dtype"] = options_.dtype;
  if (options_.float8) model_["float8"] = true;
  if (options_.allow_tf32) model_["allow_tf32"] = true;
  if (!options_.compute_dtype.empty()) model_["compute_dtype"] = options_.compute_dtype;
  if (!options_.variant.empty()) model_["variant"] = options_.variant;
}

pipelines::ImageSize GenerateOutput::size_of(const pipelines::Request& request) const {
  try {
    return pipeline_->image_size(request);  // a model may round what was asked for
  } catch (const UsageError&) {             // which the picture's failure says
    return {.height = request.height.value_or(defaults_.size.height),
            .width = request.width.value_or(defaults_.size.width)};
  }
}

Json GenerateOutput::parameters(const pipelines::JobBatch& batch, const pipelines::JobImage& image) const {
  const auto& r = batch.request;
  Json p = {{"prompt", image.prompt}};
  if (!r.negative_prompt.empty()) p["negative_prompt"] = image.negative_prompt;
  if (!r.prompt_2.empty()) p["prompt_2"] = r.prompt_2[image.index - batch.images.front().index];
  p["seed"] = image.seed;
  p["num_inference_steps"] = r.num_inference_steps.value_or(defaults_.num_inference_steps);
  p["guidance_scale"] = r.guidance_scale.value_or(defaults_.guidance_scale);
  put(p, "true_cfg_scale", r.true_cfg_scale);
  put(p, "guidance_rescale", r.guidance_rescale);
  put(p, "clip_skip", r.clip_skip);
  put(p, "max_sequence_length", r.max_sequence_length);
  if (r.eta != 0) p["eta"] = r.eta;
  if (r.noise_dtype != at::kFloat) p["noise_dtype"] = tensor::dtype_name(r.noise_dtype);
  const pipelines::ImageSize size = size_of(r);
  p["width"] = size.width;
  p["height"] = size.height;
  p.update(model_);
  p["version"] = kVersion;
  return p;
}

std::vector<Json> GenerateOutput::find_finished() {
  if (options_.latent()) return std::vector<Json>(batches_.size());
  const bool came_back = board_.came_back();
  if (!came_back) folder_.remove_leftovers(batches_);
  if (came_back || looks_for_finished()) return folder_.find_finished(batches_);
  folder_.forget(batches_);
  return std::vector<Json>(batches_.size());
}

void GenerateOutput::record_step(const pipelines::StepReport& step) {
  if (!options_.save_steps.empty())
    batch_steps_[step.index] =
        step.latents.to(at::kCPU, step.latents.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

Json GenerateOutput::finish_batch(const pipelines::JobBatch& batch, const pipelines::Output& result) {
  if (options_.latent() || !options_.save_steps.empty())
    latents_[batch.images.front().index] = {result.latents, batch.images.size()};
  for (const auto& [index, latents] : batch_steps_) steps_[index].push_back(latents);
  batch_steps_.clear();
  const pipelines::ImageSize size = size_of(batch.request);
  Json images = Json::array();
  for (size_t i = 0; i < batch.images.size(); ++i) {
    const auto& image = batch.images[i];
    if (options_.latent()) {
      images.push_back({{"index", image.index},
                        {"prompt", image.prompt},
                        {"seed", image.seed},
                        {"rank", board_.rank()},
                        {"file", file(image)},
                        {"width", size.width},
                        {"height", size.height}});
      continue;
    }
    const Json made_with = parameters(batch, image);
    images.push_back(
        folder_.put(batch, image,
                    io::encode_png(result.images[i], {{kWebuiKey, webui_parameters(made_with)},
                                                      {pipelines::kParametersKey, json_text(made_with)}})));
  }
  return images;
}

void GenerateOutput::record_failure(const pipelines::JobBatch& batch, const pipelines::Failure& failure) {
  batch_steps_.clear();
  if (options_.latent()) return;
  for (const auto& image : batch.images) folder_.record_failure(batch, image, failure.kind, failure.message);
}

void GenerateOutput::finish_share() {
  if (latents_.empty()) return;
  std::vector<at::Tensor> latents;
  std::vector<int64_t> of_pictures;  // one that failed has no row
  for (const auto& [first, batch] : latents_) {
    latents.push_back(batch.first);
    for (size_t i = 0; i < batch.second; ++i) of_pictures.push_back(static_cast<int64_t>(first + i));
  }
  const at::Tensor indices = at::tensor(of_pictures, at::kLong);
  if (options_.latent())
    weights::save_tensors(file({}), {{"latents", at::cat(latents)}, {"indices", indices}});
  if (options_.save_steps.empty()) return;
  std::vector<std::pair<std::string, at::Tensor>> tensors = {{"indices", indices}};
  for (const auto& [index, parts] : steps_)
    tensors.emplace_back(fmt::format("latents_{:03}", index), at::cat(parts));
  tensors.emplace_back("latents", at::cat(latents));
  weights::save_tensors(options_.save_steps, tensors);
}

bool GenerateOutput::can_resume() const {
  return has_many() && !options_.latent() && options_.save_steps.empty() && !options_.seed.is_random;
}

Json GenerateOutput::summary(const pipelines::JobOutcome& outcome, const RunFigures& figures) const {
  Json summary = model_;
  summary["num_processes"] = board_.world_size();
  summary["images"] = outcome.images;
  summary["failed"] = Json::array();
  for (const auto& [image, failure] : outcome.failed)
    summary["failed"].push_back({{"index", image.index},
                                 {"prompt", image.prompt},
                                 {"seed", image.seed},
                                 {"error", describe_error(failure)}});
  summary["load_seconds"] = figures.load_seconds;
  summary["run_seconds"] = figures.run_seconds;
  if (!device_map_.empty()) summary["device_map"] = device_map_.to_json();
  summary["memory"] = Json::object();
  for (const auto& memory : pipelines::memory_peaks()) {
    summary["memory"][memory.device]["peak_bytes"] = memory.peak_bytes;
    if (memory.budget_bytes) summary["memory"][memory.device]["budget_bytes"] = *memory.budget_bytes;
  }
  summary["components"] = Json::object();
  for (const auto& component : figures.stays) {
    Json& entry = summary["components"][component.name];
    entry = {{"stays", component.stays}, {"loads", component.loads}};
    if (!component.gone_for.empty()) entry["gone_for"] = component.gone_for;
  }
  return summary;
}

void GenerateOutput::print_summary(const pipelines::JobOutcome& outcome, const RunFigures& figures,
                                   const std::optional<pipelines::Failure>& failure) const {
  if (options_.json) {
    Json printed = summary(outcome, figures);
    if (failure) printed["error"] = describe_error(*failure);
    print_json(printed, 2);
    return;
  }
  for (const auto& memory : pipelines::memory_peaks())
    log::info("{}: at most {:.2f} GB in use{}", memory.device, static_cast<double>(memory.peak_bytes) / 1e9,
              memory.budget_bytes
                  ? fmt::format(" of {:.2f} GB allowed", static_cast<double>(*memory.budget_bytes) / 1e9)
                  : "");
  end_status();
  std::string last;  // latents: one file for all of a process
  for (const Json& image : outcome.images)
    if (const auto name = image["file"].get<std::string>(); name != last) fmt::print("{}\n", last = name);
  std::fflush(stdout);  // before the lines on stderr that follow
  if (const size_t made = outcome.images.size() - outcome.images_found; made > 0)
    log::info("{} {} in {:.1f} s, after {:.1f} s of loading", made, made == 1 ? "picture" : "pictures",
              figures.run_seconds, figures.load_seconds);
}

}  // namespace diffract::cli
