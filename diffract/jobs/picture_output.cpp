#include "diffract/jobs/picture_output.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <tuple>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/trace.h"
#include "diffract/core/utf8.h"
#include "diffract/io/png.h"
#include "diffract/pipelines/task_class.h"
#include "diffract/weights/save_tensors.h"

namespace diffract::jobs {
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

}  // namespace

PictureOutput::PictureOutput(const OutputOptions& options, const std::vector<JobBatch>& batches,
                             JobBoard& board)
    : options_(options),
      batches_(batches),
      board_(board),
      pattern_(options.file_pattern()),
      folder_(naming()) {
  check_shapes();
  for (const std::string& name : distinct_names()) {
    if (options.preview_every > 0 && is_preview_file(name))
      throw UsageError("--preview-every: the picture {} has the name of a preview; give another --output",
                       name);
    prepare_folder(name);
  }
  if (!options.save_steps.empty()) prepare_folder(options.save_steps);
}

std::vector<std::string> PictureOutput::distinct_names() const {
  std::map<std::string, const JobImage*> names;
  for (const auto& batch : batches_)
    for (const auto& image : batch.images) {
      const auto [at, is_new] = names.emplace(file(image), &image);
      if (is_new || options_.latent) continue;
      throw UsageError(
          "--output \"{}\": pictures {} (\"{}\") and {} (\"{}\") would both be {}; put {{index}} into the "
          "name",
          options_.file_pattern(), at->second->index, excerpt_of(at->second->prompt), image.index,
          excerpt_of(image.prompt), at->first);
    }
  if (options_.latent && names.size() > 1)
    throw UsageError(
        "--output \"{}\": latents go into one file; leave {{index}}, {{prompt}} and {{seed}} out",
        options_.file_pattern());
  std::vector<std::string> distinct;
  distinct.reserve(names.size());
  for (const auto& [name, image] : names) distinct.push_back(name);
  return distinct;
}

// Latents of all pictures are one tensor.
void PictureOutput::check_shapes() const {
  const bool saves_steps = !options_.save_steps.empty();
  if (!options_.latent && !saves_steps) return;
  const auto& first = batches_.front().request;
  for (const auto& [request, images] : batches_) {
    const char* option = saves_steps ? "--save-steps" : "--output-type latent";
    if (pipelines::size_given(request) != pipelines::size_given(first))
      throw UsageError(
          "{}: pictures {} and {} differ in height or width; latents of one size go into a file. Give all "
          "lines the same size, or make a job of each",
          option, batches_.front().images.front().index, images.front().index);
    if (saves_steps && request.steps() != first.steps())
      throw UsageError("{}: pictures {} and {} differ in their number of steps; give all lines the same",
                       option, batches_.front().images.front().index, images.front().index);
    const auto walk = [](const pipelines::Request& r) {
      return std::tie(r.strength, r.denoising_start, r.denoising_end, r.scheduler, r.scheduler_config);
    };
    if (saves_steps && walk(request) != walk(first))
      throw UsageError(
          "{}: pictures {} and {} differ in their scheduler, strength, denoising_start or denoising_end, and "
          "so in the steps that they make; give all lines the same",
          option, batches_.front().images.front().index, images.front().index);
  }
}

JobFolder::Naming PictureOutput::naming() {
  // A lone picture needs no manifest: it says itself how it was made.
  return {
      .file = [this](const auto& image, int64_t rank) { return pattern_.file(image, rank); },
      .parameters = [this](const auto& batch, const auto& image) { return parameters_->of(batch, image); },
      .folder = pattern_.folder(),
      .rank = board_.rank(),
      .world_size = board_.world_size(),
      .with_manifest = has_many() || board_.world_size() > 1 || looks_for_finished()};
}

bool PictureOutput::looks_for_finished() const {
  return !options_.latent && options_.save_steps.empty() && (options_.resume || board_.is_restart());
}

std::vector<Json> PictureOutput::find_finished() {
  if (options_.latent) return std::vector<Json>(batches_.size());
  const bool rejoined = board_.rejoined();
  if (!rejoined) folder_.remove_leftovers(batches_);
  if (rejoined || looks_for_finished()) return folder_.find_finished(batches_);
  folder_.forget(batches_);
  return std::vector<Json>(batches_.size());
}

