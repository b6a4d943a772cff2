#include "diffract/cli/generate_output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "diffract/cli/version.h"
#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/io/png.h"
#include "diffract/pipelines/device_budgets.h"
#include "diffract/weights/save_tensors.h"

namespace diffract::cli {
namespace fs = std::filesystem;
namespace {

constexpr const char* kParametersKey = "parameters";  // as stable-diffusion-webui has it
constexpr const char* kDiffractKey = "diffract";      // the same as JSON

// Makes the folder of a file that will be written, and checks now that it can be: an hour of computing must
// not end in "permission denied".
void prepare_folder(const fs::path& file) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) throw IoError("{}: cannot be made: {}", folder.string(), failure.message());
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw IoError("{}: cannot be written to: {}", folder.string(), std::strerror(errno));
  if (fs::is_directory(file, failure)) throw IoError("{}: is a folder; expected a file name", file.string());
}

std::string default_output(const GenerateOptions& options) {
  if (!options.output.empty()) return options.output;
  return options.latent() ? "latents.safetensors" : "image_{index}.png";
}

template <typename T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}

}  // namespace

GenerateOutput::GenerateOutput(const GenerateOptions& options,
                               const std::vector<pipelines::JobBatch>& batches)
    : options_(options), pattern_(default_output(options)) {
  std::set<std::string> names;
  for (const auto& batch : batches)
    for (const auto& image : batch.images) {
      const std::string name = pattern_.file(image, 0);
      if (!names.insert(name).second && !options.latent())
        throw UsageError("--output \"{}\": two pictures would be {}; put {{index}} into the name",
                         default_output(options), name);
    }
  if (options.latent() && names.size() > 1)
    throw UsageError("--output \"{}\": latents go into one file; leave the places in braces out",
                     default_output(options));
  for (const std::string& name : names) prepare_folder(name);
  if (!options.save_steps.empty()) prepare_folder(options.save_steps);
  if (options.resume && (options.latent() || !options.save_steps.empty()))
    throw UsageError("--resume works with pictures; leave --output-type latent and --save-steps out");
}

void GenerateOutput::describe_model(const pipelines::DiffusionPipeline& pipeline) {
  defaults_ = pipeline.defaults();
  device_map_ = pipeline.hf_device_map();
  if (!device_map_.empty()) log::info("device map: {}", device_map_.to_text());
  model_ = {{"model", options_.model}, {"scheduler", pipeline.scheduler().class_name}};
  if (!options_.scheduler_config.empty())
    model_["scheduler_config"] = parse_json(options_.scheduler_config, "");
  if (!options_.dtype.empty()) model_["dtype"] = options_.dtype;
  if (!options_.compute_dtype.empty()) model_["compute_dtype"] = options_.compute_dtype;
  if (!options_.variant.empty()) model_["variant"] = options_.variant;
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
  p["width"] = r.width.value_or(defaults_.size.width);
  p["height"] = r.height.value_or(defaults_.size.height);
  p.update(model_);
  p["version"] = kVersion;
  return p;
}

bool GenerateOutput::is_done(const pipelines::JobBatch& batch, const pipelines::JobImage& image) const {
  const fs::path file = pattern_.file(image, 0);
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return false;
  try {
    const std::string wanted = parameters(batch, image).dump();
    for (const auto& text : io::load_png(file).texts)
      if (text.key == kDiffractKey && text.value == wanted) return true;
  } catch (const Error&) {
    // Not one of our pictures: it is made anew and replaces this file.
  }
  return false;
}

std::vector<pipelines::JobBatch> GenerateOutput::still_to_do(
    const std::vector<pipelines::JobBatch>& batches) {
  if (!options_.resume) return batches;
  std::vector<pipelines::JobBatch> left;
  size_t done = 0;
  for (const auto& batch : batches) {
    const bool whole = std::all_of(batch.images.begin(), batch.images.end(),
                                   [&](const auto& image) { return is_done(batch, image); });
    if (!whole) {
      left.push_back(batch);
      continue;
    }
    done += batch.images.size();
    for (const auto& image : batch.images) images_.push_back(summary_of(image));
  }
  if (done > 0) log::info("{} pictures are there already", done);
  return left;
}

void GenerateOutput::record_step(const pipelines::StepReport& step) {
  if (!options_.save_steps.empty())
    steps_[step.index].push_back(
        step.latents.to(at::kCPU, step.latents.scalar_type(), /*non_blocking=*/false, /*copy=*/true));
}

Json GenerateOutput::summary_of(const pipelines::JobImage& image) const {
  return {{"index", image.index},
          {"prompt", image.prompt},
          {"seed", image.seed},
          {"file", pattern_.file(image, 0)}};
}

void GenerateOutput::finish_batch(const pipelines::JobBatch& batch, const pipelines::Output& result) {
  if (options_.latent() || !options_.save_steps.empty()) latents_.push_back(result.latents);
  for (size_t i = 0; i < batch.images.size(); ++i) {
    const auto& image = batch.images[i];
    if (!options_.latent()) {
      const Json made_with = parameters(batch, image);
      io::save_png(pattern_.file(image, 0), result.images[i],
                   {{kParametersKey, webui_parameters(made_with)}, {kDiffractKey, made_with.dump()}});
    }
    images_.push_back(summary_of(image));
  }
}

void GenerateOutput::finish(const RunFigures& figures) {
  if (options_.latent()) weights::save_tensors(pattern_.file({}, 0), {{"latents", at::cat(latents_)}});
  if (!options_.save_steps.empty()) {
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const auto& [index, parts] : steps_)
      tensors.emplace_back(fmt::format("latents_{:03}", index), at::cat(parts));
    tensors.emplace_back("latents", at::cat(latents_));
    weights::save_tensors(options_.save_steps, tensors);
  }
  if (options_.json) {
    Json summary = model_;
    summary["images"] = images_;
    summary["load_seconds"] = figures.load_seconds;
    summary["run_seconds"] = figures.run_seconds;
    if (!device_map_.empty()) summary["device_map"] = device_map_.to_json();
    for (const auto& memory : pipelines::memory_peaks()) {
      summary["memory"][memory.device]["peak_bytes"] = memory.peak_bytes;
      if (memory.budget_bytes) summary["memory"][memory.device]["budget_bytes"] = *memory.budget_bytes;
    }
    fmt::print("{}\n", summary.dump(2));
    return;
  }
  for (const auto& memory : pipelines::memory_peaks())
    log::info("{}: at most {:.2f} GB in use{}", memory.device, static_cast<double>(memory.peak_bytes) / 1e9,
              memory.budget_bytes
                  ? fmt::format(" of {:.2f} GB allowed", static_cast<double>(*memory.budget_bytes) / 1e9)
                  : "");
  std::string last;  // latents: one file for all
  for (const Json& image : images_)
    if (const auto file = image["file"].get<std::string>(); file != last) fmt::print("{}\n", last = file);
  if (figures.images > 0)
    log::info("{} pictures in {:.1f} s, after {:.1f} s of loading", figures.images, figures.run_seconds,
              figures.load_seconds);
}

}  // namespace diffract::cli
