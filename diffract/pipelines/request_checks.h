#pragma once
#include <optional>

#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/pipelines/request.h"
#include "diffract/text/tokenizer.h"

namespace diffract::pipelines {

// The checks that all pipelines make of a request; each throws UsageError naming the argument, what was found
// and what was expected.

/// One text for all prompts, or one each; `missing` where none was given.
std::vector<std::string> one_for_each_prompt(std::vector<std::string> texts, size_t prompts,
                                             const std::string& missing);

/// A second encoder's texts, one each: where one is missing or empty, the first encoder's, of which there is
/// one each. As Python's `prompt_2 or prompt`.
std::vector<std::string> or_else(std::vector<std::string> texts, const std::vector<std::string>& fallback);

/// At least one prompt (or sound embeddings instead), as many of each other text and picture as that or one
/// or none, a sane number of images.
void check_counts(const Request& request);
/// Sound texts and pictures, numbers in their ranges, and no field that the request's class does not take.
void check_request(const Request& request, const loading::FamilyFacts& facts);
/// Height and width in pixels, as the family takes them: others than multiples of its own are rounded down
/// with a warning, or an error. `vae_scale_factor`: pixels a latent each way.
loading::ImageSize size_of(const Request& request, const loading::ImageSize& fallback,
                           const loading::FamilyFacts& facts, int64_t vae_scale_factor);
/// True when one of `texts` is not empty.
bool has_text(const std::vector<std::string>& texts);
/// Where `unused`, says once that an argument has no effect here, and why. diffusers takes it in silence, and
/// a program written for it must go on working, so it is no error.
void warn_of_no_effect(bool unused, const char* argument, const char* why);
/// Steps of the request: those of a schedule of its own, else num_inference_steps, else `fallback`.
int64_t steps_of(const Request& request, int64_t fallback);
/// The seed of each image: request.seeds, or seed + i.
std::vector<uint64_t> image_seeds(const Request& request);

/// What a text encoder reads.
struct TokenLimits {
  int64_t length, vocab_size;
};
/// Ids [texts, length] of texts padded to the limits' length. What does not fit is cut, with a warning once a
/// text. Throws UsageError naming a token of a text that the text encoder has not; a tokenizer may have more
/// tokens than that, as diffusers takes it, which is said in a warning.
at::Tensor token_batch(const text::Tokenizer& tokenizer, const std::vector<std::string>& texts,
                       const TokenLimits& limits);

/// What to do about values that are not finite, for a message: a sentence or two.
std::string why_not_finite(const tensor::DtypePolicy& policy);

/// Looks for values that are infinite or not numbers, which no sound model gives. On the CPU step() throws
/// CheckpointError at once; on an accelerator, which a look would make wait, finish() does after the last
/// step.
class FiniteCheck {
 public:
  explicit FiniteCheck(const tensor::DtypePolicy& policy) : policy_(policy) {}
  void step(const at::Tensor& latents, size_t step);
  void finish() const;

 private:
  void require_finite(bool sound, size_t step) const;
  tensor::DtypePolicy policy_;
  std::vector<at::Tensor> sound_;  // one bool a step, on the accelerator
};

}  // namespace diffract::pipelines
