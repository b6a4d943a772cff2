#include "diffract/families/stable_diffusion_xl/micro_conditioning.h"

#include "diffract/pipelines/request_checks.h"

namespace diffract::families {
namespace {

using pipelines::HeightWidth;

at::Tensor ids(const HeightWidth& original_size, const std::optional<HeightWidth>& crop,
               const HeightWidth& target_size) {
  const auto [top, left] = crop.value_or(HeightWidth{0, 0});
  return at::tensor({original_size[0], original_size[1], top, left, target_size[0], target_size[1]})
      .to(at::kFloat);
}

}  // namespace

TimeIds time_ids_of(const pipelines::Request& r, const loading::ImageSize& size) {
  const HeightWidth of_picture = {size.height, size.width};
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
