#pragma once
#include "diffract/io/pixels.h"
#include "diffract/loading/load_options.h"

namespace diffract::pipelines {

// How diffusers fits pictures to the size that is computed, and back. Source: diffusers image_processor.py.

/// "default": stretched. By Lanczos's filter, as the rest here.
io::Image stretched(const io::Image& image, const loading::ImageSize& size);
/// "fill": as large as it fits, in the middle; the border is filled with the edge's colours.
io::Image fitted_with_border(const io::Image& image, const loading::ImageSize& size);
/// "crop": so large that it covers, in the middle; what is outside is cut off.
io::Image fitted_to_cover(const io::Image& image, const loading::ImageSize& size);

/// What holds all of a mask that is not black, `padding` pixels more each way where there are so many, and as
/// much more as gives it the proportions of `size`, inside the picture if it can be. Throws UsageError for a
/// mask that is black. Source: VaeImageProcessor.get_crop_region.
io::Region region_of_mask(const io::Image& mask, const loading::ImageSize& size, int64_t padding);

/// What was drawn for a region, put back into the picture: where the mask is black the picture stands, where
/// it is grey they are blended. All but `drawn` of one size. Source: VaeImageProcessor.apply_overlay.
io::Image overlaid(const io::Image& picture, const io::Image& mask, const io::Image& drawn,
                   const io::Region& region);

}  // namespace diffract::pipelines
