#include "diffract/weights/device_loader.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/error.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/save_tensors.h"
#include "tests/sim/sim_support.h"
#include "tests/support/temp_folder.h"

namespace diffract::sim {
namespace {

using weights::Checkpoint;
using weights::DeviceLoader;

constexpr int64_t kManyChunks = 5 * (4 << 20) / 2 + 3;

class DeviceLoaderTest : public ::testing::Test {
 protected:
  DeviceLoaderTest() {
    weights::save_tensors(file(), {{"large", at::randn({kManyChunks}, at::kHalf)},
                                   {"matrix", at::randn({17, 33}, at::kFloat)},
                                   {"scalar", at::randn({}, at::kFloat)},
                                   {"empty", at::empty({0, 4}, at::kFloat)}});
    checkpoint_ = Checkpoint::open({.files = {file()}, .description = "model"});
  }
  std::filesystem::path file() const { return folder_ / "model.safetensors"; }

  test::TempFolder folder_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  DeviceLoader loader_;
};

TEST_F(DeviceLoaderTest, BringsWhatIsStored) {
  const std::vector<std::pair<std::string, std::vector<int64_t>>> all{
      {"large", {kManyChunks}}, {"matrix", {17, 33}}, {"scalar", {}}, {"empty", {0, 4}}};
  for (const auto& [name, shape] : all)
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
      const at::Tensor stored = checkpoint_->tensor(name, shape);
      const at::Tensor brought = loader_.bring(checkpoint_->stored(name, shape), {}, dtype, device(1));
      EXPECT_EQ(brought.device(), device(1));
      EXPECT_TRUE(brought.cpu().equal(stored.to(dtype))) << name << " as " << dtype;
    }
}

TEST_F(DeviceLoaderTest, RoundsToTheStorageType) {
  const at::Tensor stored = checkpoint_->tensor("matrix", {17, 33});
  const at::Tensor brought =
      loader_.bring(checkpoint_->stored("matrix", {17, 33}), at::kBFloat16, at::kFloat, device(0));
  EXPECT_TRUE(brought.cpu().equal(stored.to(at::kBFloat16).to(at::kFloat)));
}

TEST_F(DeviceLoaderTest, BringsTensorsWithoutAFile) {
  const at::Tensor made = at::randn({6, 5}).t();
  EXPECT_TRUE(loader_.bring({made, nullptr, 0}, {}, at::kFloat, device(0)).cpu().equal(made));
}

TEST_F(DeviceLoaderTest, NamesAFileThatBecameShorter) {
  const auto stored = checkpoint_->stored("large", {kManyChunks});
  std::filesystem::resize_file(file(), std::filesystem::file_size(file()) / 2);
  try {
    loader_.bring(stored, {}, at::kHalf, device(0));
    FAIL() << "expected an IoError";
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find(file().string()), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace diffract::sim
