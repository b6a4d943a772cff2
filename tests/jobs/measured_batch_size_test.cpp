#include "diffract/jobs/measured_batch_size.h"

#include <gtest/gtest.h>

#include <vector>

namespace diffract::jobs {
namespace {

// The sizes of the batches of a job whose images take so long where so many are computed at once.
std::vector<size_t> sizes_of(size_t images, double (*seconds)(size_t size)) {
  MeasuredBatchSize measured;
  std::vector<size_t> sizes;
  for (size_t left = images; left > 0;) {
    const size_t size = std::min(measured.next("kind", left), left);
    measured.took("kind", size, seconds(size));
    sizes.push_back(size);
    left -= size;
  }
  return sizes;
}

TEST(MeasuredBatchSize, GrowsAsLongAsAnImageTakesLessTime) {
  const auto sizes =
      sizes_of(60, [](size_t size) { return 1.0 + 0.1 * static_cast<double>(size > 4 ? size * 10 : size); });
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 1, 2, 2, 4, 4, 8, 8, 4, 4, 4, 4, 4, 4, 4, 2}));
}

TEST(MeasuredBatchSize, StaysWhereMoreAtOnceGainNothing) {
  const auto sizes = sizes_of(20, [](size_t size) { return static_cast<double>(size); });
  EXPECT_EQ(sizes[2], 2u);
  EXPECT_EQ(sizes[4], 1u);
  EXPECT_EQ(sizes.size(), 18u);
}

TEST(MeasuredBatchSize, TriesNoSizeThatTooFewImagesAreLeftFor) {
  for (const size_t size : sizes_of(7, [](size_t) { return 1.0; })) EXPECT_EQ(size, 1u);
  size_t most = 0;
  for (const size_t size : sizes_of(1000, [](size_t) { return 1.0; })) most = std::max(most, size);
  EXPECT_EQ(most, MeasuredBatchSize::kMost);
}

TEST(MeasuredBatchSize, DoesNotCountTheFirstRunOfASize) {
  MeasuredBatchSize measured;
  measured.took("kind", 1, 100);
  measured.took("kind", 1, 1);
  measured.took("kind", 2, 100);
  measured.took("kind", 2, 1);
  EXPECT_EQ(measured.next("kind", 100), 4u);
  EXPECT_EQ(measured.next("another", 100), 1u);
}

TEST(MeasuredBatchSize, GoesBackWhereSoManyFail) {
  MeasuredBatchSize measured;
  for (const size_t size : {1, 1, 2, 2}) measured.took("kind", size, 1);
  measured.failed("kind", 4);
  EXPECT_EQ(measured.next("kind", 100), 2u);
  measured.failed("kind", 2);
  EXPECT_EQ(measured.next("kind", 100), 1u);
}

}  // namespace
}  // namespace diffract::jobs
