#include "diffract/jobs/job.h"

#include "diffract/core/error.h"
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
  frame.num_images_per_prompt = 1;
  frame.seed.reset();
  frame.seeds.clear();
  return frame;
}

}  // namespace

std::vector<JobBatch> plan_job(const std::vector<Request>& requests, uint64_t job_seed, int64_t batch_size) {
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
      const Json key = {shared, sizes_of(image), sizes_of(mask)};
      const bool joins = !batches.empty() && key == last_key &&
                         batches.back().images.size() < static_cast<size_t>(batch_size);
      if (!joins) batches.push_back({.request = frame, .images = {}});
      last_key = key;
      const uint64_t seed = request.seed ? *request.seed + i : job_seed + index;
      auto& [joined, images] = batches.back();
      append_texts(joined, request, p);
      joined.image.insert(joined.image.end(), image.begin(), image.end());
      joined.mask_image.insert(joined.mask_image.end(), mask.begin(), mask.end());
      joined.seeds.push_back(seed);
      images.push_back(
          {.index = index,
           .seed = seed,
           .prompt = joined.prompt.back(),
           .negative_prompt = joined.negative_prompt.empty() ? "" : joined.negative_prompt.back()});
    }
  }
  return batches;
}

}  // namespace diffract::jobs
