#include "tests/support/pictures.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace diffract::test {

Recording record(const families::DiffusionPipeline& pipeline, const pipelines::Request& request) {
  Recording recording;
  recording.output = pipeline(request, [&](const pipelines::StepReport& step) {
    recording.steps.push_back(step.latents.cpu().clone());
  });
  recording.output.latents = recording.output.latents.cpu();
  return recording;
}

Deviation deviation(const Recording& found, const Recording& expected) {
  EXPECT_EQ(found.steps.size(), expected.steps.size());
  Deviation worst{.latents = relative_error(found.output.latents, expected.output.latents),
                  .pixels = largest_pixel_difference(found.output.images, expected.output.images)};
  for (size_t i = 0; i < std::min(found.steps.size(), expected.steps.size()); ++i)
    worst.latents = std::max(worst.latents, relative_error(found.steps[i], expected.steps[i]));
  return worst;
}

std::vector<io::Image> reference_images(const ReferenceCase& reference) {
  std::vector<io::Image> images;
  for (size_t i = 0; i < reference.request().image_count(); ++i)
    images.push_back(io::load_png(reference.folder() / fmt::format("image_{}.png", i)).image);
  return images;
}

Recording reference_recording(const ReferenceCase& reference) {
  Recording recording{
      .steps = {}, .output = {.images = reference_images(reference), .latents = reference.tensor("latents")}};
  for (size_t i = 0; i < reference.step_count(); ++i)
    recording.steps.push_back(reference.tensor(fmt::format("latents_{:03}", i)));
  return recording;
}

Deviation expect_reference(const ReferenceCase& reference, const families::DiffusionPipeline& pipeline,
                           const Deviation& most) {
  const Recording found = record(pipeline, reference.request()), expected = reference_recording(reference);
  for (size_t i = 0; i < std::min(found.steps.size(), expected.steps.size()); ++i)
    EXPECT_LT(relative_error(found.steps[i], expected.steps[i]), most.latents) << "after step " << i;
  const Deviation worst = deviation(found, expected);
  EXPECT_LT(worst.latents, most.latents);
  EXPECT_LE(worst.pixels, most.pixels);
  return worst;
}

}  // namespace diffract::test
