// What VaeImageProcessor makes of pictures: diffusers' values, from the files of tests/data/reference/inputs.
#include <gtest/gtest.h>

#include "diffract/core/json.h"
#include "diffract/io/picture.h"
#include "diffract/io/resample.h"
#include "diffract/io/safetensors.h"
#include "diffract/pipelines/image_processor.h"
#include "diffract/pipelines/picture_fit.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

std::vector<uint8_t> expected_bytes(const io::SafetensorsFile& file, const std::string& name) {
  const auto* info = file.find(name);
  if (!info || info->dtype != io::Dtype::U8) return {};
  const auto bytes = file.bytes(*info);
  const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data());
  return {begin, begin + bytes.size()};
}

// 8-bit values, channels first, as the file has them.
std::vector<uint8_t> found_bytes(const Json& one) {
  io::Image image = io::load_image(test::data("reference/" + one["file"].get<std::string>()));
  const int64_t scale = one["processor"].value("vae_scale_factor", 8);
  const Json& call = one["call"];
  const auto whole = [&](int64_t pixels) { return pixels - pixels % scale; };
  const loading::ImageSize size{.height = whole(call.value("height", int64_t{image.height})),
                                .width = whole(call.value("width", int64_t{image.width}))};
  if (one.contains("padding_mask_crop"))
    image = cropped(image, region_of_mask(image, size, one["padding_mask_crop"].get<int64_t>()));
  const std::string mode = call.value("resize_mode", "default");
  if (one["processor"].value("resample", "") == "bicubic")
    image = io::resize(image, static_cast<uint32_t>(size.width), static_cast<uint32_t>(size.height),
                       io::Filter::bicubic);
  else
    image = mode == "fill"   ? fitted_with_border(image, size)
            : mode == "crop" ? fitted_to_cover(image, size)
                             : stretched(image, size);
  const bool is_mask = one["processor"].value("do_binarize", false);
  const VaeImageProcessor processor(scale);
  const bool is_control = !is_mask && !one["processor"].value("do_normalize", true);
  const at::Tensor values = is_mask      ? processor.preprocess_mask({image}) * 255
                            : is_control ? processor.preprocess_control({image}) * 255
                                         : (processor.preprocess({image}) + 1) / 2 * 255;
  const at::Tensor bytes = values.round().to(at::kByte).contiguous();
  const auto* begin = bytes.const_data_ptr<uint8_t>();
  return {begin, begin + bytes.numel()};
}

TEST(Preprocess, GivesDiffusersValues) {
  const auto expected = io::SafetensorsFile::open(test::data("reference/preprocess/expected.safetensors"));
  size_t cases = 0;
  for (const Json& one : load_json(test::data("reference/preprocess/cases.json"))) {
    const std::string resample = one["processor"].value("resample", "lanczos");
    if (resample == "bilinear" || resample == "nearest") continue;  // which no pipeline asks for
    const std::string name = one["name"];
    const auto wanted = expected_bytes(*expected, name), found = found_bytes(one);
    ASSERT_FALSE(wanted.empty()) << name;
    EXPECT_TRUE(found == wanted) << name;
    ++cases;
  }
  EXPECT_EQ(cases, 29u);
}

TEST(Preprocess, GivesDiffusersFloats) {
  const auto expected = io::SafetensorsFile::open(test::data("reference/preprocess/expected.safetensors"));
  const auto* info = expected->find("photo.float32");
  ASSERT_TRUE(info);
  const at::Tensor found =
      VaeImageProcessor().preprocess({io::load_image(test::data("reference/inputs/photo.png"))}).contiguous();
  const auto bytes = expected->bytes(*info);
  ASSERT_EQ(found.nbytes(), bytes.size());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), static_cast<const std::byte*>(found.const_data_ptr())));
}

}  // namespace
}  // namespace diffract::pipelines
