// Where parts lie in a ring of memory: without tensors of their own.
#include "diffract/weights/ring_place.h"

#include <gtest/gtest.h>

#include <random>

namespace diffract::weights {
namespace {

Part part_of(const std::vector<int64_t>& sizes) {
  Part part;
  for (const int64_t size : sizes)
    part.add({.module_name = "",
              .name = "",
              .stored = {at::empty({size}, at::kByte), nullptr, 0},
              .storage = {},
              .dtype = at::kByte});
  return part;
}

std::vector<Stretch> pages_of(const Part& part, const RingPlace& place) {
  std::vector<Stretch> pages;
  for (size_t i = 0; i < part.tensors.size(); ++i) pages.push_back(place.pages(part, i));
  return pages;
}

constexpr uint64_t kRing = 10 * kPage;

TEST(RingPlace, LiesBehindTheNewest) {
  const Part part = part_of({kPage, 2 * kPage, kPage});
  const RingPlace place(part, 3 * kPage, kRing);
  EXPECT_EQ(place.pages(part, 0).begin, 3 * kPage);
  EXPECT_EQ(place.pages(part, 2).end, 7 * kPage);
  EXPECT_EQ(place.wraps_at(), 3u);
}

TEST(RingPlace, GoesOnAtTheRingsBegin) {
  const Part part = part_of({kPage, 2 * kPage, kPage});
  const RingPlace place(part, 8 * kPage, kRing);
  EXPECT_EQ(place.pages(part, 0).begin, 8 * kPage);
  EXPECT_EQ(place.wraps_at(), 1u);
  EXPECT_EQ(place.pages(part, 1).begin, 0u);
  EXPECT_EQ(place.pages(part, 2).end, 3 * kPage);
}

TEST(RingPlace, BeginsAtTheRingsBeginWhereItWouldMeetItself) {
  const Part part = part_of({3 * kPage, 4 * kPage, 3 * kPage});
  const RingPlace place(part, 6 * kPage, kRing);
  EXPECT_EQ(place.pages(part, 0).begin, 0u);
  EXPECT_EQ(place.pages(part, 2).end, kRing);
}

TEST(RingPlace, HasOnlyWhatItClaimed) {
  const Part part = part_of({kPage, 2 * kPage, kPage});
  RingPlace place(part, 8 * kPage, kRing);
  EXPECT_FALSE(place.has_claimed(part, {0, kRing}));
  place.claim();
  EXPECT_EQ(place.end(part), 9 * kPage);
  EXPECT_TRUE(place.has_claimed(part, {8 * kPage, 9 * kPage}));
  EXPECT_FALSE(place.has_claimed(part, {0, 8 * kPage}));
  place.claim();
  EXPECT_EQ(place.end(part), 2 * kPage);
  EXPECT_TRUE(place.has_claimed(part, {kPage, 2 * kPage}));
  EXPECT_FALSE(place.has_claimed(part, {2 * kPage, 8 * kPage}));
}

// Any part that the ring has room for, from anywhere: within the ring, no tensor over another's bytes, pages
// one behind the other but for one return to the begin.
TEST(RingPlace, NeverMeetsItself) {
  std::mt19937 random(5);
  const auto draw = [&](uint64_t least, uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(least, most)(random);
  };
  int wrapped = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<int64_t> sizes(draw(1, 8));
    for (int64_t& size : sizes) size = static_cast<int64_t>(draw(1, 3 * kPage));
    const Part part = part_of(sizes);
    const uint64_t whole = rounded_up(part.bytes, kPage);
    const uint64_t ring = whole + kPage * draw(0, 6);
    const RingPlace place(part, kPage * draw(0, ring / kPage), ring);
    const auto pages = pages_of(part, place);
    for (size_t i = 0; i < pages.size(); ++i) {
      ASSERT_LE(pages[i].end, ring);
      ASSERT_EQ(pages[i].bytes(), part.tensors[i].pages().bytes());
      if (i == place.wraps_at()) {
        ASSERT_EQ(pages[i].begin, 0u);
        ++wrapped;
      } else if (i > 0) {
        ASSERT_EQ(pages[i].begin - pages[i - 1].begin,
                  part.tensors[i].pages().begin - part.tensors[i - 1].pages().begin);
      }
      if (i >= place.wraps_at()) {
        ASSERT_LE(pages[i].end, pages[0].begin);
      }
    }
  }
  EXPECT_GT(wrapped, 100);
}

}  // namespace
}  // namespace diffract::weights