void PictureOutput::record_step(const pipelines::StepReport& step) {
  if (!options_.save_steps.empty())
    batch_steps_[step.index] =
        step.latents.to(at::kCPU, step.latents.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
}

bool PictureOutput::is_preview_due(const pipelines::StepReport& step) const {
  const auto every = static_cast<size_t>(options_.preview_every);
  return every > 0 && (step.index + 1) % every == 0 && step.index + 1 < step.count;
}

void PictureOutput::put_previews(const JobBatch& batch, size_t step,
                                 const std::vector<io::Image>& pictures) const {
  for (size_t i = 0; i < batch.images.size(); ++i)
    pictures.at(i).save(preview_file(file(batch.images[i]), step));
}

JobWork::Save PictureOutput::finish_batch(const JobBatch& batch, pipelines::Output result) {
  if (options_.latent || !options_.save_steps.empty()) {
    auto& [latents, indices] = latents_[batch.images.front().index];
    latents = result.latents;
    for (const JobImage& image : batch.images) indices.push_back(static_cast<int64_t>(image.index));
  }
  for (const auto& [index, latents] : batch_steps_) steps_[index].push_back(latents);
  batch_steps_.clear();
  if (options_.latent) return [images = describe_latents(batch)] { return images; };
  return [this, &batch, arriving = std::move(result.arriving), nsfw = std::move(result.nsfw_content_detected),
          threads = at::get_num_threads()] {
    return put_pictures(batch, {.pictures = arriving(), .nsfw_content_detected = nsfw, .threads = threads});
  };
}

Json PictureOutput::describe_latents(const JobBatch& batch) const {
  const loading::ImageSize size = parameters_->size_of(batch.request);
  Json images = Json::array();
  for (const auto& image : batch.images)
    images.push_back({{"index", image.index},
                      {"prompt", image.prompt},
                      {"seed", image.seed},
                      {"rank", board_.rank()},
                      {"file", file(image)},
                      {"width", size.width},
                      {"height", size.height}});
  return images;
}

Json PictureOutput::put_pictures(const JobBatch& batch, const Arrived& arrived) {
  Json images = Json::array();
  for (size_t i = 0; i < batch.images.size(); ++i) {
    const auto& image = batch.images[i];
    const Json made_with = parameters_->of(batch, image);
    const trace::Span span("save", trace::is_on() ? fmt::format("picture {}", image.index) : "");
    JobFolder::Made made{.parameters = json_text(made_with), .threads = arrived.threads};
    std::vector<io::PngText> texts = {{kWebuiKey, webui_parameters(made_with)},
                                      {kParametersKey, made.parameters}};
    if (!arrived.nsfw_content_detected.empty()) {
      made.nsfw_content_detected = arrived.nsfw_content_detected[i];
      texts.push_back({kNsfwKey, *made.nsfw_content_detected ? "true" : "false"});
    }
    images.push_back(folder_.put(image, made, io::encode_png(arrived.pictures[i], texts)));
  }
  return images;
}

void PictureOutput::record_failure(const JobBatch& batch, const Failure& failure) {
  if (options_.latent) return;
  for (const auto& image : batch.images) folder_.record_failure(batch, image, failure.kind, failure.message);
}

void PictureOutput::finish_share() {
  if (latents_.empty()) return;
  std::vector<at::Tensor> latents;
  std::vector<int64_t> of_pictures;  // one that failed has no row
  for (const auto& [first, batch] : latents_) {
    latents.push_back(batch.first);
    of_pictures.insert(of_pictures.end(), batch.second.begin(), batch.second.end());
  }
  const at::Tensor indices = at::tensor(of_pictures, at::kLong);
  if (options_.latent) weights::save_tensors(file({}), {{"latents", at::cat(latents)}, {"indices", indices}});
  if (options_.save_steps.empty()) return;
  std::vector<std::pair<std::string, at::Tensor>> tensors = {{"indices", indices}};
  for (const auto& [index, parts] : steps_)
    tensors.emplace_back(fmt::format("latents_{:03}", index), at::cat(parts));
  tensors.emplace_back("latents", at::cat(latents));
  weights::save_tensors(options_.save_steps, tensors);
}

bool PictureOutput::can_resume() const {
  return has_many() && !options_.latent && options_.save_steps.empty();
}

}  // namespace diffract::jobs
