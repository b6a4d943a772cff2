#include "diffract/jobs/job.h"

#include "diffract/core/error.h"
#include "diffract/pipelines/control.h"
#include "diffract/pipelines/request_checks.h"
#include "diffract/pipelines/request_fields.h"

namespace diffract::jobs {
namespace {

using pipelines::InputPicture;
using pipelines::Request;
using Scope = pipelines::RequestField::Scope;

// All that must agree among the pictures of a batch.
Json batch_key(const Request& request) {
  Json key = Json::array();
  for (const auto& field : pipelines::request_fields()) {
    const Json value = field.get(request);
    if (field.scope == Scope::batch || field.scope == Scope::job) key.push_back(value);
    // Texts and pictures may differ, but a batch has them for all of its images or for none.
    if (field.is_list()) key.push_back(value.is_null());
  }
  return key;
}

// The texts of prompt p: one for all, or one each; nothing where none was given.
void append_texts(Request& to, const Request& request, size_t p) {
  for (const auto* field : pipelines::text_fields())
    if (const auto& texts = request.*field->texts; !texts.empty())
      (to.*field->texts).push_back(texts.size() == 1 ? texts[0] : texts[p]);
}

// The picture of image i, which is one of prompt p.
std::vector<InputPicture> picture_of(const std::vector<InputPicture>& pictures, size_t i, size_t p) {
  if (pictures.empty()) return {};
  return {(pictures.size() == 1 ? pictures[0] : pictures[p]).for_image(i)};
}

// What pictures that are computed together must agree in.
Json sizes_of(const std::vector<InputPicture>& pictures) {
  Json sizes = Json::array();
  for (const InputPicture& picture : pictures)
    sizes.push_back({picture.width(), picture.height(), picture.is_latents()});
  return sizes;
}

// A request's settings, without a prompt yet.
Request frame_of(const Request& request) {
  Request frame = request;
  for (const auto* field : pipelines::text_fields()) (frame.*field->texts).clear();
  frame.image.clear();
  frame.mask_image.clear();
  frame.control_image.clear();
  frame.num_images_per_prompt = 1;
  frame.seed.reset();
  frame.seeds.clear();
  return frame;
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& values) {
  to.insert(to.end(), values.begin(), values.end());
}

}  // namespace

std::string kind_of(const JobBatch& batch) {
  const Request& request = batch.request;
  // Those of the first image.
  const auto first_of = [&](const std::vector<InputPicture>& pictures) {
    const auto each = static_cast<ptrdiff_t>(pictures.size() / batch.images.size());
    return sizes_of({pictures.begin(), pictures.begin() + each});
  };
  return json_text({batch_key(request), first_of(request.image), first_of(request.mask_image),
                    first_of(request.control_image)});
}

void append(JobBatch& to, const JobBatch& batch) {
  for (const auto* field : pipelines::text_fields())
    append(to.request.*field->texts, batch.request.*field->texts);
  append(to.request.image, batch.request.image);
  append(to.request.mask_image, batch.request.mask_image);
  append(to.request.control_image, batch.request.control_image);
  append(to.request.seeds, batch.request.seeds);
  append(to.images, batch.images);
}

std::vector<JobBatch> plan_job(const std::vector<Request>& requests, uint64_t job_seed, int64_t batch_size,
                               size_t controlnets) {
  if (requests.empty()) throw UsageError("no prompts given");
  if (batch_size < 1) throw UsageError("batch_size {}: expected 1 or more", batch_size);
  std::vector<JobBatch> batches;
  Json last_key;
  size_t index = 0;
  for (const Request& request : requests) {
    check_counts(request);
    const Json shared = batch_key(request);
    const Request frame = frame_of(request);
    for (size_t i = 0; i < request.image_count(); ++i, ++index) {
      const size_t p = i / static_cast<size_t>(request.num_images_per_prompt);
      const auto image = picture_of(request.image, i, p), mask = picture_of(request.mask_image, i, p);
      const auto control = request.control_image.empty()
                               ? std::vector<InputPicture>()
                               : pipelines::control_pictures_of(request, p, controlnets);
      const Json key = {shared, sizes_of(image), sizes_of(mask), sizes_of(control)};
      const uint64_t seed = request.seed ? *request.seed + i : job_seed + index;
      JobBatch one{.request = frame, .images = {}};
      append_texts(one.request, request, p);
      one.request.image = image;
      one.request.mask_image = mask;
      one.request.control_image = control;
      one.request.seeds = {seed};
      const auto& negative = one.request.negative_prompt;
      one.images = {{.index = index,
                     .seed = seed,
                     .prompt = one.request.prompt.back(),
                     .negative_prompt = negative.empty() ? "" : negative.back()}};
      const bool joins = !batches.empty() && key == last_key &&
                         batches.back().images.size() < static_cast<size_t>(batch_size);
      last_key = key;
      if (joins)
        append(batches.back(), one);
      else
        batches.push_back(std::move(one));
    }
  }
  return batches;
}

}  // namespace diffract::jobs
