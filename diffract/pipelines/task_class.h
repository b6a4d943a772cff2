#pragma once
#include <optional>

#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/pipelines/request.h"

namespace diffract::pipelines {

/// Which of a family's pipeline classes a request asks for, as diffusers' AutoPipeline has it: a picture
/// means image to image, a picture and a mask inpainting, a control picture the form of these with
/// ControlNets; request.pipeline goes before that. A family that
/// has no class for the inputs gives text to image, which refuses them by name. Throws UsageError for a class
/// that the family has not.
loading::TaskClass task_class_of(const Request& request, const loading::FamilyFacts& facts);
/// The same; none for a class that the family has not.
std::optional<loading::TaskClass> find_task_class(const Request& request, const loading::FamilyFacts& facts);

/// Throws UsageError where a class' picture or mask is missing, where latents stand for a picture that must
/// be one, and where a mask has not the size that it must have.
void check_pictures(const Request& request, const loading::TaskClass& task);

/// The size that is computed: the picture's own, cut to whole latents, where the class keeps it, or goes by
/// it where none is given, else as size_of() says. Throws UsageError for sizes that cannot be, or differ in
/// one call.
loading::ImageSize computed_size(const Request& request, const loading::ImageSize& fallback,
                                 const loading::FamilyFacts& facts, int64_t vae_scale_factor);

/// The height or width that a request gives its images by itself: of its numbers, else of the picture that
/// the task goes by; none: the model has its own. As far as it is known without a model.
struct GivenSize {
  std::optional<int64_t> height, width;  // pixels, or latents where those are given

  friend bool operator==(const GivenSize&, const GivenSize&) = default;
};
GivenSize size_given(const Request& request);

/// Picture `i` of a request's, which are one for all prompts or one each.
const InputPicture& picture_of(const std::vector<InputPicture>& pictures, const Request& request, size_t i);

}  // namespace diffract::pipelines
