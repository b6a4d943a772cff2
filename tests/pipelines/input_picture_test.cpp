#include "diffract/pipelines/input_picture.h"

#include <gtest/gtest.h>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/io/picture.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/temp_folder.h"

namespace diffract::pipelines {
namespace {

namespace fs = std::filesystem;

const fs::path kPhoto = test::data("reference/inputs/photo.png");

std::string refusal(const fs::path& file) {
  return test::error_of<UsageError>([&] { InputPicture{file}; });
}

TEST(InputPicture, IsKnownByItsContent) {
  const test::TempFolder folder;
  const InputPicture photo(kPhoto);
  const fs::path copy = folder.file("another name", load_text(kPhoto, 1 << 20));
  EXPECT_EQ(InputPicture(copy).hash(), photo.hash());
  EXPECT_NE(InputPicture(test::data("reference/inputs/square.png")).hash(), photo.hash());
  EXPECT_EQ(photo.width(), 96);
  EXPECT_EQ(photo.height(), 72);
  EXPECT_FALSE(photo.is_latents());
  EXPECT_EQ(photo.image().pixels, io::load_image(kPhoto).pixels);
}

TEST(InputPicture, HasTheSizeThatItIsShownIn) {
  const InputPicture turned(test::data("pictures/exif6.jpg"));
  EXPECT_EQ(turned.width(), 13);
  EXPECT_EQ(turned.height(), 21);
}

TEST(InputPicture, MayBePixels) {
  io::Image grey{.width = 2, .height = 1, .channels = 1, .pixels = {7, 9}};
  EXPECT_EQ(InputPicture(grey).image().pixels, (std::vector<uint8_t>{7, 7, 7, 9, 9, 9}));
  grey.pixels.pop_back();
  EXPECT_THROW(InputPicture{grey}, UsageError);
  EXPECT_THROW(InputPicture(io::Image{.width = 1, .height = 1, .channels = 4, .pixels = {1, 2, 3, 4}}),
               UsageError);
}

TEST(InputPicture, NoticesThatItsFileWasChanged) {
  const test::TempFolder folder;
  const fs::path file = folder.file("x.png", load_text(kPhoto, 1 << 20));
  const InputPicture picture(file);
  folder.file("x.png", load_text(test::data("reference/inputs/square.png"), 1 << 20));
  const auto message = test::error_of<UsageError>([&] { picture.image(); });
  EXPECT_NE(message.find("was changed after the request was made"), std::string::npos) << message;
}

TEST(InputPicture, RefusesWhatIsNoPicture) {
  const test::TempFolder folder;
  EXPECT_NE(refusal(folder.file("empty.png", "")).find("is empty"), std::string::npos);
  EXPECT_NE(refusal(folder.path()).find("not a regular file"), std::string::npos);
  EXPECT_NE(refusal(folder / "none.png").find("no such file"), std::string::npos);
  EXPECT_NE(refusal(folder.file("x.png", "a text")).find("is no picture"), std::string::npos);
  const std::string sound = load_text(test::data("pictures/rgb.jpg"), 1 << 20);
  // The header of a JPEG that ends early is sound; its pixels are not.
  const InputPicture half(folder.file("half.jpg", sound.substr(0, sound.size() - 100)));
  EXPECT_THROW(half.image(), UsageError);
}

TEST(InputPicture, MayBeLatentsOneRowAnImage) {
  const test::TempFolder folder;
  const at::Tensor rows = at::arange(3 * 4 * 2 * 5).to(at::kHalf).view({3, 4, 2, 5});
  weights::save_tensors(folder / "l.safetensors", {{"latents", rows}, {"indices", at::arange(3)}});
  const InputPicture latents(folder / "l.safetensors");
  EXPECT_TRUE(latents.is_latents());
  EXPECT_EQ(latents.latent_rows(), 3);
  EXPECT_EQ(latents.width(), 5);
  EXPECT_TRUE(at::equal(latents.latents(), rows.to(at::kFloat)));
  const InputPicture second = latents.for_image(1);
  EXPECT_EQ(second.latent_rows(), 1);
  EXPECT_TRUE(at::equal(second.latents(), rows.narrow(0, 1, 1).to(at::kFloat)));
  EXPECT_NE(second.hash(), latents.for_image(2).hash());
  EXPECT_THROW(latents.image(), UsageError);
}

TEST(InputPicture, RefusesOtherLatents) {
  const test::TempFolder folder;
  const auto refused = [&](const at::Tensor& tensor, const char* name = "latents") {
    weights::save_tensors(folder / "l.safetensors", {{name, tensor}});
    return refusal(folder / "l.safetensors");
  };
  EXPECT_NE(refused(at::zeros({1, 4, 2, 2}), "other").find("has no tensor \"latents\""), std::string::npos);
  EXPECT_NE(refused(at::zeros({4, 2, 2})).find("expected [images, channels, height, width]"),
            std::string::npos);
  EXPECT_NE(refused(at::full({1, 4, 2, 2}, NAN)).find("not finite"), std::string::npos);
  EXPECT_NE(refused(at::zeros({1, 4, 2, 2}, at::kLong)).find("has dtype"), std::string::npos);
  EXPECT_NE(refusal(folder.file("x.safetensors", "no header")), "<no error>");
}

}  // namespace
}  // namespace diffract::pipelines
