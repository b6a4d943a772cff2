#pragma once
#include <string>

#include "diffract/families/diffusion_pipeline.h"
#include "diffract/pipelines/pipeline.h"
#include "tests/support/images.h"
#include "tests/support/reference_case.h"

namespace diffract::test {

/// How far results are from what was expected, at most.
struct Deviation {
  double latents = 0;  // of the largest value, after any step and at the end
  int pixels = 0;
};

/// What a request gave: the latents after each step, and the pictures.
struct Recording {
  std::vector<at::Tensor> steps;
  pipelines::Output output;
};
Recording record(const families::DiffusionPipeline& pipeline, const pipelines::Request& request);
Deviation deviation(const Recording& found, const Recording& expected);

/// What diffusers gave in a case.
Recording reference_recording(const ReferenceCase& reference);
std::vector<io::Image> reference_images(const ReferenceCase& reference);
/// Runs a case's request; fails the test where its latents after a step, or its pictures, are farther from
/// diffusers' than `most`. Gives how far they were.
Deviation expect_reference(const ReferenceCase& reference, const families::DiffusionPipeline& pipeline,
                           const Deviation& most);

}  // namespace diffract::test
