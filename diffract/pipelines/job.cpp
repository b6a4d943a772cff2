#include "diffract/pipelines/job.h"

#include <tuple>

#include "diffract/core/error.h"
#include "diffract/pipelines/request_checks.h"

namespace diffract::pipelines {
namespace {

// All that must agree among the pictures of a batch.
auto settings_of(const Request& r) {
  return std::tie(r.num_inference_steps, r.guidance_scale, r.true_cfg_scale, r.guidance_rescale, r.height,
                  r.width, r.max_sequence_length, r.clip_skip, r.eta, r.noise_dtype, r.output_type);
}

// The text of prompt p: one for all, or one each; nothing where none was given.
std::vector<std::string> text_of(const std::vector<std::string>& texts, size_t p) {
  if (texts.empty()) return {};
  return {texts.size() == 1 ? texts[0] : texts[p]};
}

Request single(const Request& request, size_t p, uint64_t seed) {
  Request one = request;
  one.prompt = {request.prompt[p]};
  one.prompt_2 = text_of(request.prompt_2, p);
  one.negative_prompt = text_of(request.negative_prompt, p);
  one.num_images_per_prompt = 1;
  one.seeds = {seed};
  return one;
}

bool joins(const JobBatch& batch, const Request& one, size_t batch_size) {
  return batch.images.size() < batch_size && settings_of(batch.request) == settings_of(one) &&
         batch.request.prompt_2.empty() == one.prompt_2.empty() &&
         batch.request.negative_prompt.empty() == one.negative_prompt.empty();
}

void append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::vector<JobBatch> plan_job(const std::vector<JobEntry>& entries, uint64_t job_seed, int64_t batch_size) {
  if (entries.empty()) throw UsageError("no prompts given");
  if (batch_size < 1) throw UsageError("batch_size {}: expected 1 or more", batch_size);
  std::vector<JobBatch> batches;
  size_t index = 0;
  for (const auto& [request, own_seed] : entries) {
    check_texts(request);
    for (size_t i = 0; i < request.image_count(); ++i, ++index) {
      const uint64_t seed = own_seed ? *own_seed + i : job_seed + index;
      Request one = single(request, i / static_cast<size_t>(request.num_images_per_prompt), seed);
      JobImage image{.index = index,
                     .seed = seed,
                     .prompt = one.prompt[0],
                     .negative_prompt = one.negative_prompt.empty() ? "" : one.negative_prompt[0]};
      if (batches.empty() || !joins(batches.back(), one, static_cast<size_t>(batch_size))) {
        batches.push_back({.request = std::move(one), .images = {std::move(image)}});
        continue;
      }
      Request& joined = batches.back().request;
      append(joined.prompt, one.prompt);
      append(joined.prompt_2, one.prompt_2);
      append(joined.negative_prompt, one.negative_prompt);
      joined.seeds.push_back(seed);
      batches.back().images.push_back(std::move(image));
    }
  }
  return batches;
}

}  // namespace diffract::pipelines
