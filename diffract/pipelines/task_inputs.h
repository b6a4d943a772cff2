#pragma once
#include <optional>
#include <vector>

#include "diffract/io/pixels.h"
#include "diffract/loading/family_facts.h"
#include "diffract/loading/load_options.h"
#include "diffract/pipelines/request.h"

namespace diffract::pipelines {

/// A request's pictures as its task takes them: read, cut and fitted to the size that is computed.
/// P different pictures.
struct TaskInputs {
  loading::TaskClass task;
  double strength = 1;
  std::optional<double> denoising_start;  // the picture's latents are already as noisy as there
  std::vector<int64_t> of_image;          // which of the P an image takes
  at::Tensor pixels;                      // [P, 3, H, W] in [-1, 1]
  at::Tensor latents;                     // [P, C, h, w] where the request gives these instead
  at::Tensor mask;                        // [P, 1, H, W], 1 where the picture is made anew

  /// What is left of the pictures when a part of each was drawn in full size.
  struct Whole {
    io::Image picture, mask;
    io::Region region;
  };
  std::vector<Whole> wholes;  // P of them, or none

  /// What the decoder made, put back into the pictures that it is a part of.
  std::vector<io::Image> finished(std::vector<io::Image> images) const;
};

/// Throws UsageError for pictures that changed, or cannot be cut. `size`: computed_size()'s.
TaskInputs read_task_inputs(const Request& request, const loading::FamilyFacts& facts,
                            const loading::ImageSize& size);

}  // namespace diffract::pipelines
