#include "diffract/weights/part_reader.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "diffract/core/error.h"
#include "diffract/weights/checkpoint.h"
#include "diffract/weights/save_tensors.h"
#include "tests/support/temp_folder.h"

namespace diffract::weights {
namespace {

// Sizes around the pages and the pieces that files are read in.
const std::vector<int64_t> kSizes{1, 3, 2047, 2048, 2049, 5000, (4 << 20) / 2 - 7, 3 * (4 << 20) / 2 + 1};

class PartReaderTest : public ::testing::Test {
 protected:
  PartReaderTest() {
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (const int64_t size : kSizes)
      tensors.emplace_back(std::to_string(size), at::randn({size}, at::kBFloat16));
    save_tensors(file(), tensors);
    checkpoint_ = Checkpoint::open({.files = {file()}, .description = "model"});
  }

  std::filesystem::path file() const { return folder_ / "model.safetensors"; }

  // All tensors, every third one to be converted.
  Part part() const {
    Part part;
    for (size_t i = 0; i < kSizes.size(); ++i) {
      const std::string name = std::to_string(kSizes[i]);
      part.add({.module_name = name,
                .name = name,
                .stored = checkpoint_->stored(name, {kSizes[i]}),
                .storage = {},
                .dtype = i % 3 == 2 ? at::kFloat : at::kBFloat16});
    }
    return part;
  }

  void expect_read(const Part& part) {
    PartReader reader(at::kCPU, nullptr);
    const PartMemory memory{page_aligned(part.bytes)};
    reader.read(part, memory);
    for (const auto& [name, tensor] : unpack(part, memory))
      EXPECT_TRUE(tensor.equal(checkpoint_->stored(name, tensor.sizes().vec()).view.to(tensor.scalar_type())))
          << name;
  }

  test::TempFolder folder_;
  std::shared_ptr<const Checkpoint> checkpoint_;
};

TEST_F(PartReaderTest, ReadsWhatIsStored) { expect_read(part()); }

TEST_F(PartReaderTest, LoadsWithManyThreadsWhatIsStored) {
  const Part part = this->part();
  PartReader reader(at::kCPU, nullptr);
  const PartMemory memory{page_aligned(part.bytes)};
  reader.load_to_host(part, memory);
  for (const auto& [name, tensor] : unpack(part, memory))
    EXPECT_TRUE(tensor.equal(checkpoint_->stored(name, tensor.sizes().vec()).view.to(tensor.scalar_type())))
        << name;
}

TEST_F(PartReaderTest, ReadsToWhereItIsUsed) {
  Part part = this->part();
  part.lie_as_in_files();
  for (size_t i = 0; i < part.tensors.size(); ++i) {
    const PartTensor& tensor = part.tensors[i];
    EXPECT_EQ(tensor.has_pages, !tensor.is_converted());
    if (tensor.has_pages) {
      EXPECT_EQ(tensor.begin % kPage, tensor.stored.offset % kPage);
    }
    if (i > 0) {
      EXPECT_GE(tensor.begin, part.tensors[i - 1].begin + part.tensors[i - 1].bytes());
    }
    EXPECT_LE(tensor.begin + tensor.bytes(), part.bytes);
  }
  expect_read(part);
}

TEST_F(PartReaderTest, NamesAFileThatBecameShorter) {
  Part part = this->part();
  part.lie_as_in_files();
  std::filesystem::resize_file(file(), std::filesystem::file_size(file()) / 2);
  PartReader reader(at::kCPU, nullptr);
  const std::string error = test::error_of<IoError>([&] { reader.read(part, {page_aligned(part.bytes)}); });
  EXPECT_NE(error.find("model.safetensors"), std::string::npos) << error;
}

}  // namespace
}  // namespace diffract::weights
