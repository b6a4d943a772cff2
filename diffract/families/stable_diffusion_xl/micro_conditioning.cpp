#include "diffract/families/stable_diffusion_xl/micro_conditioning.h"

#include "diffract/pipelines/request_checks.h"

namespace diffract::families {
namespace {

using pipelines::HeightWidth;

constexpr double kAestheticScore = 6.0, kNegativeAestheticScore = 2.5;  // diffusers' own

at::Tensor ids(const HeightWidth& original_size, const std::optional<HeightWidth>& crop,
               const HeightWidth& target_size) {
  const auto [top, left] = crop.value_or(HeightWidth{0, 0});
  return at::tensor({original_size[0], original_size[1], top, left, target_size[0], target_size[1]})
      .to(at::kFloat);
}

// Each number has its own default, also the negative prompt's.
TimeIds ids_of_refiner(const pipelines::Request& r, const HeightWidth& of_picture) {
  const auto of = [](const HeightWidth& original_size, const std::optional<HeightWidth>& crop, double score) {
    return at::cat({ids(original_size, crop, {}).slice(0, 0, 4), at::tensor({static_cast<float>(score)})});
  };
  constexpr const char* kWhy = "a refiner reads an aesthetic score in its place";
  pipelines::warn_of_no_effect(r.target_size.has_value(), "target_size", kWhy);
  pipelines::warn_of_no_effect(r.negative_target_size.has_value(), "negative_target_size", kWhy);
  const HeightWidth original_size = r.original_size.value_or(of_picture);
  return {.positive = of(original_size, r.crops_coords_top_left, r.aesthetic_score.value_or(kAestheticScore)),
          .negative = of(r.negative_original_size.value_or(original_size), r.negative_crops_coords_top_left,
                         r.negative_aesthetic_score.value_or(kNegativeAestheticScore))};
}

}  // namespace

int64_t time_id_count(bool requires_aesthetics_score) { return requires_aesthetics_score ? 5 : 6; }

TimeIds time_ids_of(const pipelines::Request& r, const loading::ImageSize& size,
                    bool requires_aesthetics_score) {
  const HeightWidth of_picture = {size.height, size.width};
  if (requires_aesthetics_score) return ids_of_refiner(r, of_picture);
  constexpr const char* kNoRefiner = "only a refiner reads it";
  pipelines::warn_of_no_effect(r.aesthetic_score.has_value(), "aesthetic_score", kNoRefiner);
  pipelines::warn_of_no_effect(r.negative_aesthetic_score.has_value(), "negative_aesthetic_score",
                               kNoRefiner);
  if (!r.image
           .empty()) {  // diffusers' image to image: each has its own default, and the crop is the prompt's
    const HeightWidth original_size = r.original_size.value_or(of_picture),
                      target_size = r.target_size.value_or(of_picture);
    pipelines::warn_of_no_effect(r.negative_crops_coords_top_left.has_value(),
                                 "negative_crops_coords_top_left", "image to image takes the prompt's");
    return {.positive = ids(original_size, r.crops_coords_top_left, target_size),
            .negative = ids(r.negative_original_size.value_or(original_size), r.crops_coords_top_left,
                            r.negative_target_size.value_or(target_size))};
  }
  TimeIds all{.positive = ids(r.original_size.value_or(of_picture), r.crops_coords_top_left,
                              r.target_size.value_or(of_picture)),
              .negative = {}};
  const bool has_negative = r.negative_original_size && r.negative_target_size;
  constexpr const char* kWhy = "negative_original_size and negative_target_size are not both given";
  pipelines::warn_of_no_effect(!has_negative && r.negative_original_size, "negative_original_size", kWhy);
  pipelines::warn_of_no_effect(!has_negative && r.negative_target_size, "negative_target_size", kWhy);
  pipelines::warn_of_no_effect(!has_negative && r.negative_crops_coords_top_left,
                               "negative_crops_coords_top_left", kWhy);
  all.negative =
      has_negative ? ids(*r.negative_original_size, r.negative_crops_coords_top_left, *r.negative_target_size)
                   : all.positive;
  return all;
}

}  // namespace diffract::families
