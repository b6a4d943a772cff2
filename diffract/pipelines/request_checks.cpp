#include "diffract/pipelines/request_checks.h"

#include <algorithm>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/core/utf8.h"
#include "diffract/pipelines/request_fields.h"
#include "diffract/pipelines/task_class.h"

namespace diffract::pipelines {
namespace {

constexpr auto kMostBatch = static_cast<size_t>(kMostImages);
// Fields that every family takes.
constexpr std::string_view kForAll[] = {
    "prompt", "seed",      "num_inference_steps", "guidance_scale",        "noise_dtype", "height",
    "width",  "scheduler", "scheduler_config",    "num_images_per_prompt", "output_type", "pipeline"};

void check_count(const char* name, size_t count, size_t prompts) {
  if (count > 1 && count != prompts)
    throw UsageError("{}: {} given for {} prompts; give one for all, or one each", name, count, prompts);
}

// Rows of a file of latents are those of the images of the whole request.
void check_latent_rows(const Request& request) {
  for (const InputPicture& picture : request.image) {
    const auto rows = static_cast<size_t>(picture.latent_rows());
    if (rows > 1 && (request.image.size() > 1 || rows != request.image_count()))
      throw UsageError("image {}: has {} latents for {} images; expected one for all, or one each",
                       picture.name(), rows, request.image_count());
  }
}

// Embeddings stand in for all texts; whether their widths fit is the model's to say.
void check_embeds(const Request& request) {
  const auto require = [](bool fits, const char* problem) {
    if (!fits) throw UsageError("{}", problem);
  };
  const auto rows = [](const at::Tensor& embeds) { return embeds.dim() > 0 ? embeds.size(0) : 0; };
  for (const RequestField* field : text_fields())
    require((request.*field->texts).empty(), "prompt_embeds: given together with texts; give either");
  require(request.prompt_embeds.dim() == 3 && request.prompt_embeds.numel() > 0,
          "prompt_embeds: expected the shape [images, tokens, width]");
  require(request.pooled_prompt_embeds.defined() &&
              rows(request.pooled_prompt_embeds) == rows(request.prompt_embeds),
          "pooled_prompt_embeds: expected one row for each of prompt_embeds; both come from encode_prompt");
  require(request.negative_prompt_embeds.defined() == request.negative_pooled_prompt_embeds.defined(),
          "negative_prompt_embeds and negative_pooled_prompt_embeds: give both or neither");
  if (request.image_count() > kMostBatch) throw UsageError("prompt_embeds: more than {} images", kMostBatch);
  if (!request.seeds.empty() && request.seeds.size() != request.image_count())
    throw UsageError("seeds: {} given for {} images", request.seeds.size(), request.image_count());
}

}  // namespace

std::vector<std::string> one_for_each_prompt(std::vector<std::string> texts, size_t prompts,
                                             const std::string& missing) {
  if (texts.empty()) texts = {missing};
  if (texts.size() == 1) texts.resize(prompts, texts[0]);
  return texts;
}

void check_counts(const Request& request) {
  const bool has_embeds = request.prompt_embeds.defined();  // one row an image
  if (has_embeds)
    check_embeds(request);
  else if (request.prompt.empty())
    throw UsageError("prompt: none given");
  const size_t prompts = has_embeds ? request.image_count() : request.prompt.size();
  for (const RequestField& field : request_fields())
    if (field.is_list() && !field.several_each && field.name != std::string_view("prompt"))
      check_count(field.name, field.get(request).size(), prompts);
  if (has_embeds && request.num_images_per_prompt != 1)
    throw UsageError("num_images_per_prompt {}: prompt_embeds has one row an image; repeat its rows",
                     request.num_images_per_prompt);
  if (request.num_images_per_prompt < 1 || request.image_count() > kMostBatch)
    throw UsageError(
        "num_images_per_prompt: {} for {} prompts; expected 1 or more and at most {} images in all",
        request.num_images_per_prompt, request.prompt.size(), kMostBatch);
  if (!request.seeds.empty() && request.seeds.size() != request.image_count())
    throw UsageError("seeds: {} given for {} images", request.seeds.size(), request.image_count());
  check_latent_rows(request);
}

std::vector<std::string> or_else(std::vector<std::string> texts, const std::vector<std::string>& fallback) {
  texts = one_for_each_prompt(std::move(texts), fallback.size(), "");
  for (size_t i = 0; i < texts.size(); ++i)
    if (texts[i].empty()) texts[i] = fallback[i];
  return texts;
}

void check_request(const Request& request, const loading::FamilyFacts& facts) {
  check_counts(request);
  const loading::TaskClass task = task_class_of(request, facts);
  const auto takes = [&](std::string_view name) {
    const auto is_in = [&](const auto& names) {
      return std::find(std::begin(names), std::end(names), name) != std::end(names);
    };
    if (task.keeps_picture_size && (name == "height" || name == "width")) return false;
    return is_in(kForAll) || is_in(task.takes);
  };
  if (request.prompt_embeds.defined() && !takes("prompt_embeds"))
    throw UsageError("prompt_embeds: {} takes prompts only so far", facts.class_name);
  for (const RequestField& field : request_fields())
    if (!takes(field.name) && !field.get(request).is_null())
      throw UsageError("{}: {} does not take it; leave {} out", field.name, task.class_name, field.option());
  check_ranges(request);
  check_pictures(request, task);
}

loading::ImageSize size_of(const Request& request, const loading::ImageSize& fallback,
                           const loading::FamilyFacts& facts, int64_t vae_scale_factor) {
  const int64_t multiple = facts.latents_a_token * vae_scale_factor;
  const bool rounds = facts.latents_a_token > 1;
  const auto check = [&](const char* name, int64_t pixels) {
    if (pixels < multiple || pixels > kMostPixels || (!rounds && pixels % multiple != 0))
      throw UsageError("{} {}: expected {}{} to {}", name, pixels,
                       rounds ? "" : fmt::format("a multiple of {} from ", multiple), multiple, kMostPixels);
    const int64_t rounded = pixels / multiple * multiple;
    if (rounded != pixels)
      log::write_once(log::Level::warning,
                      fmt::format("{} {}: this model takes multiples of {}; the picture gets {}", name,
                                  pixels, multiple, rounded));
    return rounded;
  };
  return {.height = check("height", request.height.value_or(fallback.height)),
          .width = check("width", request.width.value_or(fallback.width))};
}

int64_t steps_of(const Request& request, int64_t fallback) {
  warn_of_no_effect(request.num_inference_steps && request.num_inference_steps != request.steps(),
                    "num_inference_steps", "the request has a schedule of its own");
  return request.steps().value_or(fallback);
}

std::vector<uint64_t> image_seeds(const Request& request) {
  if (!request.seeds.empty()) return request.seeds;
  std::vector<uint64_t> seeds(request.image_count());
  for (size_t i = 0; i < seeds.size(); ++i) seeds[i] = request.seed.value_or(0) + i;
  return seeds;
}

bool has_text(const std::vector<std::string>& texts) {
  return std::any_of(texts.begin(), texts.end(), [](const auto& text) { return !text.empty(); });
}

void warn_of_no_effect(bool unused, const char* argument, const char* why) {
  if (unused) log::write_once(log::Level::warning, fmt::format("{}: has no effect, as {}", argument, why));
}

at::Tensor token_batch(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                       const TokenLimits& limits) {
  const auto [length, vocab_size] = limits;
  if (tokenizer.vocab_size() > vocab_size)
    log::write_once(
        log::Level::warning,
        fmt::format("the tokenizer has {} tokens and its text encoder {} (\"vocab_size\"): a prompt "
                    "with one of the others cannot be drawn",
                    tokenizer.vocab_size(), vocab_size));
  at::Tensor ids = at::empty({static_cast<int64_t>(texts.size()), length}, at::kLong);
  auto* row = ids.data_ptr<int64_t>();
  for (const std::string& one : texts) {
    const auto encoding = tokenizer.encode(one, {.max_length = length, .pad = true});
    for (const int64_t id : encoding.input_ids)
      if (id >= vocab_size)
        throw UsageError(
            "the prompt has the token \"{}\" (id {}), for which the text encoder has no weights: its "
            "\"vocab_size\" is {}. Leave it out of the prompt, or take the text encoder that was saved with "
            "this tokenizer",
            tokenizer.id_to_token(id), id, vocab_size);
    if (encoding.cut_tokens > 0)
      log::warning("the prompt has {} tokens more than the model reads ({}); they are ignored: \"{}\"",
                   encoding.cut_tokens, length, shortened(one, 80));
    row = std::copy(encoding.input_ids.begin(), encoding.input_ids.end(), row);
  }
  return ids;
}

std::string why_not_finite(const tensor::DtypePolicy& policy) {
  if (policy.arithmetic != at::kFloat)
    return fmt::format(
        "Its weights are damaged, or its numbers are too large for {} arithmetic: try --compute-dtype "
        "float32",
        tensor::dtype_name(policy.arithmetic));
  if (policy.storage == at::kHalf)
    return "Its weights are damaged, or too large for float16: leave --dtype out";
  return "Its weights are damaged";
}

void FiniteCheck::require_finite(bool sound, size_t step) const {
  if (!sound)
    throw CheckpointError("step {}: the model gave values that are not finite. {}", step,
                          why_not_finite(policy_));
}

void FiniteCheck::step(const at::Tensor& latents, size_t step) {
  const at::Tensor sound = at::isfinite(latents).all();
  if (latents.is_cpu())
    require_finite(sound.item<bool>(), step);
  else
    sound_.push_back(sound);
}

void FiniteCheck::finish() const {
  if (sound_.empty()) return;
  const at::Tensor all = at::stack(sound_).cpu();
  for (int64_t i = 0; i < all.size(0); ++i) require_finite(all[i].item<bool>(), static_cast<size_t>(i));
}

}  // namespace diffract::pipelines
